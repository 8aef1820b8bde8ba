package cli

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"

	"github.com/epinet/epi/apps/chat/api"
	"github.com/epinet/epi/internal/epitest"
)

// TestChatAPI: a program and a webhook speak in a channel; what the hall refuses comes
// back to them; a token that was taken away is refused after SIGHUP.
func TestChatAPI(t *testing.T) {
	if _, stdout, _ := call("chat", "token"); !strings.HasPrefix(stdout, "token  ") || !strings.Contains(stdout, "\nhash = \"") {
		t.Errorf("epi chat token prints %q", stdout)
	}
	sent := make(chan string, 10)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		sent <- string(body)
	}))
	defer receiver.Close()
	p := start(t, "chat", "--listen", "irc://127.0.0.1:0", "--listen", "ws://127.0.0.1:0", "--data", t.TempDir(),
		"--set", "outgoing.0.name=archive", "--set", "outgoing.0.url="+receiver.URL, "--set", "outgoing.0.private=true", "--set", "outgoing.0.channels=#r*",
		"--set", "outgoing.0.secret=whsec_"+strings.Repeat("A", 40),
		"--set", "token.0.name=ci", "--set", "token.0.hash="+api.Hash("secret"), "--set", "token.0.scopes=send,history", "--set", "token.0.channels=#*",
		"--set", "webhook.0.name=alerts", "--set", "webhook.0.hash="+api.Hash("hook"), "--set", "webhook.0.channel=#room")
	irc := strings.TrimPrefix(p.line("listening on "), "irc://")
	page := "http://" + strings.TrimSuffix(strings.TrimPrefix(p.line("listening on "), "ws://"), "/")

	c := dial(t, "tcp://"+irc)
	lines := bufio.NewScanner(c)
	until := func(word string) string {
		t.Helper()
		for lines.Scan() {
			if strings.Contains(lines.Text(), word) {
				return lines.Text()
			}
		}
		t.Fatalf("no line with %q came: %v", word, lines.Err())
		return ""
	}
	fmt.Fprint(c, "NICK ann\r\nUSER ann 0 * :Ann\r\nJOIN #room\r\n")
	until(" 366 ")

	do := func(method, path, token, body string) (int, string) {
		t.Helper()
		resp, text := request(t, method, page+path, body, func(r *http.Request) {
			if token != "" {
				r.Header.Set("Authorization", "Bearer "+token)
			}
		})
		return resp.StatusCode, text
	}
	post := func(path, token, body string) (int, string) { return do(http.MethodPost, path, token, body) }
	if status, body := post("/api/v1/channels/%23room/messages", "secret", `{"text":"hello"}`); status != http.StatusAccepted {
		t.Errorf("send: %d %s", status, body)
	}
	if line := until("hello"); !strings.HasPrefix(line, ":ci/api!ci@") || !strings.HasSuffix(line, " PRIVMSG #room :hello") {
		t.Errorf("members get %q", line)
	}
	if body := epitest.Receive(t, sent); !strings.Contains(body, `"channel":"#room","nick":"ci/api","text":"hello"`) {
		t.Errorf("the outgoing webhook gets %s", body)
	}
	if status, body := do(http.MethodGet, "/api/v1/channels/%23room/messages", "secret", ""); status != http.StatusOK || !strings.Contains(body, `"text":"hello"`) {
		t.Errorf("what was said is not in the history: %d %s", status, body)
	}
	if status, body := post("/api/v1/hooks/hook", "", `{"text":"on fire"}`); status != http.StatusOK {
		t.Errorf("hook: %d %s", status, body)
	}
	until(":alerts/api!")
	for body, path := range map[string]string{
		`{"text":"` + strings.Repeat("x", 500) + `"}`: "/api/v1/channels/%23room/messages",
		`{"text":"x"}`: "/api/v1/channels/%23nowhere/messages",
	} {
		if status, text := post(path, "secret", body); status != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	if err := c.(*net.TCPConn).Close(); err != nil {
		t.Error(err)
	}
	p.signal(syscall.SIGTERM)
	p.end(exitDone)
}

// TestChatTokensAreChecked: what is misspelt must not go unnoticed.
func TestChatTokensAreChecked(t *testing.T) {
	for set, word := range map[string]string{
		"token.0.scopes=sent": "sent", "token.0.channels=room": "room", "token.0.hash=secret": "epi chat token",
	} {
		args := []string{
			"chat", "--listen", "irc://127.0.0.1:0", "--set", "token.0.name=ci", "--set", "token.0.hash=" + api.Hash("x"),
			"--set", "token.0.scopes=send", "--set", "token.0.channels=#a",
		}
		_, stderr := start(t, append(args, "--set", set)...).end(exitFailed)
		if !strings.Contains(stderr, word) {
			t.Errorf("%s: %q does not name %q", set, stderr, word)
		}
	}
}
