package ws

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/epinet/epi"
)

// A Server makes WebSockets of the connections of a listener:
//
//	engine.Listen("tcp://:80", server.Serve)
//
// On a tls:// listener it speaks wss. The fields must not change once it serves.
type Server struct {
	// Handler returns the handler of a connection whose request is in order, nil
	// to refuse it with 403. It is called before the answer is sent: nothing can
	// be written to c until OnOpen. Without it there are no WebSockets.
	Handler func(c *Conn, r *http.Request) Handler

	// Path is the one that has WebSockets; its first slash may be left out.
	// Default: all have.
	Path string
	// Origins are the values of Origin that are allowed: "*" is all, and SameOrigin the
	// Host's. A request without one, which is from no browser, is always allowed.
	// Default: SameOrigin. An empty list allows none.
	Origins []string
	// Check looks at requests that are in order otherwise. Its error refuses: one
	// that is, or wraps, a *Refusal with its status and reason, any other with 403
	// alone: its text does not go to the client. It must not block unless the
	// engine has workers. Default: none.
	Check func(r *http.Request) error
	// Subprotocols are those that the server speaks, the best first.
	Subprotocols []string
	// Answer may change the answer to a request that Check has let through, and
	// refuse it as Check does. It must not block either. Default: none.
	Answer func(r *http.Request, a *Answer) error

	// HTTP serves the requests that ask for no WebSocket, or for one at another
	// path, each on a connection that leaves the engine and ends with the
	// answer. Default: they are refused with 426 or 404.
	HTTP http.Handler
	// MaxHTTP bounds the connections that HTTP has; one more is refused with 503.
	// They count for Engine.MaxConns, too. Default: 1,024; math.MaxInt is no bound.
	MaxHTTP int
	// WriteTimeout bounds the time for the answer of HTTP, from its request on; a
	// handler can change it for one answer by http.ResponseController. A client
	// that takes none of it for Engine.WriteTimeout is given up before. Default:
	// one minute; a negative one is none.
	WriteTimeout time.Duration
	// ErrorLog is where net/http says what goes wrong, panics of HTTP above all.
	// Default: the standard logger of package log.
	ErrorLog *log.Logger

	// MaxMessage bounds a message, also after it was decompressed; a longer one
	// closes the connection with MessageTooBig. math.MaxInt is no bound, for a
	// PartHandler. Default: 1 MiB.
	MaxMessage int
	// Compression accepts permessage-deflate where clients offer it.
	Compression bool
	// CompressFrom is the length of the shortest messages that are compressed.
	// Default: 128.
	CompressFrom int
	// PingInterval is the time between pings. A peer that for a whole one after a
	// ping, and up to a second more, sends nothing and takes nothing of what is
	// queued is given up (ErrPingTimeout). Default: no pings.
	PingInterval time.Duration
	// OpenTimeout bounds the time for the request, but for a last look up to a second
	// later. Default: 10 s.
	OpenTimeout time.Duration
	// CloseTimeout bounds the time that Close waits for the peer, likewise. Default:
	// 5 s.
	CloseTimeout time.Duration

	once    sync.Once
	with    *settings
	path    string   // Path, with its first slash
	origins []string // Origins, as browsers write them
	http    http.Server
	httpNow atomic.Int64 // connections that http has, or will have
	closing atomic.Bool  // it gets no more
}

// An Answer is what a client gets when its request is accepted.
type Answer struct {
	// Header is more for the answer, such as Set-Cookie. What belongs to the
	// upgrade itself is not taken from it.
	Header http.Header
	// Subprotocol is the one that was chosen, or "". Another one must be among
	// those that the client offered.
	Subprotocol string
	// Compression says whether permessage-deflate is accepted if it was offered.
	Compression bool
}

const (
	defaultMaxHTTP      = 1024
	defaultWriteTimeout = time.Minute
)

// Serve returns the handler of a new connection; it is what Engine.Listen wants.
func (s *Server) Serve(*epi.Conn) epi.Handler {
	s.once.Do(s.start)
	return (*session)(&Conn{with: s.with, opening: &upgrade{server: s}})
}

func (s *Server) start() {
	s.with = (&settings{
		maxMessage:   s.MaxMessage,
		compressFrom: s.CompressFrom,
		pingInterval: s.PingInterval,
		openTimeout:  s.OpenTimeout,
		closeTimeout: s.CloseTimeout,
		pacers:       new(sync.Map),
	}).fillIn()
	if s.Path != "" {
		s.path = "/" + strings.TrimPrefix(s.Path, "/")
	}
	for _, o := range s.Origins {
		s.origins = append(s.origins, plainOrigin(o))
	}
	s.http.Handler = http.HandlerFunc(s.handleHTTP)
	s.http.ConnContext = keepTLS
	s.http.ConnState = s.noteState
	s.http.ErrorLog = s.ErrorLog
	s.http.ReadTimeout = s.with.openTimeout
	s.http.WriteTimeout = max(0, s.WriteTimeout)
	if s.WriteTimeout == 0 {
		s.http.WriteTimeout = defaultWriteTimeout
	}
	// The next request on the connection might ask for a WebSocket, which net/http
	// does not know.
	s.http.SetKeepAlivesEnabled(false)
}

// Close closes the connections that were given to HTTP, which are not the
// engine's any more. HTTP gets no later requests: they are refused with 503.
func (s *Server) Close() error {
	s.closing.Store(true)
	return s.http.Close()
}

// Shutdown lets HTTP finish the answers that are under way and returns when it
// has, or with the error of ctx. Later requests are refused as after Close. It is
// for the time before Engine.Run ends, or after it: neither waits for the other.
func (s *Server) Shutdown(ctx context.Context) error {
	s.closing.Store(true)
	return s.http.Shutdown(ctx)
}

// enterHTTP finds a place for one connection more, unless there are MaxHTTP or
// HTTP is to get no more.
func (s *Server) enterHTTP() bool {
	if s.closing.Load() {
		return false
	}
	bound := s.MaxHTTP
	if bound == 0 {
		bound = defaultMaxHTTP
	}
	if s.httpNow.Add(1) <= int64(bound) {
		return true
	}
	s.httpNow.Add(-1)
	return false
}

func (s *Server) leaveHTTP() { s.httpNow.Add(-1) }

// noteState is called by net/http with what becomes of its connections.
func (s *Server) noteState(_ net.Conn, state http.ConnState) {
	if state == http.StateClosed || state == http.StateHijacked {
		s.leaveHTTP()
	}
}

// serveHTTP gives a connection to net/http, which does not take it any more after
// Close and Shutdown.
func (s *Server) serveHTTP(conn net.Conn) {
	ln := &single{conn: conn}
	_ = s.http.Serve(ln) // the end of the listener, or that of the server
	if !ln.given {
		_ = conn.Close()
		s.leaveHTTP()
	}
}

// handleHTTP is HTTP with the state of TLS, which net/http knows only of a
// tls.Conn itself.
func (s *Server) handleHTTP(w http.ResponseWriter, r *http.Request) {
	if state, ok := r.Context().Value(tlsKey{}).(*tls.ConnectionState); ok && r.TLS == nil {
		r.TLS = state
	}
	s.HTTP.ServeHTTP(w, r)
}

type tlsKey struct{}

// keepTLS puts the state of TLS where handleHTTP finds it.
func keepTLS(ctx context.Context, conn net.Conn) context.Context {
	c, ok := conn.(interface{ ConnectionState() tls.ConnectionState })
	if !ok {
		return ctx
	}
	state := c.ConnectionState()
	return context.WithValue(ctx, tlsKey{}, &state)
}

// SameOrigin, in Server.Origins, is the origin of the request's Host.
const SameOrigin = "same-origin"

// plainOrigin writes an origin as browsers do: without a path, a default port and
// capital letters (RFC 6454, section 6.2).
func plainOrigin(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return text // "*" and "null" are origins, too
	}
	return strings.ToLower(u.Scheme) + "://" + plainHost(u.Scheme, u.Host)
}

// plainHost is a host without the default port of its scheme, in small letters.
func plainHost(scheme, host string) string {
	host = strings.ToLower(host)
	switch strings.ToLower(scheme) {
	case "http":
		return strings.TrimSuffix(host, ":80")
	case "https":
		return strings.TrimSuffix(host, ":443")
	}
	return host
}

// A single is the listener of one connection.
type single struct {
	conn  net.Conn
	given bool
}

func (l *single) Accept() (net.Conn, error) {
	if l.given {
		return nil, io.EOF
	}
	l.given = true
	return l.conn, nil
}

func (l *single) Close() error   { return nil }
func (l *single) Addr() net.Addr { return l.conn.LocalAddr() }
