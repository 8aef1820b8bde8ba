package socket_test

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// endings are the two ways to end a connection.
var endings = []struct {
	name  string
	end   func(*epi.Conn) error
	cause error // what OnClose got
}{
	{"Close", (*epi.Conn).Close, nil},
	{"Abort", (*epi.Conn).Abort, epi.ErrAborted},
}

// eachEnding runs a test for both endings over every mode.
func eachEnding(t *testing.T, test func(t *testing.T, m epitest.Mode, end func(*epi.Conn) error, cause error)) {
	t.Helper()
	for _, e := range endings {
		t.Run(e.name, func(t *testing.T) {
			epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) { test(t, m, e.end, e.cause) })
		})
	}
}

// Both connections are ready in one batch; who is served first ends the other.
//
//	clients:   a writes   b writes
//	loop:      (held..............) batch {a, b}: OnData of one ends the other
//	handlers:                       one gets "data close", the other "close"
func TestL01_CloseOtherInSameBatch(t *testing.T) {
	eachEnding(t, func(t *testing.T, m epitest.Mode, end func(*epi.Conn) error, _ error) {
		t.Parallel()
		var (
			next   atomic.Int32
			heard  [2]epitest.Words
			conns  [2]*epi.Conn
			opened = make(chan int, 2)
			closed = make(chan int, 2)
		)
		s := epitest.Start(t, m.Serial(), func(c *epi.Conn) epi.Handler {
			me := int(next.Add(1) - 1)
			conns[me] = c
			return &epitest.Funcs{
				Open: func(*epi.Conn) error { opened <- me; return nil },
				Data: func(c *epi.Conn) error {
					heard[me].Add("data")
					c.Discard(len(c.Unread()))
					return end(conns[1-me])
				},
				Close: func(*epi.Conn, error) { heard[me].Add("close"); closed <- me },
			}
		})
		clients := []net.Conn{s.Dial(), s.Dial()}
		epitest.Receive(t, opened)
		epitest.Receive(t, opened)
		release := epitest.Hold(t, conns[0].Loop())
		for _, c := range clients {
			epitest.Say(t, c, "x")
			epitest.AwaitArrival(t, c)
		}
		release()
		ended := epitest.Receive(t, closed)
		for _, c := range clients {
			_ = c.Close()
		}
		served := epitest.Receive(t, closed)
		if heard[ended].String() != "close" || heard[served].String() != "data close" {
			t.Errorf("one got %q, the other %q", &heard[ended], &heard[served])
		}
	})
}

// The handler ends its connection in the first of sixteen turns' worth of data.
//
//	client:  writes 16 budgets
//	loop:    (held...........) reads 1 budget: OnData ends the connection
//	handler:                   gets nothing but OnClose; Abort: no further read at all
func TestL02_CloseItselfWhileDataWaits(t *testing.T) {
	const budget = 2 << 10
	eachEnding(t, func(t *testing.T, m epitest.Mode, end func(*epi.Conn) error, cause error) {
		t.Parallel()
		var heard epitest.Words
		opened := make(chan *epi.Conn, 1)
		closed := make(chan error, 1)
		e := m.Serial()
		e.ReadBudget = budget
		s := epitest.Start(t, e, func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{
				Open: func(c *epi.Conn) error { opened <- c; return nil },
				Data: func(c *epi.Conn) error {
					heard.Add("data")
					if _, err := c.Write([]byte("bye")); err != nil {
						return err
					}
					return end(c)
				},
				Close: func(_ *epi.Conn, err error) { heard.Add("close"); closed <- err },
			}
		})
		client := s.Dial()
		release := epitest.Hold(t, epitest.Receive(t, opened).Loop())
		epitest.Say(t, client, string(epitest.Pattern(16*budget)))
		epitest.AwaitArrival(t, client)
		release()
		if cause == nil {
			epitest.Expect(t, client, "bye")
			epitest.ExpectEOF(t, client)
		} else if _, err := io.ReadAll(client); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("after Abort the client reads %v", err)
		}
		if err := epitest.Receive(t, closed); !errors.Is(err, cause) {
			t.Errorf("the cause is %v, want %v", err, cause)
		}
		if heard.String() != "data close" {
			t.Errorf("the handler got %q", &heard)
		}
		if reads := e.Stats().Reads; cause != nil && reads != 1 && !completes(m) && !m.TLS { // a handshake reads, too
			t.Errorf("%d reads, one of them before Abort", reads)
		}
	})
}

// A number that is free within a batch would go to the next accepted.
//
//	clients:  x writes   c connects, writes "c"   a writes "a"   a's Write queues
//	loop:     (held.............................................) batch {x, listener, a}
//	x's OnData aborts a: neither a's event nor its queue may touch c, which has its number if it was closed at once
func TestL03_NumberReusedInSameBatch(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		var conns [3]*epi.Conn // x, a, c
		var heard epitest.Words
		next := 0
		opened := make(chan struct{}, 3)
		closed := make(chan error, 3)
		handlers := []*epitest.Funcs{
			{Data: func(c *epi.Conn) error { c.Discard(1); return conns[1].Abort() }},
			{
				Data:  func(*epi.Conn) error { heard.Add("data"); return nil },
				Close: func(_ *epi.Conn, err error) { heard.Add("close"); closed <- err },
			},
			{Data: epitest.Echo},
		}
		s := epitest.Start(t, m.Serial(), func(c *epi.Conn) epi.Handler {
			h := handlers[next]
			h.Open = func(*epi.Conn) error { opened <- struct{}{}; return nil }
			conns[next] = c
			next++
			return h
		})
		x := s.Dial()
		epitest.Receive(t, opened)
		a := s.Dial()
		epitest.Receive(t, opened)

		release := epitest.Hold(t, conns[0].Loop())
		epitest.Say(t, x, "x")
		epitest.AwaitArrival(t, x)
		c, spoke := dialAndSay(t, s, m, "c")
		epitest.Say(t, a, "a")
		epitest.AwaitArrival(t, a)
		release()

		epitest.Receive(t, spoke)
		epitest.Expect(t, c, "c")
		if err := epitest.Receive(t, closed); !errors.Is(err, epi.ErrAborted) {
			t.Errorf("a's cause is %v", err)
		}
		// The goroutines of the portable driver may report a before x.
		if got := heard.String(); got != "close" && (got != "data close" || m.Driver != epi.DriverPortable) {
			t.Errorf("a's handler heard %q", got)
		}
		epitest.RoundTrip(t, c, "more")
		epitest.CloseWrite(t, c)
		epitest.ExpectEOF(t, c)
	})
}

// dialAndSay connects a client that says text, while the server's loop is held:
// what it says first has arrived. It has said all when the channel is closed.
func dialAndSay(t *testing.T, s *epitest.Server, m epitest.Mode, text string) (c net.Conn, spoke <-chan struct{}) {
	t.Helper()
	socket := s.DialSocket()
	c = socket
	first, all := make(chan struct{}), make(chan struct{})
	if m.TLS {
		c = epitest.SecureClient(&noticed{socket, sync.OnceFunc(func() { close(first) })})
	} else {
		close(first)
	}
	go func() {
		defer close(all)
		if _, err := io.WriteString(c, text); err != nil {
			t.Error(err)
		}
	}()
	if !m.TLS {
		epitest.Receive(t, all)
	}
	epitest.Receive(t, first)
	epitest.AwaitArrival(t, socket)
	return c, all
}

// A noticed connection records when it was written to.
type noticed struct {
	net.Conn
	written func()
}

func (n *noticed) Write(p []byte) (int, error) {
	defer n.written()
	return n.Conn.Write(p)
}

// The goroutine of a closed connection writes to a number that is another's.
//
//	client a:  connects (number n), resets            | client b connects: number n again
//	loop:                          OnClose(a), n free |  OnOpen(b)
//	goroutine: holds a .....................................Write → ErrClosed; b gets nothing
func TestL03_OldGoroutineWritesToNobody(t *testing.T) {
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		opened := make(chan *epi.Conn, 2)
		closed := make(chan error, 2)
		s := epitest.Start(t, m.Serial(), func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{
				Open:  func(c *epi.Conn) error { opened <- c; return nil },
				Data:  epitest.Echo,
				Close: func(_ *epi.Conn, err error) { closed <- err },
			}
		})
		// The kernel gives out the lowest number. The spare's goes to b's client,
		// so that a's is the lowest when b is accepted.
		spare, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		clientA := s.Dial()
		a := epitest.Receive(t, opened)
		number := epitest.PeerDescriptor(t, clientA)
		if err := a.Abort(); err != nil {
			t.Fatal(err)
		}
		epitest.Receive(t, closed)
		_ = spare.Close()
		clientB := s.Dial()
		epitest.Receive(t, opened)
		if n := epitest.PeerDescriptor(t, clientB); n != number {
			t.Fatalf("a had descriptor %d, b has %d: this shows nothing", number, n)
		}
		for name, call := range afterClose {
			if err := call(a); !errors.Is(err, epi.ErrClosed) {
				t.Errorf("a.%s returns %v", name, err)
			}
		}
		a.Pause()
		a.Resume()
		epitest.RoundTrip(t, clientB, "b")
		epitest.CloseWrite(t, clientB)
		epitest.ExpectEOF(t, clientB)
		if err := epitest.Receive(t, closed); err != io.EOF {
			t.Errorf("b's cause is %v", err)
		}
	})
}

// afterClose are the calls that answer ErrClosed when the connection is closed.
var afterClose = map[string]func(*epi.Conn) error{
	"Write":        func(c *epi.Conn) error { _, err := c.Write([]byte("to nobody")); return err },
	"Write of 0":   func(c *epi.Conn) error { _, err := c.Write(nil); return err },
	"Send":         func(c *epi.Conn) error { return c.Send([]byte("to nobody")) },
	"Close":        (*epi.Conn).Close,
	"CloseWrite":   (*epi.Conn).CloseWrite,
	"Abort":        (*epi.Conn).Abort,
	"Close, again": (*epi.Conn).Close,
}

func TestL04_OneOnClose(t *testing.T) {
	const closers = 100
	eachEnding(t, func(t *testing.T, m epitest.Mode, end func(*epi.Conn) error, cause error) {
		t.Parallel()
		opened := make(chan *epi.Conn, 1)
		var calls atomic.Int32
		s := epitest.Start(t, m.Engine(), func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{
				Open: func(c *epi.Conn) error { opened <- c; return nil },
				Close: func(c *epi.Conn, err error) {
					calls.Add(1)
					if !errors.Is(err, cause) {
						t.Errorf("the cause is %v, want %v", err, cause)
					}
					if err := c.Close(); !errors.Is(err, epi.ErrClosed) {
						t.Errorf("Close inside OnClose returns %v", err)
					}
				},
			}
		})
		s.Dial()
		c := epitest.Receive(t, opened)
		var first atomic.Int32
		var all sync.WaitGroup
		for range closers {
			all.Go(func() {
				switch err := end(c); {
				case err == nil:
					first.Add(1)
				case !errors.Is(err, epi.ErrClosed):
					t.Errorf("a later one returns %v", err)
				}
			})
		}
		all.Wait()
		if err := s.Stop(); err != nil {
			t.Fatal(err)
		}
		if first.Load() != 1 || calls.Load() != 1 {
			t.Errorf("%d of %d calls ended the connection, OnClose was called %d times", first.Load(), closers, calls.Load())
		}
	})
}

func TestL05_UseAfterClose(t *testing.T) {
	epitest.EachStream(t, func(t *testing.T, m epitest.Mode, address string) {
		t.Parallel()
		arrived := make(chan *epi.Conn, 1)
		closed := make(chan struct{})
		s := epitest.StartOn(t, m.Engine(), address, func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{
				Data: func(c *epi.Conn) error { arrived <- c; return nil },
				Close: func(c *epi.Conn, _ error) {
					if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
						t.Errorf("Read inside OnClose returns %d, %v", n, err)
					}
					if len(c.Unread()) != 0 || c.Discard(1) != 0 {
						t.Error("there are unread bytes inside OnClose")
					}
					close(closed)
				},
			}
		})
		client := s.Dial()
		epitest.Say(t, client, "x") // and the handler leaves it unread
		c := epitest.Receive(t, arrived)
		remote := c.RemoteAddr().String()
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		epitest.ExpectEOF(t, client)
		useClosed(t, c)
		epitest.Receive(t, closed)
		if n := c.Queued(); n != 0 { // before OnClose the client may have what is not counted as sent yet
			t.Errorf("%d bytes are queued", n)
		}
		useClosed(t, c)
		ticked := make(chan struct{})
		c.Loop().After(0, func() { close(ticked) })
		epitest.Receive(t, ticked)
		if got := c.RemoteAddr().String(); got != remote {
			t.Errorf("RemoteAddr was %s, after close it is %s", remote, got)
		}
		if err := s.Stop(); err != nil {
			t.Fatal(err)
		}
		useClosed(t, c)
	})
}

// useClosed expects that every method of a closed connection answers.
func useClosed(t *testing.T, c *epi.Conn) {
	t.Helper()
	for name, call := range afterClose {
		// Abort still hastens a Close that is under way.
		if err := call(c); !errors.Is(err, epi.ErrClosed) && name != "Abort" {
			t.Errorf("%s returns %v", name, err)
		}
	}
	c.Pause()
	c.Resume()
	if c.LocalAddr() == nil || c.RemoteAddr() == nil {
		t.Error("an address is missing")
	}
}

// TestL08_GarbageCollectorRunsAllTheTime moves bytes through pooled buffers,
// owned ones and system calls that hide pointers from the compiler.
func TestL08_GarbageCollectorRunsAllTheTime(t *testing.T) {
	const clients, rounds, size = 8, 20, 20 << 10
	defer debug.SetGCPercent(debug.SetGCPercent(1))
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		e := m.Engine()
		e.ReadBudget = 2500 // every other read ends in the middle of a piece
		s := epitest.Start(t, e, func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{Data: func(c *epi.Conn) error {
				const whole = 1000 // smaller rests are left unread
				for len(c.Unread()) >= whole {
					owned := make([]byte, whole)
					if _, err := c.Read(owned); err != nil {
						return err
					}
					if err := c.Send(owned[:whole/2], owned[whole/2:]); err != nil {
						return err
					}
				}
				return nil
			}}
		})
		text := string(epitest.Pattern(size))[:size/1000*1000]
		var all sync.WaitGroup
		for range clients {
			all.Go(func() {
				for range rounds / 4 {
					c, err := s.Connect()
					if err != nil {
						t.Error(err)
						return
					}
					for range 4 {
						echo(t, c, text)
					}
					_ = c.Close()
				}
			})
		}
		all.Wait()
	})
}

// echo is epitest.RoundTrip for goroutines other than the test's.
func echo(t *testing.T, c net.Conn, text string) {
	got := make([]byte, len(text))
	if _, err := io.WriteString(c, text); err != nil {
		t.Error(err)
		return
	}
	if _, err := io.ReadFull(c, got); err != nil || string(got) != text {
		t.Errorf("the echo differs, or %v", err)
	}
}
