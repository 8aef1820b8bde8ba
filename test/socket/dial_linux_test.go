package socket_test

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// A caller is a handler for Dial that records its callbacks.
type caller struct {
	epitest.Funcs
	heard  epitest.Words
	closed chan error
}

func newCaller() *caller {
	c := &caller{closed: make(chan error, 2)}
	c.Open = func(*epi.Conn) error { c.heard.Add("open"); return nil }
	c.Data = func(conn *epi.Conn) error {
		c.heard.Add("%s", conn.Unread())
		conn.Discard(len(conn.Unread()))
		return nil
	}
	c.Close = func(_ *epi.Conn, err error) { c.heard.Add("close"); c.closed <- err }
	return c
}

// eachDial runs a test for every mode, dialling over TCP, Unix sockets and TLS.
func eachDial(t *testing.T, test func(t *testing.T, m epitest.Mode, network string)) {
	t.Helper()
	epitest.EachStream(t, func(t *testing.T, m epitest.Mode, address string) {
		t.Parallel()
		network, _, _ := strings.Cut(address, ":")
		test(t, m, network)
	})
}

func TestL06_DialRefused(t *testing.T) {
	eachDial(t, func(t *testing.T, m epitest.Mode, network string) {
		address, want := "unix://"+epitest.UnixPath(t), syscall.ENOENT
		if network != "unix" {
			held := epitest.Bound(t) // a port that is free could be another's
			defer held.Close()
			address, want = network+"://"+held.Addr().String(), syscall.ECONNREFUSED
		}
		e := m.Engine()
		epitest.Run(t, e)
		h := newCaller()
		c := epitest.Dial(t, e, address, h)
		err := epitest.Receive(t, h.closed)
		if !errors.Is(err, want) || !strings.Contains(err.Error(), address) {
			t.Errorf("the cause is %v, want %v and the address", err, want)
		}
		if h.heard.String() != "close" {
			t.Errorf("the handler got %q", &h.heard)
		}
		if _, err := c.Write([]byte("x")); !errors.Is(err, epi.ErrClosed) {
			t.Errorf("Write returns %v", err)
		}
	})
}

// endsOfDial are what ends a connection before it is open.
var endsOfDial = []struct {
	name string
	end  func(c *epi.Conn, cancel, stop func())
	want error
}{
	{"Close", func(c *epi.Conn, _, _ func()) { _ = c.Close() }, nil},
	{"Abort", func(c *epi.Conn, _, _ func()) { _ = c.Abort() }, epi.ErrAborted},
	{"cancel", func(_ *epi.Conn, cancel, _ func()) { cancel() }, context.Canceled},
	{"cancel after Close", func(c *epi.Conn, cancel, _ func()) { _, _ = c.Write([]byte("x")); _ = c.Close(); cancel() }, context.Canceled},
	{"shutdown", func(_ *epi.Conn, _, stop func()) { stop() }, epi.ErrShutdown},
}

// The peer's backlog is full, so the connection stays on its way until
// something else ends it.
func TestL06_EndWhileConnecting(t *testing.T) {
	eachDial(t, func(t *testing.T, m epitest.Mode, network string) {
		_, address := epitest.FullListener(t, network)
		testEndOfDial(t, m, address, func(*epi.Engine) bool { return true })
	})
}

// The peer's kernel has accepted, and nobody answers the ClientHello.
func TestL06_EndWhileHandshaking(t *testing.T) {
	for _, m := range epitest.SecureModes() {
		t.Run(m.String(), func(t *testing.T) {
			t.Parallel()
			_, address := epitest.Listen(t, m.Network())
			testEndOfDial(t, m, address, func(e *epi.Engine) bool { return e.Stats().BytesOut > 0 })
		})
	}
}

// testEndOfDial ends, in each way, a connection that has come as far as begun
// says.
func testEndOfDial(t *testing.T, m epitest.Mode, address string, begun func(*epi.Engine) bool) {
	for _, tc := range endsOfDial {
		e := m.Engine()
		stop := epitest.Run(t, e)
		ctx, cancel := context.WithCancel(context.Background())
		h := newCaller()
		c, err := e.Dial(ctx, address, h)
		if err != nil {
			t.Fatal(err)
		}
		epitest.WaitUntil(t, "it is on its way", func() bool { return begun(e) })
		tc.end(c, cancel, func() { _ = stop() })
		if err := epitest.Receive(t, h.closed); !errors.Is(err, tc.want) {
			t.Errorf("%s: the cause is %v, want %v", tc.name, err, tc.want)
		}
		stop()
		cancel()
		if h.heard.String() != "close" {
			t.Errorf("%s: the handler got %q", tc.name, &h.heard)
		}
	}
}

func TestL06_DialTimeout(t *testing.T) {
	const patience = 20 * time.Millisecond
	eachDial(t, func(t *testing.T, m epitest.Mode, network string) {
		_, address := epitest.FullListener(t, network)
		e := m.Engine()
		epitest.Run(t, e)
		h := newCaller()
		begin := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if _, err := e.Dial(ctx, address, h); err != nil {
			t.Fatal(err)
		}
		if err := epitest.Receive(t, h.closed); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the cause is %v", err)
		}
		if d := time.Since(begin); d < patience {
			t.Errorf("it ended after %v, before its time", d)
		}
	})
}

func TestL06_ContextHasEndedBefore(t *testing.T) {
	eachDial(t, func(t *testing.T, m epitest.Mode, network string) {
		_, address := epitest.FullListener(t, network)
		e := m.Engine()
		epitest.Run(t, e)
		ctx, cancel := context.WithCancelCause(context.Background())
		cause := errors.New("changed my mind")
		cancel(cause)
		h := newCaller()
		if _, err := e.Dial(ctx, address, h); err != nil {
			t.Fatal(err)
		}
		if err := epitest.Receive(t, h.closed); !errors.Is(err, cause) {
			t.Errorf("the cause is %v", err)
		}
	})
}

// Once established, the connection does not depend on the context.
func TestL06_ContextEndsAfterwards(t *testing.T) {
	eachDial(t, func(t *testing.T, m epitest.Mode, network string) {
		ln, address := epitest.Listen(t, network)
		e := m.Engine()
		epitest.Run(t, e)
		ctx, cancel := context.WithCancel(context.Background())
		opened := make(chan *epi.Conn, 1)
		h := &epitest.Funcs{Open: func(c *epi.Conn) error { opened <- c; return nil }, Data: epitest.Echo}
		if _, err := e.Dial(ctx, address, h); err != nil {
			t.Fatal(err)
		}
		peer := epitest.Accept(t, ln)
		epitest.RoundTrip(t, peer, "hello") // over TLS this is also the peer's part of the handshake
		epitest.Receive(t, opened)
		cancel()
		epitest.RoundTrip(t, peer, "still here")
	})
}

// A Unix connect does not wait for room in the backlog; the engine tries again.
func TestL06_FullBacklogIsWaitedFor(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		ln, address := epitest.FullListener(t, "unix")
		e := m.Engine()
		epitest.Run(t, e)
		h := newCaller()
		c := epitest.Dial(t, e, address, h)
		if _, err := c.Write([]byte("patient")); err != nil {
			t.Fatal(err)
		}
		epitest.Accept(t, ln) // who filled the backlog
		epitest.Expect(t, epitest.Accept(t, ln), "patient")
	})
}

// What is written before the connection is open leaves when it is, and a Close
// before that takes effect after.
//
//	test:  Dial   Write   Close                   (before Run)
//	loop:                         connects   open: sends, then the end of the stream
func TestL06_WritesBeforeOpen(t *testing.T) {
	eachDial(t, func(t *testing.T, m epitest.Mode, network string) {
		ln, address := epitest.Listen(t, network)
		e := m.Engine()
		h := newCaller()
		c := epitest.Dial(t, e, address, h)
		if _, err := c.Write([]byte("written, ")); err != nil {
			t.Fatal(err)
		}
		if err := c.Send([]byte("sent, "), []byte("closed")); err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		epitest.Run(t, e)
		peer := epitest.Accept(t, ln)
		epitest.Expect(t, peer, "written, sent, closed")
		epitest.ExpectEOF(t, peer)
		if err := epitest.Receive(t, h.closed); err != nil {
			t.Errorf("the cause is %v", err)
		}
		if h.heard.String() != "close" {
			t.Errorf("after Close the handler got %q", &h.heard)
		}
	})
}

// What is written and closed before the handshake leaves after it; when it fails,
// OnClose says why nothing was delivered.
func TestL06_HandshakeFailsAfterClose(t *testing.T) {
	answers := map[string]func(peer net.Conn) error{
		"the end":     net.Conn.Close,
		"plain bytes": func(peer net.Conn) error { _, err := io.WriteString(peer, "220 who are you?\r\n"); return err },
	}
	for _, m := range epitest.SecureModes() {
		t.Run(m.String(), func(t *testing.T) {
			t.Parallel()
			for name, answer := range answers {
				ln, address := epitest.Listen(t, "tcp")
				e := m.Engine()
				epitest.Run(t, e)
				h := newCaller()
				c := epitest.Dial(t, e, strings.Replace(address, "tcp", "tls", 1), h)
				if _, err := c.Write([]byte("undeliverable")); err != nil {
					t.Fatal(err)
				}
				if err := c.Close(); err != nil {
					t.Fatal(err)
				}
				peer := epitest.Accept(t, ln)
				if _, err := peer.Read(make([]byte, 1)); err != nil { // the ClientHello
					t.Fatal(err)
				}
				if err := answer(peer); err != nil {
					t.Fatal(err)
				}
				if err := epitest.Receive(t, h.closed); !errors.Is(err, epi.ErrHandshake) {
					t.Errorf("%s: the cause is %v", name, err)
				}
				if h.heard.String() != "close" {
					t.Errorf("%s: the handler got %q", name, &h.heard)
				}
			}
		})
	}
}

func TestL06_CloseWriteBeforeOpen(t *testing.T) {
	eachDial(t, func(t *testing.T, m epitest.Mode, network string) {
		ln, address := epitest.Listen(t, network)
		e := m.Engine()
		h := newCaller()
		c := epitest.Dial(t, e, address, h)
		if _, err := c.Write([]byte("request")); err != nil {
			t.Fatal(err)
		}
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		epitest.Run(t, e)
		peer := epitest.Accept(t, ln)
		epitest.Expect(t, peer, "request")
		epitest.ExpectEOF(t, peer)
		epitest.Say(t, peer, "answer")
		_ = peer.Close()
		if err := epitest.Receive(t, h.closed); err != io.EOF {
			t.Errorf("the cause is %v", err)
		}
		if h.heard.String() != "open answer close" {
			t.Errorf("the handler got %q", &h.heard)
		}
	})
}

// Goroutines write while the connection is being established: everything
// arrives, each goroutine's bytes in order.
func TestL06_WritesWhileConnecting(t *testing.T) {
	const rounds, writers, each = 5, 4, 10
	eachDial(t, func(t *testing.T, m epitest.Mode, network string) {
		ln, address := epitest.Listen(t, network)
		e := m.Engine()
		epitest.Run(t, e)
		for range rounds {
			h := newCaller()
			c := epitest.Dial(t, e, address, h)
			var all sync.WaitGroup
			for w := range writers {
				all.Go(func() {
					for i := range each {
						if _, err := c.Write([]byte{byte(w), byte(i)}); err != nil {
							t.Error(err)
						}
					}
				})
			}
			all.Wait()
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			peer := epitest.Accept(t, ln)
			got, err := io.ReadAll(peer)
			if err != nil || len(got) != writers*each*2 {
				t.Fatalf("read %d bytes, %v", len(got), err)
			}
			var next [writers]byte
			for i := 0; i < len(got); i += 2 {
				if w := got[i]; got[i+1] != next[w] {
					t.Fatalf("writer %d's record %d came as number %d", w, got[i+1], next[w])
				}
				next[got[i]]++
			}
			_ = peer.Close()
			epitest.Receive(t, h.closed)
		}
	})
}

// Of the addresses of a name each is tried until one answers.
func TestL06_NameIsResolved(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		s := epitest.Start(t, m.Engine(), epitest.EchoHandler)
		_, port, _ := net.SplitHostPort(s.Addr())
		for _, scheme := range []string{"tcp", "tcp4"} {
			h := newCaller()
			got := make(chan string, 1)
			h.Data = func(c *epi.Conn) error { got <- string(c.Unread()); return c.Close() }
			c := epitest.Dial(t, s.Engine, scheme+"://localhost:"+port, h)
			if _, err := c.Write([]byte("hello")); err != nil {
				t.Fatal(err)
			}
			if text := epitest.Receive(t, got); text != "hello" {
				t.Errorf("the echo is %q", text)
			}
			if err := epitest.Receive(t, h.closed); err != nil {
				t.Errorf("the cause is %v", err)
			}
			if got := c.RemoteAddr().String(); got != s.Addr() {
				t.Errorf("connected to %s, the server is %s", got, s.Addr())
			}
		}
	})
}

func TestL06_NameUnknown(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		epitest.Run(t, e)
		h := newCaller()
		// A label of more than 63 bytes is no name: nobody is asked.
		name := strings.Repeat("x", 64) + ".invalid"
		epitest.Dial(t, e, "tcp://"+name+":1", h)
		var unknown *net.DNSError
		if err := epitest.Receive(t, h.closed); !errors.As(err, &unknown) {
			t.Errorf("the cause is %v", err)
		}
	})
}

func TestL06_MaxConnsBoundsDial(t *testing.T) {
	eachDial(t, func(t *testing.T, m epitest.Mode, network string) {
		_, address := epitest.Listen(t, network)
		e := m.Engine()
		e.MaxConns = 1
		epitest.Run(t, e)
		h := newCaller()
		c := epitest.Dial(t, e, address, h)
		if _, err := e.Dial(context.Background(), address, newCaller()); !errors.Is(err, epi.ErrTooManyConns) {
			t.Errorf("the second Dial returns %v", err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		epitest.Receive(t, h.closed)
		epitest.Dial(t, e, address, newCaller())
	})
}

// A callback dials: the connection is another, and its callbacks come later.
func TestL06_DialInsideCallback(t *testing.T) {
	eachDial(t, func(t *testing.T, m epitest.Mode, network string) {
		ln, address := epitest.Listen(t, network)
		e := m.Engine()
		back := newCaller()
		s := epitest.Start(t, e, func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{Data: func(front *epi.Conn) error {
				c, err := e.Dial(context.Background(), address, back)
				if err != nil {
					return err
				}
				_, err = c.Write(front.Unread())
				front.Discard(len(front.Unread()))
				return err
			}}
		})
		epitest.Say(t, s.Dial(), "passed on")
		epitest.Expect(t, epitest.Accept(t, ln), "passed on")
	})
}

func TestL06_DialErrors(t *testing.T) {
	e := &epi.Engine{Loops: 1, Logger: epitest.NoLog()}
	stop := epitest.Run(t, e)
	for address, want := range badAddresses {
		_, err := e.Dial(context.Background(), address, newCaller())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Dial of %q returns %v, want %q in it", address, err, want)
		}
	}
	if _, err := e.Dial(context.Background(), "tcp://127.0.0.1:1", nil); !errors.Is(err, epi.ErrNoHandler) {
		t.Errorf("Dial without a handler returns %v", err)
	}
	stop()
	if _, err := e.Dial(context.Background(), "tcp://127.0.0.1:1", newCaller()); !errors.Is(err, epi.ErrShutdown) {
		t.Errorf("Dial after Run returns %v", err)
	}
}

// badAddresses are refused by Listen and Dial alike, with these words.
var badAddresses = map[string]string{
	"":                             "no scheme",
	"127.0.0.1:80":                 "no scheme",
	"udp://127.0.0.1:80":           `unknown scheme "udp"`,
	"tcp://127.0.0.1":              "missing port",
	"tcp://127.0.0.1:65536":        "bad port",
	"tcp://127.0.0.1:-1":           "bad port",
	"tcp://127.0.0.1:no-service":   "bad port",
	"tcp://::1:80":                 "too many colons",
	"tcp4://[::1]:80":              "not of the family",
	"tcp6://127.0.0.1:80":          "not of the family",
	"unix://":                      "no path",
	"unix:///" + longName + "/s":   "at most 107",
	"tcp://127.0.0.1:80/elsewhere": "bad port",
}

var longName = strings.Repeat("x", 107)

// A connection that cannot be established, with bytes queued for it, holds up
// the shutdown for the drain timeout and no longer.
func TestL06_ShutdownWithQueuedWrites(t *testing.T) {
	eachDial(t, func(t *testing.T, m epitest.Mode, network string) {
		_, address := epitest.FullListener(t, network)
		e := m.Engine()
		e.DrainTimeout = 20 * time.Millisecond
		e.Linger = time.Hour
		ctx, cancel := context.WithCancel(context.Background())
		result := make(chan error, 1)
		go func() { result <- e.Run(ctx) }()
		h := newCaller()
		c := epitest.Dial(t, e, address, h)
		if _, err := c.Write([]byte("undeliverable")); err != nil {
			t.Fatal(err)
		}
		tried := make(chan struct{})
		if err := c.Loop().Do(func() { close(tried) }); err != nil {
			t.Fatal(err)
		}
		epitest.Receive(t, tried)
		cancel()
		if err := epitest.Receive(t, result); !errors.Is(err, epi.ErrDrainTimeout) {
			t.Errorf("Run returns %v", err)
		}
		if err := epitest.Receive(t, h.closed); !errors.Is(err, epi.ErrShutdown) {
			t.Errorf("the cause is %v", err)
		}
		if n := e.Stats().Conns; n != 0 {
			t.Errorf("%d connections are left", n)
		}
	})
}

// Dials race the end of the engine: each that returned a connection gets its
// OnClose before Run returns, the others were refused.
func TestL06_DialRacesShutdown(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		for enough := range int32(10) {
			raceDials(t, m.Serial(), enough+1)
		}
	})
}

// raceDials ends e when so many connections were dialled.
func raceDials(t *testing.T, e *epi.Engine, enough int32) {
	const dialers = 4
	e.MaxConns = dialers
	var dialled, closed atomic.Int32
	h := &epitest.Funcs{Close: func(*epi.Conn, error) { closed.Add(1) }}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var all sync.WaitGroup
	for i := range dialers {
		address := []string{"tcp://localhost:1", "tcp://127.0.0.1:1"}[i%2]
		all.Go(func() {
			for {
				_, err := e.Dial(context.Background(), address, h)
				if errors.Is(err, epi.ErrShutdown) {
					return
				}
				if errors.Is(err, epi.ErrTooManyConns) {
					runtime.Gosched()
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				if dialled.Add(1) == enough {
					cancel()
				}
			}
		})
	}
	if err := e.Run(ctx); err != nil {
		t.Error(err)
	}
	all.Wait()
	if dialled.Load() != closed.Load() {
		t.Errorf("%d connections were dialled, %d had OnClose", dialled.Load(), closed.Load())
	}
}
