package stream_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

func TestF03_ShutdownWhileIdle(t *testing.T) {
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		for _, conns := range []int{0, 1, 20} {
			closed := make(chan error, conns)
			s := epitest.Start(t, m.Engine(), func(*epi.Conn) epi.Handler {
				return &epitest.Funcs{Data: epitest.Echo, Close: func(_ *epi.Conn, err error) { closed <- err }}
			})
			var clients []net.Conn
			for range conns {
				c := s.Dial()
				epitest.RoundTrip(t, c, "open")
				clients = append(clients, c)
			}
			if err := s.Stop(); err != nil {
				t.Errorf("%d connections: Run returned %v", conns, err)
			}
			for _, c := range clients {
				epitest.ExpectEOF(t, c)
				if err := epitest.Receive(t, closed); err != epi.ErrShutdown {
					t.Errorf("OnClose got %v", err)
				}
			}
			if len(closed) > 0 {
				t.Error("OnClose was called again")
			}
			if _, err := net.Dial("tcp", s.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("dialling the port after Run: %v", err)
			}
		}
	})
}

// A handler that wants to know may say a last word, once, unless its connection
// was closing before.
func TestF03_ShutdownHandlerTakesItsLeave(t *testing.T) {
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		for name, want := range map[string]struct {
			leave func(c *epi.Conn)
			cause string
		}{
			"writes":   {func(*epi.Conn) {}, epi.ErrShutdown.Error()},
			"closes":   {func(c *epi.Conn) { _ = c.Close() }, "<nil>"},
			"panics":   {func(*epi.Conn) { panic("out") }, "callback panicked: out"},
			"detaches": {func(c *epi.Conn) { _ = c.Detach(func(c net.Conn) { _ = c.Close() }) }, epi.ErrShutdown.Error()},
		} {
			t.Run(name, func(t *testing.T) {
				closed := make(chan error, 1)
				e := m.Engine()
				e.Logger = epitest.NoLog()
				s := epitest.Start(t, e, func(*epi.Conn) epi.Handler {
					return &leaver{epitest.Funcs{Data: epitest.Echo, Close: func(_ *epi.Conn, err error) { closed <- err }}, want.leave}
				})
				c := s.Dial()
				epitest.RoundTrip(t, c, "open")
				if err := s.Stop(); err != nil {
					t.Errorf("Run returned %v", err)
				}
				if got, err := io.ReadAll(c); string(got) != "goodbye" || err != nil {
					t.Errorf("the client reads %q, %v", got, err)
				}
				if err := epitest.Receive(t, closed); fmt.Sprint(err) != want.cause {
					t.Errorf("OnClose got %v, want %s", err, want.cause)
				}
			})
		}
	})
}

type leaver struct {
	epitest.Funcs
	leave func(*epi.Conn)
}

func (l *leaver) OnShutdown(c *epi.Conn) {
	_, _ = c.Write([]byte("goodbye"))
	l.leave(c)
}

// TestF03_ShutdownUnderLoad stops an engine while all its connections are
// written to without pause: what Write took arrives, then the end.
func TestF03_ShutdownUnderLoad(t *testing.T) {
	const conns = 10
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		var taken, opens, closes atomic.Int64
		write := func(c *epi.Conn) error {
			for c.Queued() <= 256<<10 {
				n, err := c.Write(poured)
				taken.Add(int64(n))
				if err != nil {
					return nil // closing has begun
				}
			}
			return nil
		}
		s := epitest.Start(t, m.Engine(), func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{
				Open:  func(c *epi.Conn) error { opens.Add(1); return write(c) },
				Data:  epitest.Echo,
				Drain: func(c *epi.Conn) { _ = write(c) },
				Close: func(*epi.Conn, error) { closes.Add(1) },
			}
		})
		var received atomic.Int64
		var readers sync.WaitGroup
		for range conns {
			c := s.Dial()
			readers.Go(func() {
				n, err := io.Copy(io.Discard, c)
				received.Add(n)
				if err != nil {
					t.Errorf("a client's stream was torn: %v", err)
				}
			})
		}
		epitest.WaitUntil(t, "the load is there", func() bool {
			return opens.Load() == conns && s.Engine.Stats().BytesOut > 2*epitest.EightMiB
		})
		if err := s.Stop(); err != nil {
			t.Errorf("Run returned %v", err)
		}
		readers.Wait()
		if received.Load() != taken.Load() {
			t.Errorf("%d bytes were written and %d arrived", taken.Load(), received.Load())
		}
		if n := closes.Load(); n != conns {
			t.Errorf("%d calls of OnClose for %d connections", n, conns)
		}
	})
}

func TestF03_RunAndCancelTwice(t *testing.T) {
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		s := epitest.Start(t, e, epitest.EchoHandler)
		epitest.RoundTrip(t, s.Dial(), "it runs")
		if err := e.Run(t.Context()); err != epi.ErrRunning {
			t.Errorf("Run while it runs: %v", err)
		}
		s.Cancel()
		s.Cancel()
		if err := s.Stop(); err != nil {
			t.Errorf("Run returned %v", err)
		}
		if err := e.Run(t.Context()); err != epi.ErrShutdown {
			t.Errorf("Run after its end: %v", err)
		}
		if _, err := e.Listen("tcp://127.0.0.1:0", epitest.EchoHandler); !errors.Is(err, epi.ErrShutdown) {
			t.Errorf("Listen after the end: %v", err)
		}
		if _, err := e.Dial(t.Context(), "tcp://127.0.0.1:1", &epitest.Funcs{}); !errors.Is(err, epi.ErrShutdown) {
			t.Errorf("Dial after the end: %v", err)
		}
		l, err := e.Loop(0)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Do(func() { t.Error("a task ran after the end") }); err != epi.ErrShutdown {
			t.Errorf("Do after the end: %v", err)
		}
		l.After(0, func() { t.Error("a timer ran after the end") }).Stop()
		if err := s.Listener.Close(); err != nil {
			t.Errorf("Listener.Close after the end: %v", err)
		}
	})
}

// TestF03_ShutdownBeforeRun gives Run a context that has ended already. A
// client waits in the backlog, a Dial and a task for the beginning.
func TestF03_ShutdownBeforeRun(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		ln, err := e.Listen("tcp://127.0.0.1:0", epitest.EchoHandler)
		if err != nil {
			t.Fatal(err)
		}
		client, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		closed := make(chan error, 2)
		_, err = e.Dial(t.Context(), ln.String(), &epitest.Funcs{Close: func(_ *epi.Conn, err error) { closed <- err }})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := e.Run(ctx); err != nil {
			t.Errorf("Run returned %v", err)
		}
		if n := len(closed); n != 1 {
			t.Fatalf("%d calls of OnClose for the Dial", n)
		}
		if err := <-closed; err == nil {
			t.Error("OnClose of the Dial got no error")
		}
		// It was accepted and closed, or reset with the listening socket.
		_ = client.SetDeadline(time.Now().Add(epitest.Patience))
		if n, err := client.Read(make([]byte, 1)); err != io.EOF && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the client that waited read %d bytes, %v", n, err)
		}
		if _, err := net.Dial("tcp", ln.Addr().String()); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dialling the port after Run: %v", err)
		}
	})
}

// TestF03_ShutdownInsideCallback lets the handler end the engine that calls it.
func TestF03_ShutdownInsideCallback(t *testing.T) {
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		var s *epitest.Server
		started := make(chan struct{})
		s = epitest.Start(t, m.Engine(), func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{Data: func(c *epi.Conn) error {
				<-started
				err := epitest.Echo(c)
				s.Cancel()
				return err
			}}
		})
		close(started)
		client := s.Dial()
		epitest.RoundTrip(t, client, "last words")
		epitest.ExpectEOF(t, client)
		if err := s.Stop(); err != nil {
			t.Errorf("Run returned %v", err)
		}
	})
}

func TestF03_ShutdownWithStuckReader(t *testing.T) {
	epitest.EachNetwork(t, func(t *testing.T, m epitest.Mode, address string) {
		t.Parallel()
		e := m.Engine()
		e.DrainTimeout = shortTimeout
		closed := make(chan error, 2)
		s := newStopping(t, e, address, func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{
				Open:  func(c *epi.Conn) error { return c.Send(make([]byte, epitest.EightMiB)) },
				Close: func(_ *epi.Conn, err error) { closed <- err },
			}
		})
		stuck := s.dial()
		epitest.WaitUntil(t, "it is being sent to", func() bool { return e.Stats().BytesOut > 0 })
		begun := time.Now()
		if err := s.stop(); !errors.Is(err, epi.ErrDrainTimeout) {
			t.Errorf("Run returned %v", err)
		}
		if d := time.Since(begun); d < shortTimeout {
			t.Errorf("Run gave up after %v, DrainTimeout is %v", d, shortTimeout)
		}
		if n := len(closed); n != 1 {
			t.Fatalf("%d calls of OnClose before Run returned", n)
		}
		if err := <-closed; err != epi.ErrShutdown {
			t.Errorf("OnClose got %v", err)
		}
		expectTorn(t, stuck)
	})
}

// TestF03_ShutdownWithBlockedHandler has a handler that does not return before
// Run does. Run does not wait for it; what it held is freed when it returns.
func TestF03_ShutdownWithBlockedHandler(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		e.DrainTimeout = shortTimeout
		blocked, release, closed := make(chan struct{}), make(chan struct{}), make(chan error, 2)
		s := newStopping(t, e, "tcp://127.0.0.1:0", func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{
				Data: func(c *epi.Conn) error {
					close(blocked)
					<-release
					return epitest.Echo(c)
				},
				Close: func(_ *epi.Conn, err error) { closed <- err },
			}
		})
		client := s.dial()
		epitest.Say(t, client, "?")
		epitest.Receive(t, blocked)
		if err := s.stop(); !errors.Is(err, epi.ErrDrainTimeout) {
			t.Errorf("Run returned %v", err)
		}
		if len(closed) > 0 {
			t.Error("OnClose was called while OnData runs")
		}
		close(release)
		if err := epitest.Receive(t, closed); err != epi.ErrShutdown {
			t.Errorf("OnClose got %v", err)
		}
		epitest.ExpectReset(t, client)
	}) // TestMain sees whether the goroutines have ended
}

// TestF03_ShutdownWithSlowHandler has a handler that returns after the drain
// timeout, but before Run has lost its patience.
func TestF03_ShutdownWithSlowHandler(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		e.DrainTimeout = shortTimeout
		blocked := make(chan struct{})
		s := newStopping(t, e, "tcp://127.0.0.1:0", func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{Data: func(c *epi.Conn) error {
				close(blocked)
				<-time.After(4 * shortTimeout)
				return nil
			}}
		})
		epitest.Say(t, s.dial(), "?")
		epitest.Receive(t, blocked)
		if err := s.stop(); !errors.Is(err, epi.ErrDrainTimeout) {
			t.Errorf("Run returned %v", err)
		}
		epitest.WaitUntil(t, "the connection ends", func() bool { return e.Stats().Conns == 0 })
	})
}

// TestF03_ShutdownWhileDialling ends an engine whose Dial finds no answer.
func TestF03_ShutdownWhileDialling(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		for _, network := range []string{"tcp", "unix"} {
			t.Run(network, func(t *testing.T) {
				t.Parallel()
				_, address := epitest.FullListener(t, network)
				e := m.Engine()
				s := epitest.Start(t, e, epitest.EchoHandler)
				closed := make(chan error, 2)
				c, err := e.Dial(t.Context(), address, &epitest.Funcs{
					Open:  func(*epi.Conn) error { t.Error("it is open"); return nil },
					Close: func(_ *epi.Conn, err error) { closed <- err },
				})
				if err != nil {
					t.Fatal(err)
				}
				begun := make(chan struct{}) // the attempt, which is a task before this one
				if err := c.Loop().Do(func() { close(begun) }); err != nil {
					t.Fatal(err)
				}
				epitest.Receive(t, begun)
				if err := s.Stop(); err != nil {
					t.Errorf("Run returned %v", err)
				}
				if n := len(closed); n != 1 {
					t.Fatalf("%d calls of OnClose before Run returned", n)
				}
				if err := <-closed; !errors.Is(err, epi.ErrShutdown) {
					t.Errorf("OnClose got %v", err)
				}
			})
		}
	})
}

// stopping is a server that may end with an error, unlike epitest.Server.
type stopping struct {
	t      *testing.T
	ln     *epi.Listener
	cancel context.CancelFunc
	result chan error
}

func newStopping(t *testing.T, e *epi.Engine, address string, handler func(*epi.Conn) epi.Handler) *stopping {
	t.Helper()
	ln, err := e.Listen(address, handler)
	if err != nil {
		t.Fatal(err)
	}
	s := &stopping{t: t, ln: ln, result: make(chan error, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	s.cancel = cancel
	go func() { s.result <- e.Run(ctx) }()
	return s
}

func (s *stopping) dial() net.Conn {
	s.t.Helper()
	c, err := net.Dial(s.ln.Addr().Network(), s.ln.Addr().String())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(epitest.Patience))
	return c
}

func (s *stopping) stop() error {
	s.t.Helper()
	s.cancel()
	return epitest.Receive(s.t, s.result)
}

// Whoever has given a loop its last work may get to waking it only when the
// engine has ended and the loop's descriptors are those of somebody else:
//
//	goroutine:  Do(task) ─────────────────────────► wake
//	loop:          (wakes by itself) task … ended │
//	Run:                                  freed ──┘
func TestF03_NobodyWakesALoopThatIsFreed(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		var log lockedLog
		for range 100 {
			endByTask(t, m, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn})))
		}
		if log.Len() > 0 {
			t.Errorf("the log says %s", log.String())
		}
	})
}

// endByTask runs an engine whose loop wakes by itself all the time, and ends it
// by a task.
func endByTask(t *testing.T, m epitest.Mode, log *slog.Logger) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	e := m.Engine()
	e.Loops, e.Logger = 1, log
	l, err := e.Loop(0)
	if err != nil {
		t.Fatal(err)
	}
	l.Every(50*time.Microsecond, epi.Skip, func() {})
	var givers sync.WaitGroup
	defer givers.Wait()
	for range 4 {
		givers.Go(func() { _ = l.Do(cancel) })
	}
	if err := e.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

// A lockedLog is a buffer for any goroutine to write to.
type lockedLog struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(p)
}
