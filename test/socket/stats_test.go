package socket_test

import (
	"testing"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// TestStats_AfterAScript runs a script on one loop and compares the counters.
// Those that depend on how events fall together have bounds instead.
func TestStats_AfterAScript(t *testing.T) {
	const size, echoes = 10, 3
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Serial()
		e.MaxConns, e.MaxTasks, e.MaxQueued = 2, 1, 1<<10
		closed := make(chan struct{}, 2)
		s := epitest.Start(t, e, func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{Data: echoOrPanic, Close: func(*epi.Conn, error) { closed <- struct{}{} }}
		})
		l, err := e.Loop(0)
		if err != nil {
			t.Fatal(err)
		}
		text := string(epitest.Pattern(size))
		orderly, panicking := s.Dial(), s.Dial()
		for range echoes {
			epitest.RoundTrip(t, orderly, text)
			epitest.RoundTrip(t, panicking, text)
		}
		epitest.ExpectEOF(t, s.Dial()) // MaxConns
		epitest.WaitUntil(t, "it is counted", func() bool { return e.Stats().Shed == 1 })

		ticked := make(chan struct{})
		l.After(time.Millisecond, func() { close(ticked) })
		epitest.Receive(t, ticked)
		release := epitest.Hold(t, l)
		if l.Do(func() {}) != nil || l.Do(func() {}) == nil {
			t.Error("MaxTasks is 1")
		}
		release()

		epitest.CloseWrite(t, orderly)
		epitest.ExpectEOF(t, orderly)
		epitest.Receive(t, closed)
		if n := e.Stats().Conns; n > 2 {
			t.Errorf("%d connections", n)
		}
		epitest.Say(t, panicking, panicWord)
		epitest.ExpectEOF(t, panicking)
		epitest.Receive(t, closed)
		if err := s.Stop(); err != nil {
			t.Fatal(err)
		}

		got := e.Stats()
		const moved = 2 * echoes * size
		want := epi.LoopStats{
			Accepted: 2, Closed: 2, Shed: 1, Panics: 1, QueueFull: 1, TasksRefused: 1,
			BytesIn: moved + uint64(len(panicWord)), BytesOut: moved,
			Writes: 2 * echoes,
		}
		exact := got.LoopStats
		turns := uint64(0)
		for _, n := range exact.Lag.Turns {
			turns += n
		}
		if turns != exact.Turns || exact.Lag.Sum <= 0 {
			t.Errorf("the lag is of %d turns, in total %v; there were %d turns", turns, exact.Lag.Sum, exact.Turns)
		}
		exact.Lag = epi.Lag{}
		want.Causes[epi.CauseEOF], want.Causes[epi.CausePanic] = 1, 1
		reads, controls, submits := uint64(2*echoes+2), uint64(6), uint64(0)
		if completes(m) { // a receive, a watch for the end and the sends of each connection, the wake-up, the accept and its end
			reads, controls, submits = 0, 0, 4+2*echoes+3
			want.Writes = 0
		}
		if !m.Native() {
			controls = 0 // the Go runtime changes what its poller watches, if anything
		}
		for _, c := range []struct {
			name        string
			count       *uint64
			least, most uint64
		}{
			{"Reads", &exact.Reads, reads, reads + 2},         // both ends too, perhaps again while closing
			{"Submits", &exact.Submits, submits, submits + 6}, // and perhaps what ends receiving and watching
			{"Tasks", &exact.Tasks, 2, 20},                    // and the engine's own
			{"Timers", &exact.Timers, 1, 40},                  // and questions whether a closed connection's peer has all
			{"Events", &exact.Events, 2*echoes + 3, 100},
			{"Waits", &exact.Waits, exact.Sleeps, 2 * (exact.Turns + 1)},
			{"Turns", &exact.Turns, 2, 1000},
			{"Sleeps", &exact.Sleeps, 1, exact.Turns + 1},
			{"Wakes", &exact.Wakes, 1, 100},
			{"Controls", &exact.Controls, controls, 100 * min(controls, 1)},
			{"Stale", &exact.Stale, 0, exact.Events},
		} {
			if *c.count < c.least || *c.count > c.most {
				t.Errorf("%s is %d, want %d to %d", c.name, *c.count, c.least, c.most)
			}
			*c.count = 0
		}
		if exact != want {
			t.Errorf("counted %+v\nwant    %+v", exact, want)
		}
		if len(got.Loops) != 1 || got.Loops[0] != got.LoopStats {
			t.Errorf("one loop has %+v, all have %+v", got.Loops, got.LoopStats)
		}
		if got.Driver == "" || got.Reason == "" || got.Workers != e.Workers || got.Waiting != 0 {
			t.Errorf("driver %q (%s), %d workers, %d connections wait", got.Driver, got.Reason, got.Workers, got.Waiting)
		}
	})
}

const panicWord = "panic"

// echoOrPanic is refused a write of more than MaxQueued before it panics.
func echoOrPanic(c *epi.Conn) error {
	if string(c.Unread()) == panicWord {
		_, err := c.Write(make([]byte, 1<<20))
		panic(err)
	}
	return epitest.Echo(c)
}

// TestStats_OfAllLoops adds up sixteen loops.
func TestStats_OfAllLoops(t *testing.T) {
	const clients = 64
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		e.Loops = 16
		s := epitest.Start(t, e, epitest.EchoHandler)
		for range clients {
			epitest.RoundTrip(t, s.Dial(), "x")
		}
		now := e.Stats()
		var accepted, read uint64
		var conns int64
		for _, l := range now.Loops {
			accepted, read, conns = accepted+l.Accepted, read+l.BytesIn, conns+l.Conns
		}
		if len(now.Loops) != 16 || accepted != clients || read != clients || conns != clients ||
			now.Accepted != clients || now.BytesIn != clients || now.Conns != clients {
			t.Errorf("of %d clients all loops count %+v, each %+v", clients, now.LoopStats, now.Loops)
		}
	})
}

// completes says whether the kernel does the I/O of a mode.
func completes(m epitest.Mode) bool { return m.Driver == epi.DriverUring && m.Workers == 0 }
