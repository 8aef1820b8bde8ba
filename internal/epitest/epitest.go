// Package epitest is what the engine's tests share: the table of drivers and
// execution models, servers that are checked when they stop, handlers made of
// functions, and clients with a watchdog.
package epitest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/epinet/epi"
)

// Patience is how long a test waits for what must happen before it fails. No
// test passes because of it.
const Patience = 3 * time.Minute

// A Mode is one driver with one execution model.
type Mode struct {
	Driver  epi.Driver
	Trigger epi.Trigger
	Workers int
	TLS     bool // what Start starts speaks TLS, and so do clients of Dial
}

func (m Mode) String() string {
	model := "loop"
	if m.Workers > 0 {
		model = "workers"
	}
	if m.TLS {
		model += "/tls"
	}
	if m.Trigger == epi.TriggerAuto {
		return fmt.Sprintf("%s/%s", m.Driver, model)
	}
	return fmt.Sprintf("%s-%s/%s", m.Driver, m.Trigger, model)
}

// Engine returns an engine of this mode with two loops and no log.
func (m Mode) Engine() *epi.Engine {
	e := &epi.Engine{Driver: m.Driver, Trigger: m.Trigger, Workers: m.Workers, Loops: 2, Logger: NoLog()}
	if m.TLS {
		e.TLS = shared().server
	}
	return e
}

// NoLog returns a logger that keeps nothing.
func NoLog() *slog.Logger { return slog.New(slog.DiscardHandler) }

// Native reports whether the engine's system calls are its own, on Linux, so that
// they can be counted. Those of the portable driver are the Go runtime's.
func (m Mode) Native() bool { return m.Driver != epi.DriverPortable }

// Modes returns every driver that can be had here, with both execution models.
func Modes() []Mode {
	var modes []Mode
	for _, workers := range []int{0, 3} {
		modes = append(modes, nativeModes(workers)...)
		modes = append(modes, Mode{Driver: epi.DriverPortable, Workers: workers})
	}
	return modes
}

// Parallel is for tests of a hundred clients: it is t.Parallel, but with select, which
// watches no descriptor above 1023, the test runs alone.
func (m Mode) Parallel(t *testing.T) {
	if m.Driver != epi.DriverSelect {
		t.Parallel()
	}
}

// EachNative runs a test of what the engine costs, in system calls and in memory,
// for every mode but the portable ones: goroutines of package net, each with a
// stack, make those calls.
func EachNative(t *testing.T, test func(t *testing.T, m Mode)) {
	t.Helper()
	Each(t, func(t *testing.T, m Mode) {
		if m.Native() {
			test(t, m)
		}
	})
}

// Each runs a test for every mode.
func Each(t *testing.T, test func(t *testing.T, m Mode)) {
	t.Helper()
	for _, m := range Modes() {
		t.Run(m.String(), func(t *testing.T) { test(t, m) })
	}
}

// Funcs is a Handler made of functions; those that are nil do nothing. Its
// methods OnEOF and OnOpen are not part of it: see FuncsEOF.
type Funcs struct {
	Open  func(c *epi.Conn) error
	Data  func(c *epi.Conn) error
	Drain func(c *epi.Conn)
	Close func(c *epi.Conn, err error)
}

// OnOpen calls Open.
func (f *Funcs) OnOpen(c *epi.Conn) error {
	if f.Open == nil {
		return nil
	}
	return f.Open(c)
}

// OnData calls Data, or consumes everything.
func (f *Funcs) OnData(c *epi.Conn) error {
	if f.Data == nil {
		c.Discard(len(c.Unread()))
		return nil
	}
	return f.Data(c)
}

// OnDrain calls Drain.
func (f *Funcs) OnDrain(c *epi.Conn) {
	if f.Drain != nil {
		f.Drain(c)
	}
}

// OnClose calls Close.
func (f *Funcs) OnClose(c *epi.Conn, err error) {
	if f.Close != nil {
		f.Close(c, err)
	}
}

// FuncsEOF is Funcs that also handles the peer's half-close.
type FuncsEOF struct {
	Funcs
	EOF func(c *epi.Conn) error
}

// OnEOF calls EOF.
func (f *FuncsEOF) OnEOF(c *epi.Conn) error { return f.EOF(c) }

// Echo is the Data of an echo server.
func Echo(c *epi.Conn) error {
	_, err := c.Write(c.Unread())
	c.Discard(len(c.Unread()))
	return err
}

// EchoHandler returns a handler that echoes, for Listen.
func EchoHandler(*epi.Conn) epi.Handler { return &Funcs{Data: Echo} }

// A Server is an engine that runs with one listener.
type Server struct {
	Engine   *epi.Engine
	Listener *epi.Listener

	t      *testing.T
	cancel context.CancelFunc
	result chan error
	once   sync.Once
	err    error
}

// Start runs e with a listener on a free port of 127.0.0.1. At the end of the
// test the server is stopped and must have drained.
func Start(t *testing.T, e *epi.Engine, handler func(*epi.Conn) epi.Handler) *Server {
	t.Helper()
	return StartOn(t, e, Mode{TLS: isSecure(e)}.Address(), handler)
}

// StartOn is Start with a listener on the given address.
func StartOn(t *testing.T, e *epi.Engine, address string, handler func(*epi.Conn) epi.Handler) *Server {
	t.Helper()
	ln, err := e.Listen(address, handler)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Server{Engine: e, Listener: ln, t: t, cancel: cancel, result: make(chan error, 1)}
	go func() { s.result <- e.Run(ctx) }()
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Errorf("the server did not drain: %v", err)
		}
		if n := e.Stats().Conns; n != 0 {
			t.Errorf("%d connections are left after the end", n)
		}
	})
	return s
}

// Addr returns the address to dial with package net.
func (s *Server) Addr() string { return s.Listener.Addr().String() }

// Cancel begins the shutdown.
func (s *Server) Cancel() { s.cancel() }

// Stop shuts the server down and returns what Run returned. Doing it again
// returns the same.
func (s *Server) Stop() error {
	s.once.Do(func() {
		s.cancel()
		select {
		case s.err = <-s.result:
		case <-time.After(Patience):
			s.err = errors.New("no return from Run")
		}
	})
	return s.err
}

// Dial connects a client with a watchdog; it is closed at the end of the test.
func (s *Server) Dial() net.Conn {
	s.t.Helper()
	return DialListener(s.t, s.Engine, s.Listener, net.Dialer{})
}

// Connect is Dial for goroutines other than the test's. The caller closes the
// client.
func (s *Server) Connect() (net.Conn, error) {
	return connect(s.Listener, net.Dialer{}, isSecure(s.Engine))
}

// DialSocket is Dial without the handshake of a secure mode.
func (s *Server) DialSocket() net.Conn {
	s.t.Helper()
	return dialListener(s.t, s.Listener, net.Dialer{}, false)
}

// CloseWrite half-closes a client.
func CloseWrite(t *testing.T, c net.Conn) {
	t.Helper()
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
}

// Reset closes a client with RST.
func Reset(t *testing.T, c net.Conn) {
	t.Helper()
	c = socket(c)
	if err := c.(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
}

// RoundTrip sends text and expects it back.
func RoundTrip(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	Expect(t, c, text)
}

// Expect reads exactly text.
func Expect(t *testing.T, c net.Conn, text string) {
	t.Helper()
	got := make([]byte, len(text))
	if n, err := io.ReadFull(c, got); err != nil {
		t.Fatalf("read %d of %d bytes: %v", n, len(text), err)
	}
	if string(got) != text {
		t.Fatalf("read %q, want %q", clip(string(got)), clip(text))
	}
}

// ExpectEOF reads to the end and expects nothing before it.
func ExpectEOF(t *testing.T, c net.Conn) {
	t.Helper()
	rest, err := io.ReadAll(c)
	if err != nil || len(rest) > 0 {
		t.Fatalf("read %q, %v, want the end of the stream", clip(string(rest)), err)
	}
}

func clip(s string) string {
	if len(s) <= 80 {
		return s
	}
	return s[:80] + "…"
}

// Pattern returns n bytes in which a lost, doubled or moved one shows.
func Pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i ^ i>>8 ^ i>>16*7)
	}
	return b
}

// Receive returns the next value of ch and fails the test if none comes.
func Receive[T any](t *testing.T, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(Patience):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

// WaitUntil waits until cond holds. It is for counters and other state that
// nothing announces.
func WaitUntil(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(Patience); !cond(); {
		if time.Now().After(end) {
			t.Fatalf("%s: it did not come to pass", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// Words joins the events that a handler noted.
type Words struct {
	mu    sync.Mutex
	words []string
}

// Add notes an event.
func (w *Words) Add(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.words = append(w.words, fmt.Sprintf(format, args...))
}

// String returns the events in order.
func (w *Words) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.words, " ")
}
