package cli

import (
	"io"
	"net/http"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

func TestCourseServesItsPages(t *testing.T) {
	t.Parallel()
	p := start(t, "course", "--listen", "127.0.0.1:0")
	url := p.line("the course is at ")
	for path, want := range map[string]string{"": "한국어", "en/06-trigger.md": "0000111000111000111: 9 events", "ko/08-chat.md": "채팅 서버"} {
		r, err := http.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r.Body)
		_ = r.Body.Close()
		if err != nil || r.StatusCode != http.StatusOK || !strings.Contains(string(body), want) {
			t.Errorf("%s: %s, %v; it does not say %q", path, r.Status, err, want)
		}
	}
	r, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "evil.example" // a name that somebody made to point here
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("for another host: %s", answer.Status)
	}
	http.DefaultClient.CloseIdleConnections()
	p.signal(syscall.SIGTERM)
	p.end(exitDone)
}

// Beside the chapters are live pages, in frames that only the course may have.
func TestCourseHasLivePages(t *testing.T) {
	t.Parallel()
	p := start(t, "course", "--listen", "127.0.0.1:0")
	url := strings.TrimSuffix(p.line("the course is at "), "/")
	place := strings.TrimPrefix(url, "http://")
	_, chapter := get(t, url+"/ko/06-trigger.md")
	frames := regexp.MustCompile(`<iframe src="([^"]+)"`).FindAllStringSubmatch(chapter, -1)
	if len(frames) != 3 {
		t.Fatalf("chapter 6 has %d frames", len(frames))
	}
	for _, frame := range frames {
		r, err := http.Get(url + frame[1])
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Body.Close()
		if embeds := r.Header.Get("X-Frame-Options"); r.StatusCode != http.StatusOK || embeds != "SAMEORIGIN" {
			t.Errorf("%s: %s, X-Frame-Options %q", frame[1], r.Status, embeds)
		}
	}
	if status, body := ask(t, "POST", url+"/show/trap/send", place, "Sec-Fetch-Site", "same-origin"); status != http.StatusOK || !strings.Contains(body, `"Unread":3072`) {
		t.Errorf("the button of the trap: %d %s", status, body)
	}
	if status, body := ask(t, "POST", url+"/show/trap/send", place, "Sec-Fetch-Site", "cross-site"); status != http.StatusForbidden {
		t.Errorf("the button of the trap, for another site: %d %s", status, body)
	}
	http.DefaultClient.CloseIdleConnections()
	p.signal(syscall.SIGTERM)
	p.end(exitDone)
}

func TestCourseCheckSaysWhatFailed(t *testing.T) {
	t.Parallel()
	code, stdout, stderr := call("course", "check", "4", "--", "sh", "-c", "echo the roof is on fire >&2; exit 7")
	if code != exitFailed || !strings.Contains(stdout, "failed   tail") || !strings.Contains(stdout, "the roof is on fire") || !strings.Contains(stdout, "0 passed, 3 failed, 0 skipped") {
		t.Errorf("exit code %d, %q", code, stdout)
	}
	expectOneLine(t, stderr, "3 of the checks of chapter 4 failed")
	for _, row := range []struct {
		args []string
		want string
	}{
		{[]string{"course", "check", "7"}, "the command of a server"},
		{[]string{"course", "check", "seven", "--", "x"}, `"seven" is not a number`},
		{[]string{"course", "check", "12", "--", "x"}, "chapter 12 has no exercise"},
		{[]string{"course", "chek"}, `unknown command "chek"`},
	} {
		code, _, stderr := call(row.args...)
		if code != exitUsage {
			t.Errorf("%q: exit code %d", row.args, code)
		}
		expectOneLine(t, stderr, row.want)
	}
}

func TestLabShowServesItsPage(t *testing.T) {
	t.Parallel()
	p := start(t, "lab", "show", "signal", "--listen", "127.0.0.1:0")
	url := p.line("the page is at ")
	if !strings.HasSuffix(url, "/signal") {
		t.Errorf("the page is at %s", url)
	}
	r, err := http.NewRequest(http.MethodPost, strings.TrimSuffix(url, "signal")+"pipe/write", nil)
	if err != nil {
		t.Fatal(err)
	}
	for site, want := range map[string]int{"": http.StatusOK, "cross-site": http.StatusForbidden} {
		r.Header.Set("Sec-Fetch-Site", site)
		if site == "" {
			r.Header.Del("Sec-Fetch-Site")
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("from site %q: %s, want %d", site, answer.Status, want)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	p.signal(syscall.SIGTERM)
	p.end(exitDone)
	code, _, stderr := call("lab", "show", "nothing")
	if code != exitUsage {
		t.Errorf("exit code %d", code)
	}
	expectOneLine(t, stderr, `there is no page "nothing"`)
}
