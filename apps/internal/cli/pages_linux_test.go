package cli

import (
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/epinet/epi/internal/epitest"
)

// The pages and WebSockets of the servers are for who calls them by their names, and
// for no page of another site.
func TestHostile07_ServersAreClosedToPages(t *testing.T) {
	upgrade := []string{"Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="}
	with := func(header ...string) []string { return append(header, upgrade...) }
	for _, command := range []string{"chat", "world"} {
		t.Run(command, func(t *testing.T) {
			p := start(t, command, "--json", "--listen", "ws://127.0.0.1:0", "--host", "known.example")
			place, _, _ := strings.Cut(strings.TrimPrefix(await[startEvent](p, "start").Listen[0], "ws://"), "/")
			for _, test := range []struct {
				name, path, host string
				header           []string
				status           int
			}{
				{"a program", "/healthz", place, nil, 200},
				{"a name that was told", "/healthz", "known.example", []string{"Sec-Fetch-Site", "same-origin"}, 200},
				{"a link", "/healthz", place, []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, 200},
				{"DNS rebinding", "/healthz", "evil.example", []string{"Sec-Fetch-Site", "same-origin"}, http.StatusMisdirectedRequest},
				{"a script of another site", "/healthz", place, []string{"Sec-Fetch-Site", "cross-site"}, http.StatusForbidden},
				{"a socket of a rebound page", "/", "evil.example", with("Origin", "http://evil.example"), http.StatusMisdirectedRequest},
				{"a socket of another page", "/", place, with("Origin", "http://evil.example"), http.StatusForbidden},
			} {
				path := test.path
				if path == "/" && command == "world" {
					path = worldPath
				}
				if status, body := ask(t, "GET", "http://"+place+path, test.host, test.header...); status != test.status {
					t.Errorf("%s: status %d, want %d; %.200s", test.name, status, test.status, body)
				}
			}
			p.signal(syscall.SIGTERM)
			p.end(exitDone)
		})
	}
}

// A program that is no browser may call the server what it likes.
func TestHostsOfProgramsDoNotMatter(t *testing.T) {
	p := start(t, "chat", "--json", "--listen", "ws://127.0.0.1:0")
	c := dial(t, "tcp://"+strings.TrimPrefix(await[startEvent](p, "start").Listen[0], "ws://"))
	epitest.Say(t, c, upgradeRequest)
	answer := make([]byte, 12)
	if _, err := io.ReadFull(c, answer); err != nil || string(answer) != "HTTP/1.1 101" {
		t.Errorf("the answer is %q, %v", answer, err)
	}
	_ = c.Close()
	p.signal(syscall.SIGTERM)
	p.end(exitDone)
}
