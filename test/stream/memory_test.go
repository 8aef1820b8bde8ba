package stream_test

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// TestHunt17_ShortSendsCostLittle queues many slices of one byte for a client that
// does not read.
func TestHunt17_ShortSendsCostLittle(t *testing.T) {
	const maxQueued = 512 << 10
	for _, m := range []epitest.Mode{{Driver: epi.DriverEpoll}, {Driver: epi.DriverPortable}, {Driver: epi.DriverEpoll, TLS: true}} {
		t.Run(m.String(), func(t *testing.T) { // alone: it looks at the heap
			e := m.Engine()
			e.MaxQueued = maxQueued
			conns := make(chan *epi.Conn, 1)
			s := epitest.Start(t, e, func(*epi.Conn) epi.Handler {
				return &epitest.Funcs{Open: func(c *epi.Conn) error { conns <- c; return nil }}
			})
			s.Dial()
			c := epitest.Receive(t, conns)
			for c.Queued() < maxQueued/4 { // until all buffers between the two are full
				if err := c.Send(make([]byte, maxQueued/4)); err != nil {
					t.Fatal(err)
				}
				epitest.Settled(t, "what the kernel takes", func() uint64 { return e.Stats().BytesOut })
			}
			before := epitest.HeapInUse()
			queued := c.Queued()
			one := []byte("x")
			for c.Send(one) == nil {
			}
			if grown, most := epitest.HeapInUse()-before, 3*int64(maxQueued-queued)+1<<20; grown > most {
				t.Errorf("%d bytes that were sent one by one cost %d, want at most %d", c.Queued()-queued, grown, most)
			}
			runtime.KeepAlive(c)
			_ = c.Abort()
		})
	}
}

// TestHostile05_MaxMemoryShedsTheLargest has connections that leave different
// numbers of bytes unread, and together too many.
func TestHostile05_MaxMemoryShedsTheLargest(t *testing.T) {
	const small, large = 64 << 10, 512 << 10
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		e.MaxMemory = 4 * large // the room for unread bytes can be twice as large as they are
		var mu sync.Mutex
		ended := map[*epi.Conn]error{} // guarded by mu
		conns := make(chan *epi.Conn, 1)
		s := epitest.Start(t, e, func(c *epi.Conn) epi.Handler {
			return &epitest.Funcs{
				Open: func(c *epi.Conn) error { conns <- c; return nil },
				Data: func(*epi.Conn) error { return nil },
				Close: func(c *epi.Conn, err error) {
					mu.Lock()
					defer mu.Unlock()
					ended[c] = err
				},
			}
		})
		sum := func(n int64) func() bool {
			return func() bool { return e.Stats().Held >= n }
		}
		endedNow := func(c *epi.Conn) (error, bool) {
			mu.Lock()
			defer mu.Unlock()
			err, ok := ended[c]
			return err, ok
		}
		say := func(n int) *epi.Conn {
			client := s.Dial()
			c := epitest.Receive(t, conns)
			go func() { _, _ = client.Write(bytes.Repeat([]byte{'x'}, n)) }()
			return c
		}
		var smalls []*epi.Conn
		for i := range int64(3) {
			smalls = append(smalls, say(small))
			epitest.WaitUntil(t, "it is held", sum((i+1)*small))
		}
		var larges []*epi.Conn
		shed := func() bool {
			return slices.ContainsFunc(larges, func(c *epi.Conn) bool { _, ok := endedNow(c); return ok })
		}
		for !shed() {
			before := e.Stats().Held
			larges = append(larges, say(large))
			epitest.WaitUntil(t, "it is held, or one is shed", func() bool { return sum(before+large)() || shed() })
		}
		for _, c := range larges {
			if err, ok := endedNow(c); ok && !errors.Is(err, epi.ErrMemory) {
				t.Errorf("a large connection ends with %v", err)
			}
		}
		for _, c := range smalls {
			if err, ok := endedNow(c); ok {
				t.Errorf("a small connection ends with %v", err)
			}
		}
		if n := e.Stats().Causes[epi.CauseMemory]; n == 0 {
			t.Error("none is counted")
		}
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
		if held := e.Stats().Held; held != 0 {
			t.Errorf("%d bytes are held after the end", held)
		}
	})
}

// TestHostile05_MaxMemoryOfQueues has a client that does not read what is sent.
func TestHostile05_MaxMemoryOfQueues(t *testing.T) {
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		e.MaxMemory, e.MaxQueued = epitest.EightMiB, 4*epitest.EightMiB
		closed := make(chan error, 1)
		s := epitest.Start(t, e, func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{
				Open:  func(c *epi.Conn) error { return c.Send(make([]byte, 3*epitest.EightMiB)) },
				Close: func(_ *epi.Conn, err error) { closed <- err },
			}
		})
		if c, err := s.Connect(); err == nil { // else it was reset at once
			defer c.Close()
		}
		if err := epitest.Receive(t, closed); !errors.Is(err, epi.ErrMemory) {
			t.Errorf("OnClose got %v", err)
		}
	})
}

// TestHostile05_LeastRate closes connections whose peer reads a little all the
// time, and so makes progress within any Linger.
func TestHostile05_LeastRate(t *testing.T) {
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		e.Linger, e.LeastRate = 200*time.Millisecond, 1<<30
		closed := make(chan error, 1)
		s := epitest.Start(t, e, func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{
				Open: func(c *epi.Conn) error {
					if err := c.Send(make([]byte, 2*epitest.EightMiB)); err != nil {
						return err
					}
					return c.Close()
				},
				Close: func(_ *epi.Conn, err error) { closed <- err },
			}
		})
		c := s.Dial()
		stop := make(chan struct{})
		defer close(stop)
		go func() {
			buf := make([]byte, 8<<10)
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Millisecond):
				}
				if _, err := io.ReadFull(c, buf); err != nil {
					return
				}
			}
		}()
		if err := epitest.Receive(t, closed); !errors.Is(err, epi.ErrLinger) {
			t.Errorf("OnClose got %v", err)
		}
	})
}
