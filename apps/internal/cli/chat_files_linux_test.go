package cli

import (
	"bufio"
	"fmt"
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

	resp, text := request(t, http.MethodPost, page+"/files?target=%23room", "hello", account("ann", "secret"))
	link := resp.Header.Get("Location")
	if resp.StatusCode != http.StatusCreated || link == "" {
		t.Fatalf("upload: %s %s", resp.Status, text)
	}
	for name, want := range map[string]int{"ann": http.StatusOK, "bob": http.StatusForbidden, "": http.StatusUnauthorized} {
		if resp, text := request(t, http.MethodGet, page+link, "", account(name, "secret")); resp.StatusCode != want || want == http.StatusOK && text != "hello" {
			t.Errorf("%q gets %s %q, want %d", name, resp.Status, text, want)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	p.signal(syscall.SIGTERM)
	p.end(exitDone)
}
