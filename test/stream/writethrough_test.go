package stream_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"sync"
	"testing"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// TestHunt25_LongWritesKeepTheirPlace mixes writes that are queued with ones that
// may be sent within the call, to a client that reads only afterwards, so that the
// kernel takes a part of them.
func TestHunt25_LongWritesKeepTheirPlace(t *testing.T) {
	sizes := []int{100, 20_000, 64 << 10, 1, 300_000, 70_000, 16 << 10, 3, 1 << 20, 1 << 20, 40_000, 5}
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		written := make(chan error, 1)
		s := epitest.Start(t, m.Engine(), func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{Data: func(c *epi.Conn) error {
				c.Discard(len(c.Unread()))
				for i, n := range sizes {
					p := bytes.Repeat([]byte{byte(i + 1)}, n)
					if _, err := c.Write(p); err != nil {
						written <- err
						return err
					}
					clear(p) // it is the caller's again
				}
				written <- nil
				return c.CloseWrite()
			}}
		})
		c := s.Dial()
		epitest.Say(t, c, "x")
		if err := epitest.Receive(t, written); err != nil {
			t.Fatal(err)
		}
		for i, n := range sizes {
			epitest.ExpectBytes(t, c, bytes.Repeat([]byte{byte(i + 1)}, n), 64<<10)
		}
		epitest.ExpectEOF(t, c)
	})
}

// TestHunt25_WritesOfOthersDoNotCome inside a long one: each is taken as a whole.
//
//	the loop         ── 100,000 bytes; the kernel takes some of them ──►
//	other goroutines ── 1,000 bytes each, at any moment ──────────────►
func TestHunt25_WritesOfOthersDoNotComeInside(t *testing.T) {
	const long, short, each, others = 100_000, 1_000, 60, 3
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		e.MaxQueued = 64 << 20
		conns := make(chan *epi.Conn, 1)
		s := epitest.Start(t, e, func(c *epi.Conn) epi.Handler {
			conns <- c
			return &epitest.Funcs{Data: func(c *epi.Conn) error {
				for range c.Unread() {
					if _, err := c.Write(record(bytes.Repeat([]byte{'l'}, long))); err != nil {
						return err
					}
				}
				c.Discard(len(c.Unread()))
				return nil
			}}
		})
		client := s.Dial()
		c := epitest.Receive(t, conns)
		var all sync.WaitGroup
		for range others {
			all.Go(func() {
				for range each {
					if _, err := c.Write(record(bytes.Repeat([]byte{'s'}, short))); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		all.Go(func() {
			for range each {
				if _, err := client.Write([]byte{'x'}); err != nil {
					t.Error(err)
					return
				}
			}
		})
		for range each + others*each {
			var size [4]byte
			if _, err := io.ReadFull(client, size[:]); err != nil {
				t.Fatal(err)
			}
			body := make([]byte, binary.BigEndian.Uint32(size[:]))
			want := byte('s')
			switch len(body) {
			case long:
				want = 'l'
			case short:
			default:
				t.Fatalf("a record of %d bytes", len(body))
			}
			if _, err := io.ReadFull(client, body); err != nil || bytes.Count(body, []byte{want}) != len(body) {
				t.Fatalf("%v, or other bytes within a record of %d", err, len(body))
			}
		}
		all.Wait()
	})
}

// TestHunt25_LongWritesAreSentAtOnce counts system calls around a write. Only loops
// that have threads of their own make one within it.
func TestHunt25_LongWritesAreSentAtOnce(t *testing.T) {
	const size = 32 << 10
	epitest.EachNative(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		within, queued := make(chan uint64, 1), make(chan int, 1)
		s := epitest.Start(t, e, func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{Data: func(c *epi.Conn) error {
				c.Discard(len(c.Unread()))
				before := e.Stats().Loops[c.Loop().Index()].Writes
				_, err := c.Write(make([]byte, size))
				within <- e.Stats().Loops[c.Loop().Index()].Writes - before
				queued <- c.Queued()
				return err
			}}
		})
		c := s.Dial()
		epitest.Say(t, c, "x")
		want := uint64(1)
		if m.Workers > 0 {
			want = 0
		}
		if n := epitest.Receive(t, within); n != want {
			t.Errorf("%d system calls within Write, want %d", n, want)
		}
		if n := epitest.Receive(t, queued); n != size {
			t.Errorf("%d bytes count as queued until the end of the turn, want %d", n, size)
		}
		epitest.ExpectBytes(t, c, make([]byte, size), size)
	})
}

// TestHunt25_LongWritesDrain calls OnDrain when the queue has fallen, however fast
// it did.
func TestHunt25_LongWritesDrain(t *testing.T) {
	const size, most, times = 40_000, 100_000, 20
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		e.HighWater = most
		left := times
		fill := func(c *epi.Conn) error {
			for written := 0; left > 0 && written <= most; left-- {
				n, err := c.Write(make([]byte, size))
				if err != nil {
					return err
				}
				written += n
			}
			if left == 0 {
				return c.Close()
			}
			return nil
		}
		s := epitest.Start(t, e, func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{
				Open:  fill,
				Drain: func(c *epi.Conn) { _ = fill(c) },
			}
		})
		c := s.Dial()
		epitest.ExpectBytes(t, c, make([]byte, times*size), size)
		epitest.ExpectEOF(t, c)
	})
}
