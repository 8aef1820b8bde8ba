// Package weblogin checks the credentials of HTTP requests against the accounts of a
// chat server: a password as HTTP Basic (RFC 7617), as clients have it for SASL PLAIN,
// or a bearer token (RFC 6750), as for OAUTHBEARER.
package weblogin

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/epinet/epi/apps/chat/hall"
)

const (
	// remember is how long a password that was right needs no hash again. An account
	// that is suspended can read for so long.
	remember = time.Minute
	// maxRemembered bounds how many are remembered at once.
	maxRemembered = 1024
	// maxChecks bounds the passwords that are hashed at once; those that come then
	// wait for their turn.
	maxChecks = 2
)

// A Vault knows the accounts; gate.Vault is one.
type Vault interface {
	Do(ctx context.Context, w *hall.Work) hall.Result
}

// A Login checks requests. Its methods may be called from any goroutine.
type Login struct {
	vault func() Vault
	key   [sha256.Size]byte // of what is remembered, so that no memory has a password's plain hash
	now   func() time.Time
	turns chan struct{}

	mu    sync.Mutex
	known map[[sha256.Size]byte]known // guarded by mu
	ended uint64                      // guarded by mu; how often some credentials have ended
}

// known is whose credentials were right, and until when that holds.
type known struct {
	account string
	until   time.Time
}

// New returns a Login. vault is called for each check, so that another configuration
// holds at once.
func New(vault func() Vault) *Login {
	l := &Login{vault: vault, now: time.Now, turns: make(chan struct{}, maxChecks), known: map[[sha256.Size]byte]known{}}
	_, _ = rand.Read(l.key[:]) // it never fails
	return l
}

// Account returns whose credentials a request has. Where they are missing, wrong, or
// where too many wrong ones came from that address, it answers the request and returns
// false.
func (l *Login) Account(w http.ResponseWriter, r *http.Request) (account string, ok bool) {
	header := r.Header.Get("Authorization")
	work, ok := workOf(header)
	if !ok {
		refuse(w, "log in with your account's name and password")
		return "", false
	}
	work.Address = Address(r)
	id := l.sum(work.Address + " " + header)
	account, ended, ok := l.remembered(id)
	if ok {
		return account, true
	}
	select {
	case l.turns <- struct{}{}:
	case <-r.Context().Done():
		return "", false
	}
	result := l.vault().Do(r.Context(), work)
	<-l.turns
	switch {
	case result.OK:
		l.note(id, result.Account, ended)
		return result.Account, true
	case result.Pending:
		w.Header().Set("Retry-After", "60")
		http.Error(w, "too many wrong passwords came from your address: try again in a minute", http.StatusTooManyRequests)
	default:
		refuse(w, "the account or its password is wrong")
	}
	return "", false
}

func refuse(w http.ResponseWriter, reason string) {
	w.Header().Set("WWW-Authenticate", `Basic realm="chat", charset="UTF-8"`)
	http.Error(w, reason, http.StatusUnauthorized)
}

// workOf returns what a vault is asked for the value of an Authorization header.
func workOf(header string) (*hall.Work, bool) {
	scheme, token, _ := strings.Cut(header, " ")
	switch {
	case strings.EqualFold(scheme, "Basic"):
		r := http.Request{Header: http.Header{"Authorization": {header}}}
		name, password, ok := r.BasicAuth()
		return &hall.Work{Kind: hall.CheckPassword, Account: name, Password: password}, ok && name != ""
	case strings.EqualFold(scheme, "Bearer"):
		token = strings.TrimSpace(token)
		return &hall.Work{Kind: hall.CheckToken, Password: token}, token != ""
	}
	return nil, false
}

// Address is where a request comes from, for limits on guessing.
func Address(r *http.Request) string {
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		return host
	}
	return r.RemoteAddr
}

func (l *Login) sum(credentials string) (id [sha256.Size]byte) {
	mac := hmac.New(sha256.New, l.key[:])
	mac.Write([]byte(credentials)) // it never fails
	return [sha256.Size]byte(mac.Sum(nil))
}

func (l *Login) remembered(id [sha256.Size]byte) (account string, ended uint64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k, ok := l.known[id]
	return k.account, l.ended, ok && l.now().Before(k.until)
}

// Watch returns a vault that has the credentials of an account checked again when it
// has ended some of them.
func (l *Login) Watch(v Vault) Vault { return watched{v, l} }

type watched struct {
	Vault
	login *Login
}

func (v watched) Do(ctx context.Context, w *hall.Work) hall.Result {
	r := v.Vault.Do(ctx, w)
	switch w.Kind {
	case hall.SetPassword, hall.RemoveAccount, hall.SuspendAccount, hall.RemoveDevice, hall.RemoveCertificate:
		if r.OK {
			v.login.Forget(w.Account)
		}
	}
	return r
}

// Forget has the credentials of an account checked again: some of them have ended.
func (l *Login) Forget(account string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended++
	maps.DeleteFunc(l.known, func(_ [sha256.Size]byte, k known) bool { return strings.EqualFold(k.account, account) })
}

// note remembers credentials that were right, unless some have ended since they were
// asked about.
func (l *Login) note(id [sha256.Size]byte, account string, ended uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended != ended {
		return
	}
	now := l.now()
	if len(l.known) >= maxRemembered {
		for id, k := range l.known {
			if !now.Before(k.until) {
				delete(l.known, id)
			}
		}
	}
	if len(l.known) >= maxRemembered {
		clear(l.known) // each costs a hash once more
	}
	l.known[id] = known{account: account, until: now.Add(remember)}
}
