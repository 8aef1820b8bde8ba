package uring_test

import (
	"bytes"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/uring"
)

func TestCancelFindsTheOperationOrNot(t *testing.T) {
	eachKind(t, func(t *testing.T, setup uring.Setup) {
		r := newRing(t, uring.Config{Entries: 8, Setup: setup})
		here, _ := pair(t)
		r.prepare(1).Cancel(7)
		r.failed(1, unix.ENOENT)
		r.prepare(7).Recv(here, make([]byte, 1), 0)
		r.prepare(8).Recv(here, make([]byte, 1), 0)
		r.prepare(2).Cancel(7)
		r.cancelled(7, 2, 0)
		r.prepare(3).Cancel(7)
		r.failed(3, unix.ENOENT)
		r.prepare(4).Cancel(8)
		r.cancelled(8, 4, 0)
	})
}

func TestCancelByDescriptorAndCancelAll(t *testing.T) {
	eachKind(t, func(t *testing.T, setup uring.Setup) {
		r := newRing(t, uring.Config{Entries: 8, Setup: setup})
		_, err := r.NewBuffers(1, 1, 8, false)
		must(t, err)
		here, there := pair(t)
		start := func() {
			r.prepare(1).Recv(here, make([]byte, 1), 0)
			r.prepare(2).PollMultishot(here, unix.POLLIN)
			r.prepare(3).RecvMultishot(here, 1, 0)
			r.prepare(4).Recv(there, make([]byte, 1), 0)
		}
		end := func(cancellation, operations uint64) {
			t.Helper()
			seen := map[uint64]int32{}
			for range operations + 1 {
				c := r.next()
				seen[c.UserData] = c.Res
			}
			for id := range operations {
				if seen[id+1] != -int32(unix.ECANCELED) {
					t.Errorf("operation %d ended with %d", id+1, seen[id+1])
				}
			}
			if seen[cancellation] != int32(operations) {
				t.Errorf("the cancellation ended with %d, not %d", seen[cancellation], operations)
			}
			r.silent()
		}
		start()
		r.prepare(9).CancelFD(here)
		end(9, 3)
		r.prepare(9).CancelFD(here)
		end(9, 0)
		r.prepare(8).Cancel(4)
		r.cancelled(4, 8, 0)
		start()
		r.prepare(9).CancelAny()
		end(9, 4)
		r.prepare(9).CancelFD(-1)
		r.failed(9, unix.EBADF)
	})
}

// A byte arrives while the receive that waits for it is cancelled. It is received,
// or stays for the next one:
//
//	ring:  receive ─── cancel ─────── one completion of each
//	peer:          send ↑ or ↑ or ↑
func TestCancelRacesCompletion(t *testing.T) {
	eachKind(t, func(t *testing.T, setup uring.Setup) {
		const rounds = 2000
		r := newRing(t, uring.Config{Entries: 8, Setup: setup})
		here, there := pair(t)
		sender := newSender(t, there, rounds, 1)
		var got []byte
		won := 0
		for i := range rounds {
			p := make([]byte, 1)
			r.prepare(1).Recv(here, p, 0)
			r.submit()
			sender.begin()
			dawdle(i)
			if i%2 == 0 {
				r.submit() // a deferred ring looks only now, before it cancels
			}
			r.prepare(2).Cancel(1)
			for range 2 {
				switch c := r.next(); {
				case c.UserData == 1 && c.Res == 1:
					got = append(got, p...)
				case c.UserData == 1 && c.Err() == unix.ECANCELED:
					won++
				case c.UserData == 2 && (c.Res == 0 || c.Err() == unix.ENOENT || c.Err() == unix.EALREADY):
				default:
					t.Fatal(show(c))
				}
			}
			sender.wait()
			got = append(got, read(t, here, i+1-len(got))...) // so that the next round waits
		}
		r.silent()
		if !bytes.Equal(got, pattern(0, rounds)) {
			t.Error("other bytes came")
		}
		t.Logf("%d of %d were cancelled", won, rounds)
	})
}

// As above with an operation that has many completions: one is the last.
func TestCancelRacesMultishotReceive(t *testing.T) {
	eachKind(t, func(t *testing.T, setup uring.Setup) {
		const rounds, perRound = 1000, 3
		r := newRing(t, uring.Config{Entries: 8, CQEntries: 64, Setup: setup})
		incremental := features(t).Incremental
		b, err := r.NewBuffers(1, 4, 16, incremental)
		must(t, err)
		here, there := pair(t)
		sender := newSender(t, there, rounds, perRound)
		var got []byte
		for i := range rounds {
			r.prepare(1).RecvMultishot(here, 1, 0)
			r.submit()
			sender.begin()
			dawdle(i)
			if i%2 == 0 {
				r.submit() // a deferred ring looks only now, before it cancels
			}
			r.prepare(2).Cancel(1)
			for receiving, cancelling := true, true; receiving || cancelling; {
				c := r.next()
				got = append(got, b.Bytes(c)...)
				b.Recycle(c)
				switch {
				case c.UserData == 1 && receiving:
					receiving = c.More()
				case c.UserData == 2 && cancelling:
					cancelling = false
				default:
					t.Fatalf("behind the last completion: %s", show(c))
				}
			}
			sender.wait()
			got = append(got, read(t, here, (i+1)*perRound-len(got))...)
		}
		r.silent()
		if !bytes.Equal(got, pattern(0, rounds*perRound)) {
			t.Error("other bytes came")
		}
	})
}

// A sender writes a few bytes in each round, each byte by a call of its own.
type sender struct {
	round, done atomic.Int64
	over        atomic.Bool
}

func newSender(t *testing.T, fd, rounds, perRound int) *sender {
	s := &sender{}
	background(t, func() error {
		for i := range rounds {
			for s.round.Load() <= int64(i) {
				if s.over.Load() {
					return nil
				}
				runtime.Gosched()
			}
			for at := range perRound {
				if err := writeAll(fd, pattern(i*perRound+at, 1)); err != nil {
					return err
				}
			}
			s.done.Add(1)
		}
		return nil
	})
	t.Cleanup(func() { s.over.Store(true) })
	return s
}

func (s *sender) begin() { s.round.Add(1) }

func (s *sender) wait() {
	for s.done.Load() < s.round.Load() {
		runtime.Gosched()
	}
}

// dawdle takes some time, up to 20 µs: about what the other thread needs to send.
func dawdle(i int) {
	d := time.Duration(13*i%200) * 100 * time.Nanosecond
	for start := time.Now(); time.Since(start) < d; {
	}
}
