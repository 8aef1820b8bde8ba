package stream_test

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// TestF01_FloodGetsItsShare holds up the loop (or the only worker) in the
// callback of a flooding connection until a hundred others have sent. What is
// measured is not time but the flood's bytes that go before them.
//
//	flood    ████ held ████ more and more and more
//	others            each sends "?"
//	served   flood ≤ budget, some others, flood ≤ budget, … the last other
func TestF01_FloodGetsItsShare(t *testing.T) {
	const others, budget = 100, 64 << 10
	rows := []struct {
		name      string
		maxEvents int
		rounds    int // turns that the others need at most
		handler   func(f *flood) epi.Handler
		client    func(c net.Conn) // until the test closes it
		perTurn   int
	}{
		{"it sends, all in one wait", 0, 1, sendingFlood, sendWithoutEnd, budget},
		{"it sends, sixteen in one wait", 16, (others+1)/16 + 1, sendingFlood, sendWithoutEnd, budget},
		{"it receives, all in one wait", 0, 1, receivingFlood, receiveWithoutEnd, sendsPerTurn},
	}
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		m.Parallel(t)
		for _, row := range rows {
			e := m.Engine()
			e.Loops, e.Workers = 1, min(m.Workers, 1)
			e.ReadBudget, e.MaxEvents = budget, row.maxEvents
			flood := &flood{held: make(chan struct{}), free: make(chan struct{})}
			next := make(chan epi.Handler, 1)
			s := epitest.Start(t, e, func(*epi.Conn) epi.Handler { return <-next })
			var clients []net.Conn
			for range others {
				next <- &epitest.Funcs{Data: flood.other}
				clients = append(clients, s.Dial())
			}
			for _, c := range clients {
				epitest.RoundTrip(t, c, "opened")
			}
			flood.begun.Store(true)
			next <- row.handler(flood)
			flooder := s.Dial()
			var floods sync.WaitGroup
			floods.Go(func() { row.client(flooder) })
			epitest.Receive(t, flood.held)
			for _, c := range clients {
				epitest.Say(t, c, "?")
			}
			for _, c := range clients {
				epitest.AwaitArrival(t, c)
			}
			if m.Workers > 0 {
				// The loop is free to see them while the worker is held.
				epitest.WaitUntil(t, "all wait for the worker", func() bool { return e.Stats().Waiting == others })
			}
			close(flood.free)
			for _, c := range clients {
				epitest.Expect(t, c, "?")
			}
			_ = flooder.Close()
			floods.Wait()

			// The turn that was held, one that may have begun, and the rounds. On the portable
			// driver Go's scheduler decides when the others' goroutines have read.
			if limit := int64(row.perTurn * (row.rounds + 2)); flood.before.Load() > limit && m.Native() {
				t.Errorf("%s: %d bytes of the flood went before the last of the others, want at most %d",
					row.name, flood.before.Load(), limit)
			}
			if err := s.Stop(); err != nil {
				t.Error(err)
			}
		}
	})
}

func sendWithoutEnd(c net.Conn) {
	for chunk := make([]byte, 256<<10); ; {
		if _, err := c.Write(chunk); err != nil {
			return
		}
	}
}

func receiveWithoutEnd(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// A flood counts its bytes until all others were served.
type flood struct {
	held, free chan struct{}
	begun      atomic.Bool
	started    bool         // of the flood's handler
	bytes      atomic.Int64 // received, or queued, since it was set free
	before     atomic.Int64 // of these, those before the last of the others
}

func (f *flood) hold() {
	if !f.started {
		f.started = true
		close(f.held)
		<-f.free
	}
}

func sendingFlood(f *flood) epi.Handler {
	return &epitest.Funcs{Data: func(c *epi.Conn) error {
		f.hold()
		f.bytes.Add(int64(c.Discard(len(c.Unread()))))
		return nil
	}}
}

func receivingFlood(f *flood) epi.Handler {
	return &epitest.Funcs{Open: pour, Drain: func(c *epi.Conn) {
		f.hold()
		before := c.Queued()
		_ = pour(c)
		f.bytes.Add(int64(c.Queued() - before))
	}}
}

func (f *flood) other(c *epi.Conn) error {
	if f.begun.Load() {
		f.before.Store(f.bytes.Load())
	}
	return epitest.Echo(c)
}

// TestF01_OthersAreServed lets a hundred connections echo, round after round,
// while one sends without end and another receives without end. Not over TLS, in
// which floods of the same process take its clients' CPU for the ciphers: there
// TestF01_FloodGetsItsShare shows it, whose floods end as soon as all are served.
func TestF01_OthersAreServed(t *testing.T) {
	const others, rounds = 100, 3
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		m.Parallel(t)
		e := m.Engine()
		next := make(chan epi.Handler, 1)
		s := epitest.Start(t, e, func(*epi.Conn) epi.Handler { return <-next })
		next <- &epitest.Funcs{}
		sink := s.Dial()
		next <- &epitest.Funcs{Open: pour, Drain: func(c *epi.Conn) { _ = pour(c) }}
		source := s.Dial()
		var floods sync.WaitGroup
		floods.Go(func() { sendWithoutEnd(sink) }) // closed at the end of the test
		floods.Go(func() { receiveWithoutEnd(source) })
		epitest.WaitUntil(t, "both floods flow", func() bool {
			st := e.Stats()
			return st.BytesIn > epitest.EightMiB && st.BytesOut > epitest.EightMiB
		})
		var clients []net.Conn
		for range others {
			next <- &epitest.Funcs{Data: epitest.Echo}
			clients = append(clients, s.Dial())
		}
		for range rounds {
			for _, c := range clients {
				epitest.Say(t, c, "served")
			}
			for _, c := range clients {
				epitest.Expect(t, c, "served")
			}
		}
		_ = sink.Close()
		_ = source.Close()
		floods.Wait()
	})
}

// sendsPerTurn is the most that a connection sends in one turn: the budget, and
// the last call of those that began within it.
const sendsPerTurn = 1<<20 + 256<<10

// TestF01_SendingHasABudget pours into a socket whose buffers take several MiB
// and looks how many of them leave in one turn of the loop. With workers a turn
// of the loop is no turn of the connection: only that all leaves is looked at.
func TestF01_SendingHasABudget(t *testing.T) {
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		e.Loops = 1
		var turn, before uint64 // the turn that OnDrain sees, and BytesOut at its first call
		var most atomic.Uint64
		s := epitest.Start(t, e, func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{Open: pour, Drain: func(c *epi.Conn) {
				st := e.Stats()
				if st.Turns != turn {
					turn, before = st.Turns, st.BytesOut
				}
				most.Store(max(most.Load(), st.BytesOut-before))
				_ = pour(c)
			}}
		})
		client := s.Dial()
		if _, err := io.CopyN(io.Discard, client, 2*epitest.EightMiB); err != nil {
			t.Fatal(err)
		}
		if n := most.Load(); m.Workers == 0 && n > sendsPerTurn {
			t.Errorf("%d bytes left in one turn, want at most %d", n, sendsPerTurn)
		}
	})
}

// pour writes until the queue is above the high watermark.
func pour(c *epi.Conn) error {
	for err := error(nil); err == nil && c.Queued() <= 256<<10; {
		err = c.Send(poured)
	}
	return nil // when the connection is closing there is nothing to pour
}

var poured = make([]byte, 64<<10)
