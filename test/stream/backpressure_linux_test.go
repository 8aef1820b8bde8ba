package stream_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// A pump writes a number of bytes, always as many as the watermarks allow.
type pump struct {
	chunk     []byte
	left      int // bytes still to write
	high, low int
	crossings int // times that the queue rose above high
	drains    int // calls of OnDrain
	peak      int // most bytes in the queue
	faults    []error
	done      chan struct{} // closed when all is written and no OnDrain is due
}

// write goes on until the queue is above high or all is written.
func (p *pump) write(c *epi.Conn) {
	for p.left > 0 {
		n := min(len(p.chunk), p.left)
		if _, err := c.Write(p.chunk[:n]); err != nil {
			p.faults = append(p.faults, err)
			return
		}
		p.left -= n
		queued := c.Queued()
		p.peak = max(p.peak, queued)
		if queued > p.high {
			p.crossings++
			return
		}
	}
	close(p.done)
}

func (p *pump) drained(c *epi.Conn) {
	p.drains++
	if n := c.Queued(); n > p.low {
		p.faults = append(p.faults, errors.New("OnDrain above the low watermark"))
	}
	if p.drains != p.crossings {
		p.faults = append(p.faults, errors.New("OnDrain without a crossing"))
	}
	p.write(c)
}

// TestW06_Watermarks measures the heap of the process and so is not parallel.
func TestW06_Watermarks(t *testing.T) {
	const total = 100 << 20
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		e := m.Engine()
		e.HighWater, e.LowWater = 16<<10, 8<<10
		p := &pump{chunk: make([]byte, 5000), left: total, high: e.HighWater, low: e.LowWater, done: make(chan struct{})}
		conns := make(chan *epi.Conn, 1)
		s := epitest.Start(t, e, func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{
				Open:  func(c *epi.Conn) error { p.write(c); conns <- c; return nil },
				Drain: p.drained,
			}
		})
		client := s.Dial()
		c := epitest.Receive(t, conns)
		var before, now runtime.MemStats
		runtime.ReadMemStats(&before)
		// A slow reader: it waits until the server can write no more.
		epitest.Settled(t, "the queue", func() uint64 { return uint64(c.Queued()) + e.Stats().BytesOut })
		buf := make([]byte, 64<<10)
		for got := 0; got < total; {
			n, err := client.Read(buf)
			if err != nil {
				t.Fatalf("read %d bytes: %v", got, err)
			}
			got += n
		}
		epitest.Receive(t, p.done)
		runtime.ReadMemStats(&now)
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		epitest.ExpectEOF(t, client)
		if err := s.Stop(); err != nil { // from here on the pump is ours
			t.Fatal(err)
		}

		if err := errors.Join(p.faults...); err != nil {
			t.Error(err)
		}
		if p.crossings == 0 || p.drains != p.crossings {
			t.Errorf("%d calls of OnDrain for %d crossings", p.drains, p.crossings)
		}
		if limit := p.high + len(p.chunk); p.peak > limit {
			t.Errorf("the queue rose to %d bytes, want at most %d", p.peak, limit)
		}
		if grown := int64(now.HeapSys) - int64(before.HeapSys); grown > 16<<20 {
			t.Errorf("the heap grew by %d bytes", grown)
		}
	})
}

func TestW06_NoDrainBelowHighWater(t *testing.T) {
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		e.HighWater, e.LowWater = 16<<10, 8<<10
		var drains atomic.Int32
		s := epitest.Start(t, e, func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{
				Data:  func(c *epi.Conn) error { c.Discard(1); return c.Send(make([]byte, e.HighWater)) },
				Drain: func(*epi.Conn) { drains.Add(1) },
			}
		})
		client := s.Dial()
		for range 20 {
			if _, err := client.Write([]byte("?")); err != nil {
				t.Fatal(err)
			}
			if _, err := io.CopyN(io.Discard, client, int64(e.HighWater)); err != nil {
				t.Fatal(err)
			}
		}
		if n := drains.Load(); n != 0 {
			t.Errorf("%d calls of OnDrain, though the queue was never above HighWater", n)
		}
	})
}

// TestW07_StalledReaders counts the turns of a second in which clients do not
// read, in every way that is known to make an engine spin.
func TestW07_StalledReaders(t *testing.T) {
	// In a second. A loop that spins makes thousands; the closed one, with workers,
	// up to 8, and the kernel's probes of full windows some more.
	const mostTurns = 100
	reply := func(c *epi.Conn) error {
		c.Discard(len(c.Unread()))
		return c.Send(make([]byte, epitest.EightMiB))
	}
	sendForEver := func(t *testing.T, client net.Conn) {
		ended := make(chan struct{})
		t.Cleanup(func() { _ = client.Close(); <-ended })
		go func() {
			defer close(ended)
			_, _ = client.Write(make([]byte, 64<<20)) // until the test closes the client
		}()
	}
	rows := []struct {
		name   string
		data   func(c *epi.Conn) error
		client func(t *testing.T, client net.Conn) // after it has sent one byte
	}{
		{"much is queued for it", reply, func(*testing.T, net.Conn) {}},
		{"it half-closed", reply, epitest.CloseWrite},
		{"it sends for ever", reply, sendForEver},
		{"it sends for ever and is echoed", epitest.Echo, sendForEver},
		{"the server closed it", func(c *epi.Conn) error {
			return errors.Join(reply(c), c.Close())
		}, func(*testing.T, net.Conn) {}},
	}
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		e.Linger = epitest.Patience
		next := make(chan epi.Handler, 1)
		s := epitest.Start(t, e, func(*epi.Conn) epi.Handler { return <-next })
		for i, row := range rows {
			next <- &epitest.Funcs{Data: row.data}
			client := s.DialNarrow()
			if _, err := client.Write([]byte("?")); err != nil {
				t.Fatal(err)
			}
			epitest.WaitUntil(t, row.name+": it is accepted", func() bool { return e.Stats().Accepted == uint64(i+1) })
			row.client(t, client)
			epitest.Settled(t, row.name, func() uint64 { return epitest.BytesMoved(e) })
		}
		if n := epitest.TurnsAtRest(t, e); n >= mostTurns {
			t.Errorf("the loops made %.0f turns in a second without work", n)
		}
		if n := e.Stats().Conns; n != int64(len(rows)) {
			t.Errorf("%d of %d stalled connections are open", n, len(rows))
		}
		next <- &epitest.Funcs{Data: epitest.Echo}
		other := s.Dial()
		for range 100 {
			epitest.RoundTrip(t, other, "served")
		}
	})
}

func TestW09_QueueFull(t *testing.T) {
	const bound = 64 << 10
	const records = 2 << 10 // what TLS may add to what is encrypted ahead
	epitest.EachStream(t, func(t *testing.T, m epitest.Mode, address string) {
		t.Parallel()
		e := m.Engine()
		e.MaxQueued = bound
		most := bound
		if m.TLS {
			most += records
		}
		conns := make(chan *epi.Conn, 1)
		s := epitest.StartOn(t, e, address, func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{Open: func(c *epi.Conn) error { conns <- c; return nil }}
		})
		client := s.DialNarrow()
		c := epitest.Receive(t, conns)
		if _, err := c.Write(make([]byte, bound+1)); err != epi.ErrQueueFull {
			t.Errorf("more than MaxQueued at once: %v", err)
		}
		if n := c.Queued(); n != 0 {
			t.Errorf("the refused write has left %d bytes", n)
		}
		want := fillQueue(t, c)
		if n := c.Queued(); n > most || n+fillRecord <= bound {
			t.Errorf("%d bytes are queued when the queue is full, want nearly %d, at most %d", n, bound, most)
		}
		if n := e.Stats().QueueFull; n < 2 {
			t.Errorf("%d refused writes counted", n)
		}
		epitest.ExpectBytes(t, client, want, 64<<10)
		epitest.WaitUntil(t, "the queue drains", func() bool { return c.Queued() == 0 })
		// Nothing of the refused writes follows, and there is room again.
		last := bytes.Repeat([]byte{'!'}, bound)
		if err := c.Send(last); err != nil {
			t.Errorf("as much as MaxQueued: %v", err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		epitest.ExpectBytes(t, client, last, len(last))
		epitest.ExpectEOF(t, client)
	})
}

const fillRecord = 1000

// fillQueue writes records, by Write and by Send, until the kernel takes no
// more and the queue is full. It returns what was taken.
func fillQueue(t *testing.T, c *epi.Conn) []byte {
	t.Helper()
	pattern := epitest.Pattern(epitest.EightMiB)
	at := 0
	write := func(p []byte) error {
		if at/fillRecord%2 == 0 {
			return c.Send(p[:1], p[1:])
		}
		n, err := c.Write(p)
		if err != nil && n != 0 {
			t.Errorf("a refused write took %d bytes", n)
		}
		return err
	}
	epitest.Settled(t, "the full queue", func() uint64 {
		for {
			err := write(pattern[at:][:fillRecord:fillRecord])
			if err != nil {
				if err != epi.ErrQueueFull {
					t.Errorf("a write without room: %v", err)
				}
				return uint64(at)
			}
			at += fillRecord
		}
	})
	return pattern[:at]
}

func TestW09_CloseOnFull(t *testing.T) {
	epitest.EachStream(t, func(t *testing.T, m epitest.Mode, address string) {
		t.Parallel()
		e := m.Engine()
		e.MaxQueued, e.CloseOnFull = 64<<10, true
		conns, closed := make(chan *epi.Conn, 1), make(chan error, 1)
		s := epitest.StartOn(t, e, address, func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{
				Open:  func(c *epi.Conn) error { conns <- c; return nil },
				Close: func(_ *epi.Conn, err error) { closed <- err },
			}
		})
		client := s.DialNarrow()
		c := epitest.Receive(t, conns)
		if err := c.Send(make([]byte, e.MaxQueued)); err != nil {
			t.Fatal(err)
		}
		var err error
		for err == nil {
			err = c.Send(make([]byte, 1000))
		}
		if err != epi.ErrQueueFull {
			t.Errorf("the write that found no room: %v", err)
		}
		if _, err := c.Write([]byte("x")); err != epi.ErrClosed {
			t.Errorf("the write after it: %v", err)
		}
		if err := epitest.Receive(t, closed); err != epi.ErrQueueFull {
			t.Errorf("OnClose got %v", err)
		}
		epitest.ExpectReset(t, client)
	})
}
