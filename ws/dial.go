package ws

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/epinet/epi"
)

// Options are for Dial; the zero value will do. What Server has, too, means the
// same here and has the same default.
type Options struct {
	Header       http.Header // more of it for the request, such as Origin or Authorization
	Subprotocols []string    // to offer, the best first
	TLS          *tls.Config // for wss://; default Engine.TLS

	MaxMessage   int           // default 1 MiB
	Compression  bool          // offer permessage-deflate
	CompressFrom int           // default 128
	PingInterval time.Duration // default no pings
	CloseTimeout time.Duration // default 5 s
}

// Dial connects to ws://host[:port]/path or wss://, on an engine that runs, and
// returns when the upgrade is done. It must not be called in a callback. ctx
// bounds it, no more.
func Dial(ctx context.Context, e *epi.Engine, address string, o Options, h Handler) (*Conn, error) {
	conn, err := dial(ctx, e, address, o, h)
	if err != nil {
		return nil, fmt.Errorf("ws: dial %s: %w", address, err)
	}
	return conn, nil
}

func dial(ctx context.Context, e *epi.Engine, address string, o Options, h Handler) (*Conn, error) {
	u, target, err := parseURL(address)
	if err != nil {
		return nil, err
	}
	for _, p := range o.Subprotocols {
		if !isToken(p) {
			return nil, fmt.Errorf("subprotocol %q is no token", p)
		}
	}
	a := &answer{url: u, options: o, key: newKey(), handler: h, done: make(chan error, 1)}
	c := &Conn{opening: a, with: (&settings{
		client:       true,
		maxMessage:   o.MaxMessage,
		compressFrom: o.CompressFrom,
		pingInterval: o.PingInterval,
		closeTimeout: o.CloseTimeout,
	}).fillIn()}
	ec, err := e.DialWith(ctx, target, epi.DialOptions{TLS: o.TLS}, (*session)(c))
	if err != nil {
		return nil, err
	}
	select {
	case err := <-a.done:
		if err != nil {
			return nil, err
		}
		return c, nil
	case <-ctx.Done():
		_ = ec.Abort()
		return nil, ctx.Err()
	}
}

// parseURL returns the URL and the engine's address for it.
func parseURL(address string) (u *url.URL, target string, err error) {
	u, err = url.Parse(address)
	if err != nil {
		return nil, "", err
	}
	scheme, port := "tcp", "80"
	switch u.Scheme {
	case "ws":
	case "wss":
		scheme, port = "tls", "443"
	default:
		return nil, "", fmt.Errorf("the scheme is %q: write ws://host:port/path or wss://", u.Scheme)
	}
	if u.Hostname() == "" || u.Fragment != "" || u.User != nil {
		return nil, "", fmt.Errorf("a WebSocket URL has a host, no user and no fragment")
	}
	if u.Port() != "" {
		port = u.Port()
	}
	return u, scheme + "://" + net.JoinHostPort(u.Hostname(), port), nil
}

func newKey() string {
	key := make([]byte, keySize)
	_, _ = rand.Read(key) // it never fails
	return base64.StdEncoding.EncodeToString(key)
}

// An answer is the opening of a connection to another server.
type answer struct {
	url     *url.URL
	options Options
	key     string
	handler Handler
	done    chan error // has room for the one result
	end     headerEnd
}

// begin sends the request.
func (a *answer) begin(c *Conn) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: %s\r\nSec-WebSocket-Version: %s\r\n",
		a.url.RequestURI(), a.url.Host, a.key, version)
	writeLine(&b, "Sec-WebSocket-Protocol", strings.Join(a.options.Subprotocols, ", "))
	if a.options.Compression {
		writeLine(&b, "Sec-WebSocket-Extensions", noTakeover)
	}
	_ = a.options.Header.Write(&b)
	b.WriteString("\r\n")
	_, err := c.conn.Write(b.Bytes())
	return err
}

// advance waits for the whole answer and checks it.
func (a *answer) advance(c *Conn) error {
	p := c.conn.Unread()
	size, err := a.end.find(p)
	if err != nil || size == 0 {
		return err
	}
	if err := a.check(c, p[:size]); err != nil {
		return err
	}
	c.conn.Discard(size)
	c.handler = a.handler
	return nil
}

// opened tells Dial, before any callback but with all that these need.
func (a *answer) opened() { a.done <- nil }

// check holds RFC 6455, section 4.1, against the answer.
func (a *answer) check(c *Conn, block []byte) error {
	r, err := parseHead(block, func(r *bufio.Reader) (*http.Response, error) { return http.ReadResponse(r, nil) })
	if err != nil {
		return err
	}
	protocols := r.Header[headerProtocol]
	switch {
	case r.StatusCode != http.StatusSwitchingProtocols:
		return &Refusal{Status: r.StatusCode, Reason: "the server refuses", Header: r.Header}
	case !hasToken(r.Header["Upgrade"], "websocket") || !hasToken(r.Header["Connection"], "upgrade"):
		return fmt.Errorf("the server upgrades to something else: %q", r.Header["Upgrade"])
	case len(r.Header[headerAccept]) != 1 || r.Header.Get(headerAccept) != acceptKey(a.key):
		return fmt.Errorf("the server's %s does not fit the key", headerAccept)
	case len(protocols) > 1 || len(protocols) == 1 && !slices.Contains(a.options.Subprotocols, protocols[0]):
		return fmt.Errorf("the server speaks %q, which was not offered", protocols)
	}
	c.protocol = r.Header.Get(headerProtocol)
	c.window, err = agreeDeflate(r.Header, a.options.Compression)
	return err
}

func (a *answer) failed(err error) {
	if err == nil {
		err = epi.ErrClosed
	}
	a.done <- err
}
