package cli

import (
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestChatFirstRun: the link that is printed makes the administrator, once; who makes
// an invitation, by which somebody else gets in, who may not invite. The next start
// prints no such link.
func TestChatFirstRun(t *testing.T) {
	args := []string{"chat", "--listen", "ws://127.0.0.1:0", "--data", t.TempDir(), "--set", "passwords.cost=4"}
	p := start(t, args...)
	page, token, ok := strings.Cut(p.line("open "), "/#join=")
	if !ok {
		t.Fatalf("the link has no invitation: %q", page)
	}
	page += "/account/"
	if status, about := askPage(t, page+"invitation", "", "", words{"token": token}); status != http.StatusOK || about["role"] != "admin" {
		t.Fatalf("the invitation: %d %v", status, about)
	}
	status, root := askPage(t, page+"join", "", "", words{"token": token, "name": "root", "password": "correct horse", "device": "test"})
	if status != http.StatusOK || root["role"] != "admin" {
		t.Fatalf("the administrator: %d %v", status, root)
	}
	if status, again := askPage(t, page+"join", "", "", words{"token": token, "name": "thief", "password": "correct horse"}); status != http.StatusNotFound {
		t.Errorf("the link works twice: %d %v", status, again)
	}
	status, invited := askPage(t, page+"invite", "root", root["password"], words{"hours": 1, "uses": 1, "channel": "#lobby"})
	if status != http.StatusOK {
		t.Fatalf("an invitation: %d %v", status, invited)
	}
	for name, want := range map[string]string{"ROOT": "nameTaken", "NickServ": "badNick"} {
		if status, answer := askPage(t, page+"join", "", "", words{"token": invited["token"], "name": name, "password": "correct horse"}); answer["error"] != want {
			t.Errorf("%s: %d %v", name, status, answer)
		}
	}
	status, ann := askPage(t, page+"join", "", "", words{"token": invited["token"], "name": "ann", "password": "correct horse"})
	if status != http.StatusOK || ann["channel"] != "#lobby" || ann["role"] != "" {
		t.Fatalf("who was invited: %d %v", status, ann)
	}
	if status, answer := askPage(t, page+"invite", "ann", ann["password"], words{"hours": 1, "uses": 1}); status != http.StatusForbidden {
		t.Errorf("somebody who is no administrator invites: %d %v", status, answer)
	}
	http.DefaultClient.CloseIdleConnections()
	p.signal(syscall.SIGTERM)
	p.end(exitDone)

	p = start(t, args...)
	if link := p.line("open "); strings.Contains(link, "join") {
		t.Errorf("there is an administrator, and the link is %q", link)
	}
	p.signal(syscall.SIGTERM)
	p.end(exitDone)
}

func TestOwnData(t *testing.T) {
	base := t.TempDir()
	t.Setenv("HOME", base)
	for xdg, want := range map[string]string{
		filepath.Join(base, "x"): filepath.Join(base, "x", "epi-chat"),
		"":                       filepath.Join(base, ".local", "share", "epi-chat"),
		"relative":               filepath.Join(base, ".local", "share", "epi-chat"),
	} {
		t.Setenv("XDG_DATA_HOME", xdg)
		if got, err := ownData(); got != want || err != nil {
			t.Errorf("XDG_DATA_HOME=%q: %q, %v, want %q", xdg, got, err, want)
		}
	}
}
