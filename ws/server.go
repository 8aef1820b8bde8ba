package ws

import (
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
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
	// be written to c until OnOpen.
	Handler func(c *Conn, r *http.Request) Handler

	// Path is the one that has WebSockets. Default: all have.
	Path string
	// Origins are the values of Origin that are allowed, "*" being all. A request
	// without one, which is from no browser, always is. Default: that of the Host.
	Origins []string
	// Check looks at requests that are in order otherwise. Its error, a *Refusal
	// or one that is answered with 403, refuses. It must not block unless the
	// engine has workers. Default: none.
	Check func(r *http.Request) error
	// Subprotocols are those that the server speaks, the best first.
	Subprotocols []string
	// HTTP serves the requests that ask for no WebSocket, or for one at another
	// path, each on a connection that leaves the engine and ends with the
	// answer. Default: they are refused with 426 or 404.
	HTTP http.Handler

	// MaxMessage bounds a message, also after it was decompressed; a longer one
	// closes the connection with MessageTooBig. Default: 1 MiB.
	MaxMessage int
	// Compression accepts permessage-deflate where clients offer it.
	Compression bool
	// CompressFrom is the length of the shortest messages that are compressed.
	// Default: 128.
	CompressFrom int
	// PingInterval is the time between pings. A peer that sends nothing for a
	// whole one after a ping is given up (ErrPingTimeout). Default: no pings.
	PingInterval time.Duration
	// OpenTimeout bounds the time for the request. Default: 10 s.
	OpenTimeout time.Duration
	// CloseTimeout bounds the time that Close waits for the peer. Default: 5 s.
	CloseTimeout time.Duration

	once sync.Once
	with *settings
	http http.Server
}

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
	}).fillIn()
	s.http.Handler = s.HTTP
	s.http.ReadTimeout = s.with.openTimeout
	// The next request on the connection might ask for a WebSocket, of which
	// net/http knows nothing.
	s.http.SetKeepAlivesEnabled(false)
}

// Close closes the connections that were given to HTTP, which are not the
// engine's any more.
func (s *Server) Close() error { return s.http.Close() }

// serveHTTP gives a connection to net/http.
func (s *Server) serveHTTP(conn net.Conn) {
	err := s.http.Serve(&single{conn: conn})
	if errors.Is(err, http.ErrServerClosed) {
		_ = conn.Close()
	}
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
