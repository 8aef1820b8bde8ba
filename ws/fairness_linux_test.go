package ws

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// TestF01_FloodGetsItsShare holds up the loop (or the only worker) in the
// OnMessage of a flooding connection until twenty others have sent. What is
// measured is not time but the flood's bytes, as its handler gets them, that go
// before the others'.
//
//	flood    ████ held ████ more and more and more
//	others            each sends "?"
//	served   flood's share, some others, flood's share, … the last other
func TestF01_FloodGetsItsShare(t *testing.T) {
	const others, budget = 20, 64 << 10
	long := strings.Repeat("*", testMax)
	rows := []struct {
		name, lines, frame string
		share              int // of one turn
	}{
		{"messages", "", binary(long[:1000]), budget},
		{"compressed messages", offerLine, packed(Binary, long), 2 * (turnCost/outputCost + testMax)},
	}
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		for _, row := range rows {
			e := m.Serial()
			e.ReadBudget = budget
			f := &flood{held: make(chan struct{}), free: make(chan struct{})}
			handlers := make(chan Handler, 1)
			s := handled(func() Handler { return <-handlers })
			es := epitest.Start(t, e, s.Serve)
			var clients []net.Conn
			var readers []io.Reader
			for range others {
				handlers <- &funcs{message: f.other}
				c := es.Dial()
				clients, readers = append(clients, c), append(readers, open(t, c, "", ""))
			}
			handlers <- &funcs{message: f.message}
			flooder := es.Dial()
			open(t, flooder, row.lines, "")
			var floods sync.WaitGroup
			floods.Go(func() {
				for all := strings.Repeat(row.frame, 1+budget/len(row.frame)); ; {
					if _, err := io.WriteString(flooder, all); err != nil {
						return // closed at the end
					}
				}
			})
			epitest.Receive(t, f.held)
			for _, c := range clients {
				epitest.Say(t, c, text("?"))
			}
			for _, c := range clients {
				epitest.AwaitArrival(t, c)
			}
			if m.Workers > 0 {
				// The loop is free to see them while the worker is held.
				epitest.WaitUntil(t, "all wait for the worker", func() bool { return e.Stats().Waiting == others })
			}
			close(f.free)
			for _, r := range readers {
				if op, p := next(t, r); op != Text || string(p) != "?" {
					t.Fatalf("the echo is %d, %q", op, brief(p))
				}
			}
			_ = flooder.Close()
			floods.Wait()

			// The turn that was held, one that may have begun, and one more. On the portable
			// driver Go's scheduler decides when the others' goroutines have read.
			if n, limit := f.before.Load(), int64(3*row.share); n > limit && m.Native() {
				t.Errorf("%s: %d bytes of the flood went before the last of the others, want at most %d", row.name, n, limit)
			}
			if err := es.Stop(); err != nil {
				t.Error(err)
			}
		}
	})
}

// A flood counts its bytes until all others were served.
type flood struct {
	held, free chan struct{}
	started    bool         // of the flood's handler
	bytes      atomic.Int64 // received since it was set free
	before     atomic.Int64 // of these, those before the last of the others
}

func (f *flood) message(_ *Conn, _ Opcode, p []byte) error {
	if !f.started {
		f.started = true
		close(f.held)
		<-f.free
	}
	f.bytes.Add(int64(len(p)))
	return nil
}

func (f *flood) other(c *Conn, op Opcode, p []byte) error {
	f.before.Store(f.bytes.Load())
	return c.Write(op, p)
}

// TestF02_FaultInCallback: what a callback returns or panics with ends its
// connection alone.
func TestF02_FaultInCallback(t *testing.T) {
	const high = 1000
	faults := []struct {
		name string
		now  func() error
	}{
		{"error", func() error { return errBoom }},
		{"panic", func() error { panic(errBoom) }},
	}
	rows := []struct {
		callback string
		handler  func(d *draining, fault func() error)
		sends    string
		panics   bool // it has no error to return
		onClose  bool // OnClose gets it
	}{
		{"OnOpen", func(d *draining, fault func() error) { d.open = func(*Conn) error { return fault() } }, "", false, true},
		{"OnMessage", func(d *draining, fault func() error) {
			d.message = func(*Conn, Opcode, []byte) error { return fault() }
		}, text("?"), false, true},
		{"OnMessage, of a compressed message", func(d *draining, fault func() error) {
			d.message = func(*Conn, Opcode, []byte) error { return fault() }
		}, packed(Text, "?"), false, true},
		{"OnMessage, of fragments", func(d *draining, fault func() error) {
			d.message = func(*Conn, Opcode, []byte) error { return fault() }
		}, begin("?") + last("!"), false, true},
		{"OnDrain", func(d *draining, fault func() error) {
			d.message = func(c *Conn, _ Opcode, _ []byte) error { return c.Write(Binary, epitest.Pattern(high+1)) }
			d.drain = func(*Conn) { _ = fault() }
		}, text("?"), true, true},
		{"OnClose", func(d *draining, fault func() error) {
			d.message = func(c *Conn, _ Opcode, _ []byte) error { return c.Abort() }
			d.close = func(*Conn, error) { _ = fault() }
		}, text("?"), true, false},
	}
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		e.HighWater = high
		handlers := make(chan Handler, 1)
		s := handled(func() Handler { return <-handlers })
		es := epitest.Start(t, e, s.Serve)
		handlers <- echo{}
		other := es.Dial()
		otherReads := open(t, other, "", "")
		panics := uint64(0)
		for _, row := range rows {
			for _, fault := range faults {
				name := fmt.Sprintf("%s of %s", fault.name, row.callback)
				if row.panics && fault.name != "panic" {
					continue
				}
				closed := make(chan error, 1)
				d := &draining{funcs{close: func(_ *Conn, err error) { closed <- err }}, func(*Conn) {}}
				row.handler(d, fault.now)
				handlers <- d
				client := es.Dial()
				r := open(t, client, offerLine, "")
				epitest.Say(t, client, row.sends)
				_, _ = io.Copy(io.Discard, r)
				if row.onClose {
					if err := epitest.Receive(t, closed); !errors.Is(err, errBoom) {
						t.Errorf("%s: OnClose got %v", name, err)
					}
				}
				epitest.WaitUntil(t, name+": the connection ends", func() bool { return e.Stats().Conns == 1 })
				if fault.name == "panic" {
					panics++
				}
				if n := e.Stats().Panics; n != panics {
					t.Errorf("%s: %d panics are counted, want %d", name, n, panics)
				}
				epitest.Say(t, other, text(name))
				if _, p := next(t, otherReads); string(p) != name {
					t.Errorf("%s: the other connection's echo is %q", name, p)
				}
			}
		}
	})
}

var errBoom = errors.New("boom")

// TestF03_ShutdownUnderLoad stops an engine while its connections are written to
// without pause: each message that Send took arrives whole, then 1001, although
// nobody answers.
func TestF03_ShutdownUnderLoad(t *testing.T) {
	const conns, size = 4, 20_000
	shared := Prepare(Binary, make([]byte, size))
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		var taken, opens, closes atomic.Int64
		fill := func(c *Conn) error {
			for c.Conn().Queued() <= 256<<10 {
				if err := c.Send(shared); err != nil {
					return nil // closing has begun
				}
				taken.Add(1)
			}
			return nil
		}
		s := handled(func() Handler {
			return &draining{funcs{
				open:  func(c *Conn) error { opens.Add(1); return fill(c) },
				close: func(*Conn, error) { closes.Add(1) },
			}, func(c *Conn) { _ = fill(c) }}
		})
		es := serve(t, m, s)
		var received atomic.Int64
		var readers sync.WaitGroup
		for range conns {
			r := open(t, es.Dial(), "", "")
			readers.Go(func() {
				n, err := readToClose(r, size, GoingAway)
				received.Add(n)
				if err != nil {
					t.Error(err)
				}
			})
		}
		epitest.WaitUntil(t, "the load is there", func() bool {
			return opens.Load() == conns && es.Engine.Stats().BytesOut > 1<<20
		})
		if err := es.Stop(); err != nil {
			t.Errorf("Run returned %v", err)
		}
		readers.Wait()
		if received.Load() != taken.Load() || closes.Load() != conns {
			t.Errorf("%d messages were sent and %d arrived; OnClose was called %d times", taken.Load(), received.Load(), closes.Load())
		}
	})
}

// readToClose reads messages of a size, a close frame and the end, and returns
// the number of messages.
func readToClose(r io.Reader, size int, code Code) (count int64, err error) {
	buf := make([]byte, max(size, maxControl))
	for {
		h, err := ws.ReadHeader(r)
		if err != nil {
			return count, fmt.Errorf("after %d messages: %w", count, err)
		}
		p := buf[:min(h.Length, int64(len(buf)))]
		if _, err := io.ReadFull(r, p); err != nil {
			return count, fmt.Errorf("in message %d: %w", count, err)
		}
		if h.OpCode != Binary {
			if got := fmt.Sprintf("%d %x", h.OpCode, p); got != fmt.Sprintf("8 %04x", uint16(code)) {
				return count, fmt.Errorf("a frame is %s", got)
			}
			rest, err := io.ReadAll(r)
			if len(rest) > 0 {
				err = fmt.Errorf("%d bytes behind the close frame", len(rest))
			}
			return count, err
		}
		if h.Length != int64(size) {
			return count, fmt.Errorf("a message has %d bytes", h.Length)
		}
		count++
	}
}

// TestF03_ShutdownWithStuckReader: DrainTimeout ends it.
func TestF03_ShutdownWithStuckReader(t *testing.T) {
	const patience = 50 * time.Millisecond
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		e.DrainTimeout = patience
		queued := make(chan struct{})
		s, ended := ends(funcs{open: func(c *Conn) error {
			defer close(queued)
			_, err := writeAll(c, eightMiB)
			return err
		}})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ln, err := e.Listen(m.Address(), s.Serve)
		if err != nil {
			t.Fatal(err)
		}
		result := make(chan error, 1)
		go func() { result <- e.Run(ctx) }()
		client := epitest.DialListener(t, e, ln, net.Dialer{})
		open(t, client, "", "")
		epitest.Receive(t, queued)
		cancel()
		if err := epitest.Receive(t, result); !errors.Is(err, epi.ErrDrainTimeout) {
			t.Errorf("Run returned %v", err)
		}
		if err := epitest.Receive(t, ended); err != epi.ErrShutdown {
			t.Errorf("OnClose got %v", err)
		}
		epitest.ExpectReset(t, client)
	})
}
