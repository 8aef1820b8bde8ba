// Package push sends Web Push messages (RFC 8030) to the phones and browsers of people
// who were mentioned or written to, encrypted for them alone (RFC 8291), with this
// server's key (VAPID, RFC 8292).
//
// Where a push goes is what a client said. So that nobody makes this server send
// requests to its own network, they go by HTTPS to public addresses only, which is
// looked at when a connection is made, whatever a name said before, and no redirect is
// followed.
package push

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	webpush "github.com/SherClockHolmes/webpush-go"

	"github.com/epinet/epi/apps/chat/hall"
	"github.com/epinet/epi/apps/chat/ircmsg"
	"github.com/epinet/epi/apps/chat/store"
	"github.com/epinet/epi/apps/internal/publicnet"
	"github.com/epinet/epi/apps/internal/secretfile"
)

const (
	// maxSubscriptions is how many phones and browsers an account can have.
	maxSubscriptions = 10
	// maxEndpoint bounds a subscription's URL.
	maxEndpoint = 1024
	// maxWaiting bounds the messages that wait to be sent, and maxSending those that
	// are being sent.
	maxWaiting, maxSending = 1000, 4
	// timeout bounds one request, and keptFor how long a service keeps a message for a
	// phone that is off, in seconds.
	timeout = 10 * time.Second
	keptFor = 24 * 60 * 60
	// maxLine is the most bytes of an IRC message that fit into a push message.
	maxLine = 3000
)

// A Config is what a Pusher needs.
type Config struct {
	KeyFile string // of the server's key; it is made
	Server  string // a URL or address of who runs the server, for the services
	Store   store.Store
	Writer  *store.Writer
	Log     *slog.Logger
	// Public reports whether an address may be connected to; nil: publicnet.IsPublic.
	Public func(netip.Addr) bool
	// Client is for tests; nil: one that connects to public addresses only.
	Client *http.Client
}

// A Pusher sends push messages. Its methods may be called from any goroutine.
type Pusher struct {
	Config
	private, public string
	ctx             context.Context
	cancel          context.CancelFunc
	group           sync.WaitGroup

	mu      sync.Mutex
	queue   []*hall.Record // guarded by mu
	sending int            // guarded by mu; goroutines
	full    bool           // guarded by mu; the queue was, which was logged
	ended   bool           // guarded by mu
}

// New returns a Pusher, with the key in a file.
func New(c Config) (*Pusher, error) {
	p := &Pusher{Config: c}
	var err error
	if p.private, p.public, err = key(c.KeyFile); err != nil {
		return nil, err
	}
	if p.Public == nil {
		p.Public = publicnet.IsPublic
	}
	if p.Client == nil {
		p.Client = publicnet.Client(timeout, p.Public)
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p, nil
}

// key reads the server's key, or makes one.
func key(name string) (private, public string, err error) {
	text, err := secretfile.Get(name, func() ([]byte, error) {
		private, public, err := webpush.GenerateVAPIDKeys()
		return []byte(private + "\n" + public + "\n"), err
	})
	if err != nil {
		return "", "", fmt.Errorf("the key of push messages: %w", err)
	}
	keys := strings.Fields(string(text))
	if len(keys) != 2 {
		return "", "", fmt.Errorf("%s is no key: remove it, and the next start makes another; all devices must then ask for push messages again", name)
	}
	return keys[0], keys[1], nil
}

// PublicKey is what clients need for a subscription (VAPID in 005).
func (p *Pusher) PublicKey() string { return p.public }

// Do does the works of hall.WorkKind that are about push.
func (p *Pusher) Do(ctx context.Context, w *hall.Work) hall.Result {
	if w.Kind == hall.Unsubscribe {
		if err := p.Writer.Do(ctx, store.RemoveSubscription{Account: w.Account, Endpoint: w.Endpoint}); err != nil && !errors.Is(err, store.ErrNotFound) {
			return failed
		}
		return hall.Result{OK: true}
	}
	if err := check(w.Endpoint, w.Keys); err != nil {
		return hall.Result{Code: "INVALID_PARAMS", Text: err.Error()}
	}
	have, err := p.Store.Subscriptions(ctx, w.Account)
	if err != nil {
		return failed
	}
	known := false
	for _, s := range have {
		known = known || s.Endpoint == w.Endpoint
	}
	if !known && len(have) >= maxSubscriptions {
		return hall.Result{Code: "MAX_REGISTRATIONS", Text: fmt.Sprintf("An account has at most %d devices with push messages", maxSubscriptions)}
	}
	err = p.Writer.Do(ctx, store.PutSubscription{Subscription: store.Subscription{
		Account: w.Account, Endpoint: w.Endpoint, Keys: w.Keys, Created: time.Now(),
	}})
	if err != nil {
		return failed
	}
	return hall.Result{OK: true}
}

var failed = hall.Result{Code: "INTERNAL_ERROR", Text: "That could not be kept; try again later"}

// check says what is wrong with a subscription.
func check(endpoint, keys string) error {
	u, err := url.Parse(endpoint)
	switch {
	case err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil:
		return errors.New("the endpoint is no https:// URL")
	case len(endpoint) > maxEndpoint:
		return errors.New("the endpoint is too long")
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil && !publicnet.IsPublic(ip) {
		return errors.New("the endpoint is no public address")
	}
	k := parseKeys(keys)
	for name, of := range map[string]struct {
		text string
		size int
	}{"auth": {k.Auth, 16}, "p256dh": {k.P256dh, 65}} {
		raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(of.text, "="))
		if err != nil || len(raw) != of.size {
			return fmt.Errorf("the key %s is not %d bytes in URL-safe base64", name, of.size)
		}
	}
	return nil
}

// parseKeys reads keys, which are written as tags of a message are.
func parseKeys(text string) (k webpush.Keys) {
	for part := range strings.SplitSeq(text, ";") {
		switch name, value, _ := strings.Cut(part, "="); name {
		case "auth":
			k.Auth = value
		case "p256dh":
			k.P256dh = value
		}
	}
	return k
}

// Notify sends a message to the devices of the accounts that it names. It does not
// block. When too much waits, it is not sent: the message is in the history all the
// same.
func (p *Pusher) Notify(r *hall.Record) {
	if len(r.Notify) == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.ended:
	case len(p.queue) >= maxWaiting:
		if !p.full {
			p.Log.Warn("too many push messages wait; further ones are not sent until some have gone", "waiting", len(p.queue))
		}
		p.full = true
	default:
		p.full = false
		p.queue = append(p.queue, r)
		if p.sending < maxSending {
			p.sending++
			p.group.Go(p.run)
		}
	}
}

// run sends until nothing waits.
func (p *Pusher) run() {
	for r := p.next(); r != nil; r = p.next() {
		for _, account := range r.Notify {
			p.send(account, line(r))
		}
	}
}

func (p *Pusher) next() *hall.Record {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) == 0 || p.ended {
		p.sending--
		return nil
	}
	r := p.queue[0]
	p.queue[0] = nil
	p.queue = p.queue[1:]
	return r
}

// line is a message as an IRC line without its end, which is what a device gets.
func line(r *hall.Record) []byte {
	text, _, _ := strings.Cut(r.Text, "\n")
	if len(text) > maxLine/2 {
		text = strings.ToValidUTF8(text[:maxLine/2], "")
	}
	tags := "@time=" + ircmsg.FormatTime(r.ID>>hall.IDBits) + ";msgid=" + ircmsg.FormatID(r.ID)
	if r.Account != "" {
		tags += ";account=" + r.Account
	}
	return []byte(tags + " :" + r.Source + " " + r.Command + " " + r.Shown + " :" + text)
}

// send sends a message to all devices of an account.
func (p *Pusher) send(account string, message []byte) {
	subscriptions, err := p.Store.Subscriptions(p.ctx, account)
	if err != nil {
		p.Log.Error("push messages: the devices of an account could not be read", "error", err)
		return
	}
	for _, s := range subscriptions {
		if err := p.sendTo(&s, message); err != nil && p.ctx.Err() == nil {
			p.Log.Info("a push message was not sent", "account", account, "error", err)
		}
	}
}

// errGone: the device does not want messages any more.
var errGone = errors.New("the subscription has ended; it is forgotten")

func (p *Pusher) sendTo(s *store.Subscription, message []byte) error {
	ctx, cancel := context.WithTimeout(p.ctx, timeout)
	defer cancel()
	resp, err := webpush.SendNotificationWithContext(ctx, message, &webpush.Subscription{Endpoint: s.Endpoint, Keys: parseKeys(s.Keys)}, &webpush.Options{
		HTTPClient: p.Client, Subscriber: p.Server, VAPIDPublicKey: p.public, VAPIDPrivateKey: p.private, TTL: keptFor, Urgency: webpush.UrgencyHigh,
	})
	if err != nil {
		return err
	}
	_, _ = io.CopyN(io.Discard, resp.Body, 4096) // so that the connection can be used again
	_ = resp.Body.Close()                        // what it says is of no use
	switch {
	case resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusGone:
		p.Writer.Write(store.RemoveSubscription{Account: s.Account, Endpoint: s.Endpoint}, nil)
		return errGone
	case resp.StatusCode >= http.StatusMultipleChoices:
		return fmt.Errorf("the service answered %s", resp.Status)
	}
	return nil
}

// Close ends what is under way, and waits for that.
func (p *Pusher) Close() {
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	p.cancel()
	p.group.Wait()
	p.Client.CloseIdleConnections()
}
