package vault_test

import (
	"bufio"
	"context"
	"net"
	"regexp"
	"strings"
	"testing"

	"github.com/epinet/epi/apps/chat/config"
	"github.com/epinet/epi/apps/chat/hall"
	"github.com/epinet/epi/apps/chat/store"
	"github.com/epinet/epi/apps/chat/vault"
)

// A postOffice is a server of SMTP that keeps what it is given.
type postOffice struct {
	net.Listener
	messages chan string
	refuse   string // what is said to RCPT instead of 250
}

func newPostOffice(t *testing.T) *postOffice {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &postOffice{Listener: ln, messages: make(chan string, 10)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			p.serve(c)
		}
	}()
	t.Cleanup(func() { _ = ln.Close(); <-done })
	return p
}

func (p *postOffice) serve(c net.Conn) {
	defer c.Close()
	say := func(line string) { _, _ = c.Write([]byte(line + "\r\n")) } // a client that has gone notices nothing
	say("220 post.example")
	in := bufio.NewScanner(c)
	for in.Scan() {
		switch word, _, _ := strings.Cut(strings.ToUpper(in.Text()), " "); word {
		case "RCPT":
			if p.refuse != "" {
				say(p.refuse)
				continue
			}
			say("250 yes")
		case "DATA":
			say("354 go on")
			var text strings.Builder
			for in.Scan() && in.Text() != "." {
				text.WriteString(in.Text() + "\n")
			}
			p.messages <- text.String()
			say("250 kept")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 post.example")
		}
	}
}

func withMail(t *testing.T, p *postOffice) (*vault.Vault, store.Store) {
	t.Helper()
	v, s := withAccounts(t)
	m, err := vault.NewMailer(config.Mail{Server: p.Addr().String(), TLS: "none", From: "chat@example.org"})
	if err != nil {
		t.Fatal(err)
	}
	return v.Mail(m, "Example"), s
}

func do(v *vault.Vault, w hall.Work) hall.Result { return v.Do(context.Background(), &w) }

var codeInMail = regexp.MustCompile(`VERIFY bob ([A-Z2-7]+)`)

// TestVerifyByMail: an account can be used when the code that was sent has come back.
func TestVerifyByMail(t *testing.T) {
	p := newPostOffice(t)
	v, s := withMail(t, p)
	r := do(v, hall.Work{Kind: hall.RegisterAccount, Account: "bob", Password: "secret", Email: "bob@example.org"})
	if !r.OK || r.Code != "VERIFICATION_REQUIRED" {
		t.Fatalf("%+v", r)
	}
	message := <-p.messages
	code := codeInMail.FindStringSubmatch(message)
	if code == nil || !strings.Contains(message, "Auto-Submitted: auto-generated") || !strings.Contains(message, "<bob@example.org>") {
		t.Fatalf("the message is %q", message)
	}
	login := hall.Work{Kind: hall.CheckPassword, Account: "bob", Password: "secret"}
	if r := do(v, login); r.OK {
		t.Error("the account can be used before its code has come back")
	}
	if r := do(v, hall.Work{Kind: hall.FindVerifier, Account: "bob"}); r.OK {
		t.Error("likewise by SCRAM")
	}
	for name, w := range map[string]hall.Work{
		"wrong": {Account: "bob", Password: "AAAAAAAAAAAA"}, "empty": {Account: "bob"}, "another account": {Account: "alice", Password: code[1]},
	} {
		w.Kind = hall.VerifyAccount
		if r := do(v, w); r.OK || r.Code != "INVALID_CODE" {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if r := do(v, hall.Work{Kind: hall.VerifyAccount, Account: "BOB", Password: strings.ToLower(code[1])}); !r.OK || r.Account != "bob" {
		t.Fatalf("%+v", r)
	}
	if r := do(v, login); !r.OK {
		t.Errorf("after that: %+v", r)
	}
	if r := do(v, hall.Work{Kind: hall.VerifyAccount, Account: "bob", Password: code[1]}); r.OK {
		t.Error("the code can be used twice")
	}
	if a, err := s.Account(t.Context(), "bob"); err != nil || !a.Verified {
		t.Errorf("the account is %+v, %v", a, err)
	}
}

// TestMailIsBounded: nobody makes this server write to an address without end, and
// names that are taken write to nobody.
func TestMailIsBounded(t *testing.T) {
	p := newPostOffice(t)
	v, _ := withMail(t, p)
	sent := 0
	for _, name := range []string{"a1", "a2", "a3", "a4", "a5"} {
		r := do(v, hall.Work{Kind: hall.RegisterAccount, Account: name, Password: "secret", Email: "victim@example.org"})
		if r.OK {
			sent++
		} else if r.Code != "TEMPORARILY_UNAVAILABLE" {
			t.Errorf("%+v", r)
		}
	}
	if sent != 3 || len(p.messages) != 3 {
		t.Errorf("%d accounts, %d messages, want 3", sent, len(p.messages))
	}
	if r := do(v, hall.Work{Kind: hall.RegisterAccount, Account: "A1", Password: "secret", Email: "other@example.org"}); r.Code != "ACCOUNT_EXISTS" || len(p.messages) != 3 {
		t.Errorf("%+v, %d messages", r, len(p.messages))
	}
}

func TestMailRefused(t *testing.T) {
	p := newPostOffice(t)
	p.refuse = "550 nobody"
	v, s := withMail(t, p)
	for email, code := range map[string]string{
		"bob@example.org": "UNACCEPTABLE_EMAIL", "bob": "INVALID_EMAIL", "Bob <bob@example.org>": "INVALID_EMAIL",
		"bob@example.org\r\nRCPT TO:<x@example.org>": "INVALID_EMAIL", "a@b.c,d@e.f": "INVALID_EMAIL",
	} {
		if r := do(v, hall.Work{Kind: hall.RegisterAccount, Account: "bob", Password: "secret", Email: email}); r.OK || r.Code != code {
			t.Errorf("%q: %+v, want %s", email, r, code)
		}
	}
	if _, err := s.Account(t.Context(), "bob"); err == nil {
		t.Error("there is an account that nobody can finish")
	}
}

func TestMailConfiguration(t *testing.T) {
	for name, c := range map[string]config.Mail{
		"no port":    {Server: "smtp.example.org", TLS: "tls", From: "a@example.org"},
		"no address": {Server: "smtp.example.org:25", TLS: "tls", From: "nobody"},
		"no TLS":     {Server: "smtp.example.org:25", TLS: "ssl3", From: "a@example.org"},
		"plain text": {Server: "smtp.example.org:25", TLS: "none", From: "a@example.org", User: "a", Password: "b"},
	} {
		if _, err := vault.NewMailer(c); err == nil {
			t.Errorf("%s: there is no error", name)
		}
	}
}
