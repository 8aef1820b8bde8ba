// Package api serves a chat over HTTP to programs: who is here, what was said, and
// something to say. Programs log in with tokens, which the configuration has as hashes,
// and see the channels that it names for them. Incoming webhooks take what Slack's
// take.
//
// What a program says goes through the hall as what a client says does; nothing here
// decides who may do what in a channel.
package api

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/epinet/epi/apps/chat/ircmsg"
	"github.com/epinet/epi/apps/chat/store"
)

// Prefix is what all paths begin with.
const Prefix = "/api/v1"

// A Scope is what a token is for.
type Scope string

// The scopes.
const (
	// Read shows users and channels.
	Read Scope = "read"
	// History shows and finds what was said.
	History Scope = "history"
	// Send says something.
	Send Scope = "send"
)

// Scopes are all.
var Scopes = []Scope{Read, History, Send}

// A Token lets a program in.
type Token struct {
	Name     string   // what it speaks as
	Hash     string   // SHA-256 of the token, in hex
	Scopes   []Scope  //
	Channels []string // names, or patterns such as "#team-*"
}

// A Hook lets whoever knows its secret speak in one channel.
type Hook struct {
	Name    string
	Hash    string // SHA-256 of the secret, in hex
	Channel string
}

// A User is what programs see of one.
type User struct {
	Nick     string   `json:"nick"`
	Account  string   `json:"account,omitempty"`
	Realname string   `json:"realname"`
	Away     string   `json:"away,omitempty"`
	Bot      bool     `json:"bot,omitempty"`
	Channels []string `json:"channels"` // those that the token is for
}

// A Channel is what programs see of one.
type Channel struct {
	Name    string `json:"name"`
	Topic   string `json:"topic"`
	Members int    `json:"members"`
}

// A Chat is what programs talk with. Its methods may be called from any goroutine and
// wait for the hall.
type Chat interface {
	// Users and Channels return what there is, in the order of the names.
	Users(ctx context.Context) ([]User, error)
	Channels(ctx context.Context) ([]Channel, error)
	// Post says text in a channel as a name of a program, and returns the message's
	// id. An error is what the hall has against it: a *Refused.
	Post(ctx context.Context, channel, name, text string) (id string, err error)
}

// Refused is what the hall has against a message.
type Refused struct{ Reason string }

func (r *Refused) Error() string { return r.Reason }

// Tokens are who may do what. They change with the configuration.
type Tokens struct {
	Tokens []Token
	Hooks  []Hook
}

// A Server answers programs. It is an http.Handler for what is below Prefix; its
// methods may be called from any goroutine.
type Server struct {
	chat   Chat
	store  store.Store
	writer *store.Writer
	mux    *http.ServeMux
	who    atomic.Pointer[Tokens]

	mu      sync.Mutex
	buckets map[string]*rate.Limiter // guarded by mu; by the hash of a token
}

// New returns a server, that reads what writer has written to s.
func New(chat Chat, s store.Store, writer *store.Writer, who Tokens) *Server {
	srv := &Server{chat: chat, store: s, writer: writer, mux: http.NewServeMux(), buckets: map[string]*rate.Limiter{}}
	srv.Configure(who)
	for i := range routes {
		srv.mux.Handle(routes[i].method+" "+Prefix+routes[i].path, srv.handler(&routes[i]))
	}
	srv.mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		fail(w, &problem{http.StatusNotFound, "there is no such resource: " + Prefix + "/openapi.json has all"})
	})
	return srv
}

// Configure replaces the tokens.
func (s *Server) Configure(who Tokens) {
	s.who.Store(&who)
	s.mu.Lock()
	clear(s.buckets)
	s.mu.Unlock()
}

// ServeHTTP is a method of http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// A problem is an error that is an answer (RFC 9457).
type problem struct {
	Status int    `json:"status"`
	Detail string `json:"detail"`
}

func (p *problem) Error() string { return p.Detail }

// fail answers a request with what went wrong.
func fail(w http.ResponseWriter, err error) {
	var p *problem
	var refused *Refused
	switch {
	case errors.As(err, &p):
	case errors.As(err, &refused):
		p = &problem{http.StatusUnprocessableEntity, refused.Reason}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		p = &problem{http.StatusServiceUnavailable, "the chat did not answer in time: try again"}
	default:
		p = &problem{http.StatusInternalServerError, "the request failed: try again later"}
	}
	switch p.Status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Bearer realm="chat"`)
	case http.StatusTooManyRequests:
		w.Header().Set("Retry-After", "1")
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(struct {
		Title string `json:"title"`
		*problem
	}{http.StatusText(p.Status), p}) // the client has gone: nobody gets an answer
}

// answer writes what went well.
func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // likewise
}

// patience is how long a request may take.
const patience = 10 * time.Second

// handler checks who asks, and does what the route is for.
func (s *Server) handler(at *route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), patience)
		defer cancel()
		r = r.WithContext(ctx)
		q := &query{Server: s, r: r}
		if at.scope != "" {
			token, err := s.admit(r, at.scope)
			if err != nil {
				fail(w, err)
				return
			}
			q.token = token
		}
		status, v, err := at.do(q)
		if err != nil {
			fail(w, err)
			return
		}
		if text, ok := v.(string); ok { // what Slack's programs expect
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			w.WriteHeader(status)
			_, _ = fmt.Fprint(w, text)
			return
		}
		answer(w, status, v)
	})
}

// A query is one request under way.
type query struct {
	*Server
	r     *http.Request
	token *Token // nil where none is needed
}

// Hash returns what the configuration has of a token.
func Hash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// admit returns the token of a request, if it is one and for that.
func (s *Server) admit(r *http.Request, scope Scope) (*Token, error) {
	scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || secret == "" {
		return nil, &problem{http.StatusUnauthorized, "send a token: Authorization: Bearer TOKEN"}
	}
	hash := Hash(strings.TrimSpace(secret))
	var found *Token
	for i, t := range s.who.Load().Tokens {
		if same(t.Hash, hash) {
			found = &s.who.Load().Tokens[i]
		}
	}
	switch {
	case found == nil:
		return nil, &problem{http.StatusUnauthorized, "the token is not known here"}
	case !slices.Contains(found.Scopes, scope):
		return nil, &problem{http.StatusForbidden, fmt.Sprintf("the token is not for that: it lacks the scope %q", scope)}
	}
	return found, s.spend(hash)
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// What a token and a hook can spend: requests a second, and at once.
const (
	spendRate  = 10
	spendBurst = 30
)

// spend takes one request from what a token has.
func (s *Server) spend(hash string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.buckets[hash]
	if b == nil {
		b = rate.NewLimiter(spendRate, spendBurst)
		s.buckets[hash] = b // of tokens that there are: bounded by the configuration
	}
	if !b.Allow() {
		return &problem{http.StatusTooManyRequests, fmt.Sprintf("more than %d requests a second: wait", spendRate)}
	}
	return nil
}

// isFor reports whether a token is for a channel.
func (t *Token) isFor(channel string) bool {
	return slices.ContainsFunc(t.Channels, func(pattern string) bool { return Covers(pattern, channel) })
}

// Covers reports whether a pattern of channels has a channel.
func Covers(pattern, channel string) bool {
	ok, err := path.Match(ircmsg.ASCII.Fold(pattern), ircmsg.ASCII.Fold(channel))
	return ok && err == nil
}

// Check says what is wrong with a pattern of channels.
func Check(pattern string) error {
	if _, err := path.Match(pattern, ""); err != nil || !strings.HasPrefix(pattern, "#") {
		return fmt.Errorf("%q is no channel and no pattern of channels such as #team-*", pattern)
	}
	return nil
}
