package uring_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/uring"
)

// layouts are groups of buffers that a stream is received into.
var layouts = []struct {
	count, size, bytes int
	incremental        bool
}{
	{1, 1, 1000, false},
	{4, 1, 4000, false},
	{1, 16, 10_000, false},
	{8, 16, 10_000, false},
	{2, 1000, 200_000, false},
	{4, 4096, 400_000, false},
	{64, 4096, 400_000, false},
	{1, 1, 1000, true},
	{4, 1, 4000, true},
	{1, 16, 10_000, true},
	{8, 16, 10_000, true},
	{2, 1000, 200_000, true},
	{4, 4096, 400_000, true},
	{2, 65536, 400_000, true},
}

func TestEveryByteArrivesInOrder(t *testing.T) {
	eachKind(t, func(t *testing.T, setup uring.Setup) {
		for _, l := range layouts {
			t.Run(fmt.Sprintf("%d of %d incremental %t", l.count, l.size, l.incremental), func(t *testing.T) {
				need(t, !l.incremental || features(t).Incremental, "incremental buffers (Linux 6.12)")
				r := newRing(t, uring.Config{Entries: 8, Setup: setup})
				b, err := r.NewBuffers(7, l.count, l.size, l.incremental)
				must(t, err)
				here, there := pair(t)
				background(t, func() error { return writeInPieces(there, l.bytes, l.size) })
				s := stream{r: r, b: b, fd: here, id: 1}
				for s.arm(); len(s.got) < l.bytes; {
					s.take(r.next())
				}
				if !bytes.Equal(s.got, pattern(0, l.bytes)) {
					t.Error("other bytes came")
				}
			})
		}
	})
}

// writeInPieces writes bytes of the pattern in pieces around a size.
func writeInPieces(fd, total, size int) error {
	random := rand.New(rand.NewPCG(uint64(total), uint64(size)))
	for at := 0; at < total; {
		n := min(1+random.IntN(2*size+2), total-at)
		if err := writeAll(fd, pattern(at, n)); err != nil {
			return err
		}
		at += n
	}
	return nil
}

// A stream is received by RecvMultishot, again and again.
type stream struct {
	r     ring
	b     *uring.Buffers
	fd    int
	id    uint64
	limit int

	got  []byte
	ends int // how often the operation ended
}

func (s *stream) arm() { s.r.prepare(s.id).RecvMultishot(s.fd, s.b.Group(), s.limit) }

func (s *stream) take(c uring.CQE) {
	s.r.t.Helper()
	if c.UserData != s.id {
		s.r.t.Fatalf("not of stream %d: %s", s.id, show(c))
	}
	s.got = append(s.got, s.b.Bytes(c)...)
	s.b.Recycle(c)
	if c.More() {
		return
	}
	s.ends++
	if err := c.Err(); err != nil && err != unix.ENOBUFS {
		s.r.t.Fatal(show(c))
	}
	s.arm()
}

// Connections share the buffers of a group: those filled by several receives
// hold bytes of several connections.
func TestStreamsShareBuffers(t *testing.T) {
	const streams, perStream = 16, 20_000
	eachKind(t, func(t *testing.T, setup uring.Setup) {
		for _, row := range []struct {
			incremental bool
			limit       int
		}{{false, 0}, {true, 0}, {false, 100}, {true, 100}, {true, 1000}} {
			t.Run(fmt.Sprintf("incremental %t limit %d", row.incremental, row.limit), func(t *testing.T) {
				need(t, !row.incremental || features(t).Incremental, "incremental buffers (Linux 6.12)")
				need(t, row.limit == 0 || features(t).RecvLimit, "limit of receives (Linux 6.17)")
				r := newRing(t, uring.Config{Entries: 32, Setup: setup})
				b, err := r.NewBuffers(1, 4, 777, row.incremental)
				must(t, err)
				var all [streams]stream
				for i := range all {
					here, there := pair(t)
					background(t, func() error { return writeInPieces(there, perStream, 50*(i+1)) })
					all[i] = stream{r: r, b: b, fd: here, id: uint64(i), limit: row.limit}
					all[i].arm()
				}
				for missing := streams; missing > 0; {
					s := &all[r.peek()]
					before := len(s.got)
					s.take(r.next())
					if before < perStream && len(s.got) >= perStream {
						missing--
					}
				}
				for i := range all {
					if !bytes.Equal(all[i].got, pattern(0, perStream)) {
						t.Errorf("other bytes came on stream %d", i)
					}
				}
			})
		}
	})
}

// peek waits for the next completion, leaves it, and returns its operation.
func (r ring) peek() uint64 {
	r.t.Helper()
	for r.Ready() == 0 {
		must(r.t, r.Wait(1, patience))
	}
	return r.Completion(0).UserData
}

// The tail of a buffer ring has 16 bits.
func TestBufferTailWrapsAround(t *testing.T) {
	for _, row := range []struct {
		count       int
		incremental bool
	}{{128, false}, {1 << 15, false}, {128, true}} {
		t.Run(fmt.Sprintf("%d buffers incremental %t", row.count, row.incremental), func(t *testing.T) {
			need(t, !row.incremental || features(t).Incremental, "incremental buffers (Linux 6.12)")
			const total = 1<<16 + 5000
			r := newRing(t, uring.Config{Entries: 8, CQEntries: 1 << 12, Setup: deferred})
			b, err := r.NewBuffers(1, row.count, 1, row.incremental)
			must(t, err)
			here, there := pair(t)
			background(t, func() error { return writeAll(there, pattern(0, total)) })
			s := stream{r: r, b: b, fd: here, id: 1}
			for s.arm(); len(s.got) < total; {
				s.take(r.next())
			}
			if !bytes.Equal(s.got, pattern(0, total)) {
				t.Error("other bytes came")
			}
		})
	}
}
