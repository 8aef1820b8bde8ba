package invite_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/epinet/epi/apps/chat/hall"
	"github.com/epinet/epi/apps/chat/invite"
	"github.com/epinet/epi/apps/chat/store"
	"github.com/epinet/epi/apps/chat/vault"
)

// names is what a hall knows of names.
type names struct {
	mu    sync.Mutex
	taken []string // guarded by mu
}

func (n *names) claim(_ context.Context, account string) (hall.Claim, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case strings.ContainsAny(account, " \n") || account == "":
		return hall.BadName, nil
	case slices.Contains(n.taken, account):
		return hall.TakenName, nil
	}
	n.taken = append(n.taken, account)
	return hall.Claimed, nil
}

func (n *names) disclaim(account string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.taken = slices.DeleteFunc(n.taken, func(s string) bool { return s == account })
}

// open returns a desk with an empty store, and what is taken.
func open(t *testing.T) (*invite.Desk, *names) {
	t.Helper()
	s, n := store.NewMemory(), &names{}
	w := store.NewWriter(s)
	t.Cleanup(func() { _ = w.Close(context.Background()) })
	return invite.NewDesk(&invite.Desk{Store: s, Writer: w, Claim: n.claim, Disclaim: n.disclaim, Cost: func() int { return 4 }}), n
}

func invitation(t *testing.T, d *invite.Desk, i store.Invitation) string {
	t.Helper()
	token, err := d.Invite(t.Context(), i)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestInvitationIsGoodForSoMany(t *testing.T) {
	d, _ := open(t)
	token := invitation(t, d, store.Invitation{By: "root", Channel: "#c", Expires: time.Now().Add(time.Hour), Left: 2})
	for _, name := range []string{"ann", "bob"} {
		if _, i, err := d.Join(t.Context(), token, name, "long enough"); err != nil || i.Channel != "#c" {
			t.Fatal(name, i, err)
		}
	}
	if _, _, err := d.Join(t.Context(), token, "carol", "long enough"); !errors.Is(err, invite.ErrInvitation) {
		t.Errorf("the third account: %v", err)
	}
}

// Many who come at once do not get more accounts than the invitation is for.
func TestInvitationIsNotUsedTwiceAtOnce(t *testing.T) {
	d, _ := open(t)
	token := invitation(t, d, store.Invitation{Expires: time.Now().Add(time.Hour), Left: 1})
	made := make(chan error, 8)
	for i := range cap(made) {
		go func() {
			_, _, err := d.Join(t.Context(), token, string(rune('a'+i)), "long enough")
			made <- err
		}()
	}
	good := 0
	for range cap(made) {
		if err := <-made; err == nil {
			good++
		} else if !errors.Is(err, invite.ErrInvitation) {
			t.Error(err)
		}
	}
	if good != 1 {
		t.Errorf("%d accounts were made, want 1", good)
	}
}

func TestWhatIsRefusedUsesNothing(t *testing.T) {
	d, n := open(t)
	token := invitation(t, d, store.Invitation{Expires: time.Now().Add(time.Hour), Left: 1})
	n.taken = []string{"root"}
	for _, row := range []struct {
		token, name, password string
		want                  error
	}{
		{"", "ann", "long enough", invite.ErrInvitation},
		{token + "x", "ann", "long enough", invite.ErrInvitation},
		{token, "ann", "short", invite.ErrPassword},
		{token, "ann", strings.Repeat("x", 2000), invite.ErrPassword},
		{token, "an n", "long enough", invite.ErrName},
		{token, "root", "long enough", invite.ErrTaken},
	} {
		if _, _, err := d.Join(t.Context(), row.token, row.name, row.password); !errors.Is(err, row.want) {
			t.Errorf("%+v: %v", row, err)
		}
	}
	if len(n.taken) != 1 {
		t.Errorf("names that are kept: %q", n.taken)
	}
	if _, _, err := d.Join(t.Context(), token, "ann", "암호는 여덟 자"); err != nil {
		t.Error(err)
	}
	expired := invitation(t, d, store.Invitation{Expires: time.Now().Add(-time.Second), Left: 1})
	if _, err := d.Lookup(t.Context(), expired); !errors.Is(err, invite.ErrInvitation) {
		t.Errorf("an expired one: %v", err)
	}
}

// TestNameOfAnAccountIsNotGivenBack: who wanted a name that got an account at another node meanwhile
// does not make it free for everybody here.
func TestNameOfAnAccountIsNotGivenBack(t *testing.T) {
	d, n := open(t)
	token := invitation(t, d, store.Invitation{By: "root", Expires: time.Now().Add(time.Hour), Left: 1})
	if err := d.Writer.Do(t.Context(), store.AddAccount{Account: store.Account{Name: "ann", Created: time.Now()}}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.Join(t.Context(), token, "ann", "long enough"); !errors.Is(err, invite.ErrTaken) {
		t.Fatalf("a name that is taken: %v", err)
	}
	if claim, err := n.claim(t.Context(), "ann"); claim != hall.TakenName || err != nil {
		t.Errorf("the name of an account can be claimed: %v, %v", claim, err)
	}
}

func TestDevicesHavePasswordsOfTheirOwn(t *testing.T) {
	d, _ := open(t)
	ctx := t.Context()
	token := invitation(t, d, store.Invitation{Expires: time.Now().Add(time.Hour), Left: 1})
	if _, _, err := d.Join(ctx, token, "ann", "long enough"); err != nil {
		t.Fatal(err)
	}
	phone, err := d.AddDevice(ctx, "ann", "phone")
	if err != nil {
		t.Fatal(err)
	}
	laptop, err := d.AddDevice(ctx, "ann", "phone") // of the same name
	if err != nil {
		t.Fatal(err)
	}
	right := func(password string) bool {
		credentials, err := d.Store.Credentials(ctx, "ann")
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(credentials, func(c store.Credential) bool {
			return (c.Kind == store.Password || c.Kind == store.AppPassword) && vault.Matches(c.Secret, password)
		})
	}
	for _, password := range []string{"long enough", phone, laptop} {
		if !right(password) {
			t.Errorf("%q is wrong", password)
		}
	}
	for _, password := range []string{phone, "long enough"} { // the account's own is no device's
		if err := d.RemoveDevice(ctx, "ann", password); err != nil {
			t.Fatal(err)
		}
	}
	if right(phone) || !right(laptop) || !right("long enough") {
		t.Errorf("after it was removed: phone %v, laptop %v, the account's %v", right(phone), right(laptop), right("long enough"))
	}
	for range 60 {
		if _, err := d.AddDevice(ctx, "ann", strings.Repeat("기", 500)); err != nil {
			t.Fatal(err)
		}
	}
	if credentials, _ := d.Store.Credentials(ctx, "ann"); len(credentials) > 52 {
		t.Errorf("an account has %d credentials", len(credentials))
	}
}

func TestPages(t *testing.T) {
	d, _ := open(t)
	ctx := t.Context()
	first := invitation(t, d, store.Invitation{Role: invite.Admin, Expires: time.Now().Add(time.Hour), Left: 1})
	p := invite.Pages{Desk: d, Log: slog.New(slog.DiscardHandler), Forget: func(string) {}, Login: func(w http.ResponseWriter, r *http.Request) (string, bool) {
		if name, password, _ := r.BasicAuth(); password == "right" {
			return name, true
		}
		w.Header().Set("WWW-Authenticate", "Basic")
		http.Error(w, "no", http.StatusUnauthorized)
		return "", false
	}}
	ask := func(path, kind, user, password string, body string) (int, map[string]string, http.Header) {
		t.Helper()
		r := httptest.NewRequest(http.MethodPost, "/account/"+path, strings.NewReader(body)).WithContext(ctx)
		r.Header.Set("Content-Type", kind)
		if user != "" {
			r.SetBasicAuth(user, password)
		}
		w := httptest.NewRecorder()
		p.Handler().ServeHTTP(w, r)
		answer := map[string]string{}
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
			t.Fatalf("%s: %d %q: %v", path, w.Code, w.Body, err)
		}
		return w.Code, answer, w.Header()
	}
	const plain = "application/json"
	for _, row := range []struct {
		path, kind, user, password, body string
		status                           int
		problem                          string
	}{
		{"invitation", plain, "", "", `{"token":"` + first + `"}`, 200, ""},
		{"invitation", plain, "", "", `{"token":"x"}`, 404, "badInvite"},
		{"invitation", "text/plain", "", "", `{"token":"` + first + `"}`, 415, "notJSON"},
		{"invitation", plain, "", "", `{`, 400, "badRequest"},
		{"invitation", plain, "", "", `{"token":"` + strings.Repeat("x", 20_000) + `"}`, 400, "badRequest"},
		{"join", plain, "", "", `{"token":"` + first + `","name":"root","password":"short"}`, 400, "shortPassword"},
		{"join", plain, "", "", `{"token":"` + first + `","name":"root","password":"long enough"}`, 200, ""},
		{"join", plain, "", "", `{"token":"` + first + `","name":"other","password":"long enough"}`, 404, "badInvite"},
		{"invite", plain, "", "", `{"hours":1,"uses":1}`, 401, "wrongPassword"},
		{"invite", plain, "root", "wrong", `{"hours":1,"uses":1}`, 401, "wrongPassword"},
		{"invite", plain, "nobody", "right", `{"hours":1,"uses":1}`, 403, "notAdmin"},
		{"invite", plain, "root", "right", `{"hours":0,"uses":1}`, 400, "badRequest"},
		{"invite", plain, "root", "right", `{"hours":1,"uses":100000}`, 400, "badRequest"},
		{"invite", plain, "root", "right", `{"hours":1,"uses":1,"channel":"#a\nQUIT"}`, 400, "badRequest"},
		{"invite", plain, "root", "right", `{"hours":1,"uses":1,"channel":"#a"}`, 200, ""},
		{"device", plain, "root", "right", `{"device":"x"}`, 200, ""},
		{"device", plain, "configured", "right", `{"device":"x"}`, 200, ""},
		{"leave", plain, "root", "right", `{}`, 200, ""},
	} {
		status, answer, header := ask(row.path, row.kind, row.user, row.password, row.body)
		if status != row.status || answer["error"] != row.problem {
			t.Errorf("%s %.60s by %q: %d %v, want %d %q", row.path, row.body, row.user, status, answer, row.status, row.problem)
		}
		if header.Get("WWW-Authenticate") != "" || header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: the headers are %v", row.path, header)
		}
	}
	_, answer, _ := ask("invite", plain, "root", "right", `{"hours":1,"uses":1}`)
	_, answer, _ = ask("join", plain, "", "", `{"token":"`+answer["token"]+`","name":"ann","password":"long enough"}`)
	if answer["role"] != "" || answer["account"] != "ann" {
		t.Errorf("who was invited is %v", answer)
	}
}

// noted is a Realm that keeps what it is to say.
type noted struct {
	invite.Realm
	said []string
}

func (n *noted) Note(_ context.Context, account, code, text string) error {
	n.said = append(n.said, account+" "+code+": "+text)
	return nil
}

// TestRoleChanges: whose role changes gets a notice, so that a page that is open asks for it.
func TestRoleChanges(t *testing.T) {
	d, _ := open(t)
	realm := &noted{}
	p := invite.Pages{Desk: d, Realm: realm, Log: slog.New(slog.DiscardHandler), Forget: func(string) {}, Login: func(_ http.ResponseWriter, r *http.Request) (string, bool) {
		name, _, _ := r.BasicAuth()
		return name, true
	}}
	for name, role := range map[string]string{"ann": invite.Admin, "bob": ""} {
		token := invitation(t, d, store.Invitation{Role: role, Expires: time.Now().Add(time.Hour), Left: 1})
		if _, _, err := d.Join(t.Context(), token, name, "long enough"); err != nil {
			t.Fatal(err)
		}
	}
	ask := func(path, user, body string) string {
		t.Helper()
		r := httptest.NewRequest(http.MethodPost, "/account/"+path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		r.SetBasicAuth(user, "x")
		w := httptest.NewRecorder()
		p.Handler().ServeHTTP(w, r)
		return strings.TrimSpace(w.Body.String())
	}
	for _, row := range []struct{ path, user, body, answer string }{
		{"role", "bob", `{}`, `{"role":""}`},
		{"admin/role", "bob", `{"name":"bob","role":"admin"}`, `{"error":"notAdmin"}`},
		{"admin/role", "ann", `{"name":"bob","role":"admin"}`, `{}`},
		{"role", "bob", `{}`, `{"role":"admin"}`},
		{"admin/role", "ann", `{"name":"bob","role":""}`, `{}`},
		{"role", "bob", `{}`, `{"role":""}`},
		{"role", "configured", `{}`, `{"role":""}`},
	} {
		if answer := ask(row.path, row.user, row.body); answer != row.answer {
			t.Errorf("%s %s by %s: %s, want %s", row.path, row.body, row.user, answer, row.answer)
		}
	}
	want := []string{"bob ROLE_CHANGED: You are an administrator now", "bob ROLE_CHANGED: You are no administrator any more"}
	if !slices.Equal(realm.said, want) {
		t.Errorf("said %q, want %q", realm.said, want)
	}
}
