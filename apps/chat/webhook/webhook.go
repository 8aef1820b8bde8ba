// Package webhook sends what is said in channels to other programs: JSON by POST, one
// request for each message, signed as Standard Webhooks has it
// (https://www.standardwebhooks.com).
//
// The messages of one hook go one after the other, in their order. A request that fails
// is tried again, later and later; what waits meanwhile is bounded, and is lost when this
// program ends: a receiver fills the gap from the history, by the id that it has last.
package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/epinet/epi/apps/chat/api"
	"github.com/epinet/epi/apps/chat/hall"
	"github.com/epinet/epi/apps/chat/ircmsg"
	"github.com/epinet/epi/apps/internal/publicnet"
)

const (
	// maxWaiting bounds the messages that wait for one hook.
	maxWaiting = 1000
	// timeout bounds one request.
	timeout = 10 * time.Second
)

// retries are how long a message waits before each further try.
var retries = []time.Duration{time.Second, 5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute}

// A Hook is a program that wants to know what is said.
type Hook struct {
	Name     string
	URL      string
	Secret   string   // "whsec_" and base64
	Channels []string // names, or beginnings of names with "*" behind
	// Private: the URL may be of a private network.
	Private bool
}

// Check says what is wrong with a hook.
func (h *Hook) Check() error {
	u, err := url.Parse(h.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && !(u.Scheme == "http" && h.Private):
		return errors.New("the url must be https://..., or http://... with private = true")
	case len(h.Channels) == 0:
		return errors.New("it needs channels, such as [\"#builds\", \"#team-*\"]")
	}
	if _, err := h.key(); err != nil {
		return err
	}
	for _, pattern := range h.Channels {
		if err := api.Check(pattern); err != nil {
			return err
		}
	}
	return nil
}

// key returns what requests are signed with.
func (h *Hook) key() ([]byte, error) {
	text, ok := strings.CutPrefix(h.Secret, "whsec_")
	key, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || len(key) < 24 || len(key) > 64 {
		return nil, errors.New(`the secret must be "whsec_" and 24 to 64 bytes in base64, such as openssl rand -base64 32 makes`)
	}
	return key, nil
}

// A Sender sends to hooks. Its methods may be called from any goroutine.
type Sender struct {
	log    *slog.Logger
	after  func(time.Duration) <-chan time.Time // time.After, but in tests
	ctx    context.Context
	cancel context.CancelFunc
	group  sync.WaitGroup

	mu    sync.Mutex
	lines []*line // guarded by mu
}

// A line is a hook with what waits for it.
type line struct {
	hook   Hook
	key    []byte
	client *http.Client
	ctx    context.Context // ends with the hook
	cancel context.CancelFunc

	mu      sync.Mutex
	queue   []*hall.Record // guarded by mu
	running bool           // guarded by mu
	full    bool           // guarded by mu; the queue was, which was logged
}

// New returns a Sender without hooks.
func New(log *slog.Logger) *Sender {
	s := &Sender{log: log, after: time.After}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Configure replaces the hooks, which Check has nothing against. One that is as before
// goes on with what waits for it.
func (s *Sender) Configure(hooks []Hook) {
	lines := make([]*line, len(hooks))
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range hooks {
		lines[i] = s.line(&hooks[i])
	}
	for _, l := range s.lines {
		if !slices.Contains(lines, l) {
			l.cancel()
		}
	}
	s.lines = lines
}

// line returns what a hook has, which is as it was before or new. The caller holds mu.
func (s *Sender) line(hook *Hook) *line {
	for _, l := range s.lines {
		if l.hook.equal(hook) {
			return l
		}
	}
	allowed := publicnet.IsPublic
	if hook.Private {
		allowed = func(netip.Addr) bool { return true }
	}
	key, _ := hook.key() // checked
	l := &line{hook: *hook, key: key, client: publicnet.Client(timeout, allowed)}
	l.ctx, l.cancel = context.WithCancel(s.ctx)
	return l
}

func (h *Hook) equal(other *Hook) bool {
	return h.Name == other.Name && h.URL == other.URL && h.Secret == other.Secret && h.Private == other.Private && slices.Equal(h.Channels, other.Channels)
}

// Notify sends a message that is durable to the hooks of its channel. It does not block.
func (s *Sender) Notify(r *hall.Record) {
	if r.IsEvent() || r.Reaction || r.Rank != 0 || !strings.HasPrefix(r.Target, "#") {
		return
	}
	s.mu.Lock()
	lines := s.lines
	s.mu.Unlock()
	for _, l := range lines {
		if slices.ContainsFunc(l.hook.Channels, func(pattern string) bool { return api.Covers(pattern, r.Target) }) {
			s.push(l, r)
		}
	}
}

func (s *Sender) push(l *line, r *hall.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.ctx.Err() != nil:
	case len(l.queue) >= maxWaiting:
		if !l.full {
			s.log.Warn("too many messages wait for a webhook; further ones are left out until some have gone", "webhook", l.hook.Name, "waiting", len(l.queue))
		}
		l.full = true
	default:
		l.full = false
		l.queue = append(l.queue, r)
		if !l.running {
			l.running = true
			s.group.Go(func() { s.run(l) })
		}
	}
}

// run sends until nothing waits.
func (s *Sender) run(l *line) {
	for r := l.next(); r != nil; r = l.next() {
		if err := s.deliver(l, r); err != nil && l.ctx.Err() == nil {
			s.log.Error("a message was not sent to a webhook", "webhook", l.hook.Name, "id", ircmsg.FormatID(r.ID), "error", err)
		}
	}
}

func (l *line) next() *hall.Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) == 0 || l.ctx.Err() != nil {
		l.running, l.queue = false, nil
		l.client.CloseIdleConnections()
		return nil
	}
	r := l.queue[0]
	l.queue[0] = nil
	l.queue = l.queue[1:]
	return r
}

// errRefused: trying again would change nothing.
var errRefused = errors.New("it is not tried again")

// deliver sends one message, and tries again while that may help.
func (s *Sender) deliver(l *line, r *hall.Record) error {
	body, err := json.Marshal(payload(r))
	if err != nil {
		return err
	}
	for try := 0; ; try++ {
		err := l.post(ircmsg.FormatID(r.ID), body)
		if err == nil || errors.Is(err, errRefused) || try == len(retries) {
			return err
		}
		if try == 0 {
			s.log.Warn("a webhook does not take a message; it is tried again", "webhook", l.hook.Name, "error", err)
		}
		select {
		case <-s.after(retries[try]):
		case <-l.ctx.Done():
			return l.ctx.Err()
		}
	}
}

// A Payload is the body of a request.
type Payload struct {
	Type      string      `json:"type"` // "message"
	Timestamp time.Time   `json:"timestamp"`
	Data      api.Message `json:"data"`
}

func payload(r *hall.Record) Payload {
	at := time.UnixMilli(r.ID >> hall.IDBits).UTC()
	nick, _, _ := strings.Cut(r.Source, "!")
	m := api.Message{ID: ircmsg.FormatID(r.ID), Time: at, Channel: r.Shown, Nick: nick, Account: r.Account, Notice: r.Command == "NOTICE"}
	m.Text, m.Action = ircmsg.Action(r.Text)
	if r.Reply != 0 {
		m.ReplyTo = ircmsg.FormatID(r.Reply)
	}
	return Payload{Type: "message", Timestamp: at, Data: m}
}

// post sends one request. The message's id is the request's, so that a receiver knows
// one that comes again.
func (l *line) post(id string, body []byte) error {
	r, err := http.NewRequestWithContext(l.ctx, http.MethodPost, l.hook.URL, bytes.NewReader(body))
	if err != nil {
		return err
	}
	at := strconv.FormatInt(time.Now().Unix(), 10)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "epi-chat")
	r.Header.Set("Webhook-Id", id)
	r.Header.Set("Webhook-Timestamp", at)
	r.Header.Set("Webhook-Signature", Sign(l.key, id, at, body))
	resp, err := l.client.Do(r)
	if err != nil {
		return err
	}
	_, _ = io.CopyN(io.Discard, resp.Body, 4096) // so that the connection can be used again
	_ = resp.Body.Close()                        // what it says is of no use
	switch code := resp.StatusCode; {
	case code >= 200 && code < 300:
		return nil
	case code >= 300 && code < 500 && code != http.StatusRequestTimeout && code != http.StatusTooEarly && code != http.StatusTooManyRequests:
		return fmt.Errorf("the answer is %s: %w", resp.Status, errRefused)
	default:
		return fmt.Errorf("the answer is %s", resp.Status)
	}
}

// Sign returns the header Webhook-Signature of a request: "v1," and the base64 of the
// HMAC-SHA256 of the id, the time in seconds and the body, with dots between them.
func Sign(key []byte, id, at string, body []byte) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + at + "."))
	mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// Close ends what is under way, and waits for that.
func (s *Sender) Close() {
	s.cancel()
	s.group.Wait()
}
