package cli

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
)

// TestChatFiles: an account uploads a file by the URL that 005 has, for a channel that
// it is in; nobody else gets it.
func TestChatFiles(t *testing.T) {
	const url = "https://chat.example.org/files"
	p := start(t, "chat", "--listen", "irc://127.0.0.1:0", "--listen", "ws://127.0.0.1:0", "--data", t.TempDir(),
		"--set", "uploads.url="+url, "--set", "passwords.cost=4",
		"--set", "account.0.name=ann", "--set", "account.0.password=secret",
		"--set", "account.1.name=bob", "--set", "account.1.password=secret")
	irc, page := p.line("listening on "), "http://"+strings.TrimSuffix(strings.TrimPrefix(p.line("listening on "), "ws://"), "/")

	c := dial(t, "tcp://"+strings.TrimPrefix(irc, "irc://"))
	fmt.Fprint(c, "CAP REQ sasl\r\nNICK ann\r\nUSER ann 0 * :Ann\r\nAUTHENTICATE PLAIN\r\nAUTHENTICATE AGFubgBzZWNyZXQ=\r\nCAP END\r\nJOIN #room\r\n")
	lines := bufio.NewScanner(c)
	offered := false
	for lines.Scan() && !strings.Contains(lines.Text(), " 366 ") {
		offered = offered || strings.Contains(lines.Text(), " soju.im/FILEHOST="+url+" ")
	}
	if !offered {
		t.Error("005 has no soju.im/FILEHOST")
	}

	do := func(method, path, account, body string) (*http.Response, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, page+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if account != "" {
			r.SetBasicAuth(account, "secret")
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp, string(text)
	}
	resp, text := do(http.MethodPost, "/files?target=%23room", "ann", "hello")
	link := resp.Header.Get("Location")
	if resp.StatusCode != http.StatusCreated || link == "" {
		t.Fatalf("upload: %s %s", resp.Status, text)
	}
	for account, want := range map[string]int{"ann": http.StatusOK, "bob": http.StatusForbidden, "": http.StatusUnauthorized} {
		if resp, text := do(http.MethodGet, link, account, ""); resp.StatusCode != want || want == http.StatusOK && text != "hello" {
			t.Errorf("%q gets %s %q, want %d", account, resp.Status, text, want)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	p.signal(syscall.SIGTERM)
	p.end(exitDone)
}
