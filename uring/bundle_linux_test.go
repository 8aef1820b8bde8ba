package uring_test

import (
	"bytes"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/uring"
)

func TestBundleSendsWhatWasPut(t *testing.T) {
	need(t, features(t).Bundle, "SendBundle (Linux 6.10)")
	eachKind(t, func(t *testing.T, setup uring.Setup) {
		const count, size = 4, 8
		r := newRing(t, uring.Config{Entries: 8, Setup: setup})
		b, err := r.NewSendBuffers(3, count, size)
		must(t, err)
		here, there := pair(t)

		r.prepare(1).SendBundle(here, 3, unix.MSG_NOSIGNAL)
		r.failed(1, unix.ENOBUFS) // nothing was put

		id, sent := 0, 0
		for round := range 50 {
			var want []byte
			first := id
			for n := range 1 + round%count {
				part := pattern(sent+len(want), 1+(round+n)%size)
				if put := b.Put(id, part); put != len(part) {
					t.Fatalf("%d of %d bytes were put", put, len(part))
				}
				want = append(want, part...)
				id = (id + 1) % count
			}
			r.prepare(2).SendBundle(here, b.Group(), unix.MSG_NOSIGNAL)
			c := r.of(2)
			if int(c.Res) != len(want) || c.BufferID() != first {
				t.Fatalf("%d bytes should have been sent, from buffer %d on: %s", len(want), first, show(c))
			}
			if c.More() {
				r.failed(2, unix.ENOBUFS) // there were no more
			}
			if got := read(t, there, len(want)); !bytes.Equal(got, want) {
				t.Fatalf("% x came instead of % x", got, want)
			}
			sent += len(want)
		}
		if put := b.Put(id, make([]byte, size+1)); put != size {
			t.Fatalf("%d bytes were put into a buffer of %d", put, size)
		}
	})
}
