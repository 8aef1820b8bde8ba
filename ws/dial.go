package ws

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/epinet/epi"
)

// Options are for Dial; the zero value will do. What Server has, too, means the
// same here and has the same default.
type Options struct {
	// Header has further fields for the request, such as Origin or Authorization. A Host
	// replaces the address's. Fields of the upgrade itself are refused.
	Header       http.Header
	Subprotocols []string // to offer, the best first
	// TLS is for wss://. Of its NextProtos the server must not choose "h2", over
	// which Dial speaks no WebSocket. Default: Engine.TLS.
	TLS *tls.Config
	// Check looks at the answer, which has no body, when it is in order and before
	// OnOpen. Its error fails Dial. It must not block unless the engine has
	// workers. Default: none.
	Check func(r *http.Response) error

	// Socket are settings of the system's socket. Default: the system's.
	Socket epi.SocketOptions

	MaxMessage   int           // default 1 MiB
	Compression  bool          // offer permessage-deflate
	CompressFrom int           // default 128
	PingInterval time.Duration // default no pings
	CloseTimeout time.Duration // default 5 s
}

// Dial connects to ws://host[:port]/path or wss://, on an engine that runs, and
// returns when the upgrade is done. It must not be called in a callback. ctx
// bounds it, no more. When the server refuses, the error wraps a *[Refusal] with
// its answer.
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
	for name := range o.Header {
		if name = http.CanonicalHeaderKey(name); slices.Contains(ofUpgrade, name) {
			return nil, fmt.Errorf("Options.Header has %s, which belongs to the upgrade: leave it out", name)
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
	ec, err := e.DialWith(ctx, target, epi.DialOptions{TLS: o.TLS, Socket: o.Socket}, (*session)(c))
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
		if r := a.refused.Load(); r != nil { // its body may still be on its way
			return nil, fmt.Errorf("%w: %w", ctx.Err(), &Refusal{Status: r.Status, Reason: r.Reason, Header: r.Header})
		}
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
	interim int // bytes of the answers before the last (RFC 9110, section 15.2)

	refused atomic.Pointer[Refusal] // the last one, whose body is to come; changed by the callbacks
	length  int64                   // of the body; -1: up to the end of the stream, unless
	chunked bool                    // it comes in chunks
}

// begin sends the request.
func (a *answer) begin(c *Conn) error {
	if err := checkProtocol(c.conn.TLS()); err != nil {
		return err
	}
	var b bytes.Buffer
	header := ownHeader(a.options.Header)
	host := cmp.Or(header.Get("Host"), hostOf(a.url))
	header.Del("Host")
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: %s\r\nSec-WebSocket-Version: %s\r\n",
		targetOf(a.url), host, a.key, version)
	writeLine(&b, "Sec-WebSocket-Protocol", strings.Join(a.options.Subprotocols, ", "))
	if a.options.Compression {
		writeLine(&b, "Sec-WebSocket-Extensions", noTakeover)
	}
	_ = header.Write(&b) // a Buffer takes everything
	b.WriteString("\r\n")
	_, err := c.conn.Write(b.Bytes())
	return err
}

// checkProtocol refuses what ALPN may have brought about.
func checkProtocol(state *tls.ConnectionState) error {
	if state == nil || state.NegotiatedProtocol == "" || state.NegotiatedProtocol == "http/1.1" {
		return nil
	}
	return fmt.Errorf("the server chose %q by ALPN, and a WebSocket begins with HTTP/1.1: take it out of NextProtos of the tls.Config", state.NegotiatedProtocol)
}

// hostOf is the value of Host for a URL: a zone has a meaning on this machine only
// (RFC 6874, section 4).
func hostOf(u *url.URL) string {
	host := u.Host
	if i, j := strings.IndexByte(host, '%'), strings.IndexByte(host, ']'); i >= 0 && i < j {
		host = host[:i] + host[j:]
	}
	return host
}

// targetOf is the target of the request for a URL. What no query may contain, and
// package url lets through, is escaped (RFC 3986, section 3.4).
func targetOf(u *url.URL) string {
	target := u.RequestURI()
	var b strings.Builder
	for i := range len(target) {
		if c := target[i]; c <= ' ' || c >= 0x7f || strings.IndexByte("\"<>\\^`{|}", c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// advance waits for the whole answer and checks it.
func (a *answer) advance(c *Conn) error {
	for a.refused.Load() == nil {
		p := c.conn.Unread()
		size, err := a.end.find(p)
		if err != nil || size == 0 {
			return err
		}
		r, err := parseHead(p[:size], func(r *bufio.Reader) (*http.Response, error) { return http.ReadResponse(r, nil) })
		switch {
		case err != nil:
			return err
		case r.StatusCode == http.StatusSwitchingProtocols:
			return a.accept(c, r, size)
		case r.StatusCode >= http.StatusOK:
			a.length, a.chunked = r.ContentLength, len(r.TransferEncoding) > 0
			a.refused.Store(&Refusal{Status: r.StatusCode, Reason: "the server refuses", Header: r.Header})
		default: // another answer follows
			if a.interim += size; a.interim > maxHeader {
				return fmt.Errorf("the server sends more than %d bytes before its answer", maxHeader)
			}
		}
		c.conn.Discard(size)
		a.end = headerEnd{}
	}
	return a.readBody(c.conn.Unread())
}

// readBody waits for the body of a refusal, or for as much of it as is wanted.
func (a *answer) readBody(p []byte) error {
	body, whole := p[:min(len(p), maxRefusalBody)], a.length >= 0 && int64(len(p)) >= a.length
	if whole {
		body = body[:min(int64(len(body)), a.length)]
	}
	if a.chunked {
		var err error
		body, err = io.ReadAll(io.LimitReader(httputil.NewChunkedReader(bytes.NewReader(p)), maxRefusalBody))
		whole = err == nil
	}
	r := a.refused.Load()
	r.Body = bytes.Clone(body)
	if whole || len(p) >= 2*maxRefusalBody || !a.chunked && len(body) == maxRefusalBody {
		return r
	}
	return nil
}

// maxRefusalBody bounds what is kept of a refusal's body.
const maxRefusalBody = 4 << 10

// accept makes the connection a WebSocket if the answer, of a size, is in order.
func (a *answer) accept(c *Conn, r *http.Response, size int) error {
	if err := a.check(c, r); err != nil {
		return err
	}
	if a.options.Check != nil {
		r.Body = http.NoBody
		if err := a.options.Check(r); err != nil {
			return err
		}
	}
	c.conn.Discard(size)
	c.handler = a.handler
	return nil
}

// opened lets Dial go on, before any callback but with all that these need.
func (a *answer) opened() { a.done <- nil }

// check holds RFC 6455, section 4.1, against the answer.
func (a *answer) check(c *Conn, r *http.Response) (err error) {
	protocols := r.Header[headerProtocol]
	switch {
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

// failed gives Dial the reason why there is no WebSocket. A refusal is the reason, whatever
// became of the rest of its body.
func (a *answer) failed(err error) {
	if r := a.refused.Load(); r != nil {
		err = r
	} else if err == nil {
		err = epi.ErrClosed
	}
	a.done <- err
}
