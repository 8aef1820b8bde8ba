package weblogin

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/epinet/epi/apps/chat/hall"
)

// accounts is a vault that counts how often it was asked.
type accounts struct {
	asked  []*hall.Work
	locked bool
}

func (a *accounts) Do(_ context.Context, w *hall.Work) hall.Result {
	a.asked = append(a.asked, w)
	switch {
	case a.locked:
		return hall.Result{Pending: true}
	case w.Kind == hall.CheckPassword && w.Account == "Ann" && w.Password == "pa:ss",
		w.Kind == hall.CheckToken && w.Password == "t0ken":
		return hall.Result{OK: true, Account: "Ann"}
	}
	return hall.Result{}
}

func ask(l *Login, set func(*http.Request)) (account string, answer *http.Response) {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	set(r)
	w := httptest.NewRecorder()
	account, _ = l.Account(w, r)
	return account, w.Result()
}

func basic(name, password string) func(*http.Request) {
	return func(r *http.Request) { r.SetBasicAuth(name, password) }
}

func authorization(value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Authorization", value) }
}

func TestLogin(t *testing.T) {
	for name, tt := range map[string]struct {
		set     func(*http.Request)
		account string
		status  int
	}{
		"password":          {basic("Ann", "pa:ss"), "Ann", http.StatusOK},
		"token":             {authorization("Bearer t0ken"), "Ann", http.StatusOK},
		"small letters":     {authorization("bearer t0ken"), "Ann", http.StatusOK},
		"wrong password":    {basic("Ann", "x"), "", http.StatusUnauthorized},
		"no name":           {basic("", "pa:ss"), "", http.StatusUnauthorized},
		"nothing":           {func(*http.Request) {}, "", http.StatusUnauthorized},
		"not base64":        {authorization("Basic ***"), "", http.StatusUnauthorized},
		"no such scheme":    {authorization("Digest x"), "", http.StatusUnauthorized},
		"a token of spaces": {authorization("Bearer   "), "", http.StatusUnauthorized},
	} {
		t.Run(name, func(t *testing.T) {
			a := &accounts{}
			account, answer := ask(New(func() Vault { return a }), tt.set)
			if account != tt.account || answer.StatusCode != tt.status {
				t.Errorf("account %q, status %d, want %q and %d", account, answer.StatusCode, tt.account, tt.status)
			}
			if tt.status == http.StatusUnauthorized && answer.Header.Get("WWW-Authenticate") == "" {
				t.Error("an answer of 401 must say how to log in (RFC 9110, 15.5.2)")
			}
		})
	}
}

// TestGuessing: an address with too many wrong passwords is asked to wait.
func TestGuessing(t *testing.T) {
	l := New(func() Vault { return &accounts{locked: true} })
	if _, answer := ask(l, basic("Ann", "pa:ss")); answer.StatusCode != http.StatusTooManyRequests || answer.Header.Get("Retry-After") == "" {
		t.Errorf("status %d, Retry-After %q", answer.StatusCode, answer.Header.Get("Retry-After"))
	}
}

// TestRemembered: what was right costs no second hash for a minute, from the same
// address; what was wrong always costs one.
func TestRemembered(t *testing.T) {
	a := &accounts{}
	l := New(func() Vault { return a })
	clock := time.Unix(0, 0)
	l.now = func() time.Time { return clock }
	for range 3 {
		ask(l, basic("Ann", "pa:ss"))
	}
	if len(a.asked) != 1 {
		t.Fatalf("the vault was asked %d times, want once", len(a.asked))
	}
	ask(l, basic("Ann", "wrong"))
	ask(l, basic("Ann", "wrong"))
	if len(a.asked) != 3 {
		t.Fatalf("the vault was asked %d times, want 3: wrong passwords are not remembered", len(a.asked))
	}
	ask(l, func(r *http.Request) { r.SetBasicAuth("Ann", "pa:ss"); r.RemoteAddr = "198.51.100.7:1" })
	clock = clock.Add(remember)
	ask(l, basic("Ann", "pa:ss"))
	if len(a.asked) != 5 {
		t.Fatalf("the vault was asked %d times, want 5: another address and a minute later are new", len(a.asked))
	}
}

// TestEndedCredentials: what ends credentials by the vault has them checked again, also
// while they are being checked.
func TestEndedCredentials(t *testing.T) {
	a := &changing{}
	l := New(func() Vault { return a })
	watched := l.Watch(a)
	for _, kind := range []hall.WorkKind{hall.SetPassword, hall.RemoveAccount, hall.SuspendAccount, hall.RemoveDevice, hall.RemoveCertificate} {
		a.asked = 0
		ask(l, basic("Ann", "pa:ss"))
		ask(l, basic("Ann", "pa:ss"))
		watched.Do(t.Context(), &hall.Work{Kind: kind, Account: "ann"})
		ask(l, basic("Ann", "pa:ss"))
		if a.asked != 2 {
			t.Errorf("work %d: the vault was asked %d times, want twice", kind, a.asked)
		}
		l.Forget("Ann")
	}
	a.asked = 0
	a.meanwhile = func() { l.Forget("Ann") }
	ask(l, basic("Ann", "pa:ss"))
	a.meanwhile = nil
	ask(l, basic("Ann", "pa:ss"))
	if a.asked != 2 {
		t.Errorf("what has ended while it was checked is remembered: the vault was asked %d times", a.asked)
	}
}

// changing is a vault that has nothing against anything.
type changing struct {
	asked     int // about passwords
	meanwhile func()
}

func (v *changing) Do(_ context.Context, w *hall.Work) hall.Result {
	if w.Kind == hall.CheckPassword {
		v.asked++
		if v.meanwhile != nil {
			v.meanwhile()
		}
	}
	return hall.Result{OK: true, Account: "Ann"}
}

// TestRememberedIsBounded: whoever has many tokens does not take the memory.
func TestRememberedIsBounded(t *testing.T) {
	l := New(func() Vault { return &accounts{} })
	for i := range 3 * maxRemembered {
		l.note(l.sum(strconv.Itoa(i)), "Ann", 0)
	}
	if len(l.known) > maxRemembered {
		t.Errorf("%d are remembered, want at most %d", len(l.known), maxRemembered)
	}
}
