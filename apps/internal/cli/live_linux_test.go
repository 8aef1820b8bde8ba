package cli

import (
	"bufio"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
)

// The admin server has the live view. It changes something only with --admin-write,
// and never for a page of another site.
func TestAdminHasTheLiveView(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		flags  []string
		header []string
		status int
		word   string
	}{
		{"it only looks", nil, []string{"Epi-Live", "close"}, http.StatusForbidden, "--admin-write"},
		{"a program", []string{"--admin-write"}, []string{"Epi-Live", "close"}, http.StatusNotFound, "not in the table"},
		{"a form", []string{"--admin-write"}, nil, http.StatusForbidden, "Epi-Live"},
		{"another site", []string{"--admin-write"}, []string{"Epi-Live", "close", "Sec-Fetch-Site", "cross-site"}, http.StatusForbidden, "another site"},
		{"another origin", []string{"--admin-write"}, []string{"Epi-Live", "close", "Origin", "https://evil.example"}, http.StatusForbidden, "another site"},
	} {
		p := start(t, append([]string{"echo", "--json", "--listen", "tcp://127.0.0.1:0", "--admin", ":0"}, test.flags...)...)
		begun := await[startEvent](p, "start")
		place := strings.TrimPrefix(begun.Admin, "http://")
		if status, body := ask(t, "POST", begun.Admin+"/live/conns/1/close", place, test.header...); status != test.status || !strings.Contains(body, test.word) {
			t.Errorf("%s: status %d, want %d; %s", test.name, status, test.status, body)
		}
		if status, body := get(t, begun.Admin+"/live"); status != http.StatusOK || !strings.Contains(body, "/live/live.js") {
			t.Errorf("%s: the page is %d %.200s", test.name, status, body)
		}
		p.signal(syscall.SIGTERM)
		p.end(exitDone)
	}
}

// Who may change something is not asked who he is, so other machines cannot.
func TestAdminWriteIsForLoopback(t *testing.T) {
	t.Parallel()
	code, _, stderr := call("echo", "--listen", "tcp://127.0.0.1:0", "--loops", "1", "--admin", "0.0.0.0:0", "--admin-write")
	if code != exitFailed {
		t.Errorf("exit code %d", code)
	}
	expectOneLine(t, stderr, "--admin-write", "loopback")
}

// A page that looks does not hold up the end of its server.
func TestLiveViewEndsWithItsServer(t *testing.T) {
	t.Parallel()
	p := start(t, "echo", "--json", "--listen", "tcp://127.0.0.1:0", "--admin", ":0")
	begun := await[startEvent](p, "start")
	r, err := http.Get(begun.Admin + "/live/events")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	lines := bufio.NewScanner(r.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() && lines.Text() != "event: frame" {
	}
	p.signal(syscall.SIGTERM)
	for lines.Scan() { // until the stream ends
	}
	p.end(exitDone)
}

// epi lab live shows an engine with clients of every kind.
func TestLabLive(t *testing.T) {
	t.Parallel()
	p := start(t, "lab", "live", "--listen", "127.0.0.1:0")
	address := strings.TrimSuffix(p.line("the page is at http://"), "/live")
	if _, _, err := net.SplitHostPort(address); err != nil {
		t.Fatalf("the page is at %q", address)
	}
	r, err := http.Get("http://" + address + "/live/events?sort=queued")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	lines := bufio.NewScanner(r.Body)
	lines.Buffer(nil, 1<<20)
	found := false
	for !found && lines.Scan() {
		found = strings.Contains(lines.Text(), `"full":true`) // the slow reader
	}
	if !found {
		t.Errorf("the stream has ended: %v", lines.Err())
	}
	p.signal(syscall.SIGTERM)
	p.end(exitDone)
	http.DefaultClient.CloseIdleConnections()
}
