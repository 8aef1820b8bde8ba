package uring_test

import (
	"bytes"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/uring"
)

// More completions than the queue holds are kept by the kernel.
func TestOverflowKeepsAllCompletionsInOrder(t *testing.T) {
	eachKind(t, func(t *testing.T, setup uring.Setup) {
		const operations = 100
		r := newRing(t, uring.Config{Entries: 4, CQEntries: 8, Setup: setup})
		for i := range uint64(operations) {
			r.prepare(i).Nop()
		}
		r.submit()
		if r.Ready() != 8 || !r.WorkWaits() {
			t.Fatalf("%d completions fit, more wait: %t", r.Ready(), r.WorkWaits())
		}
		for i := uint64(0); i < operations; {
			if r.Ready() == 0 && !r.WorkWaits() {
				t.Fatalf("only %d completions came, and no more wait", i)
			}
			if r.Ready() == 0 {
				r.submit()
			}
			for c, ok := r.Next(); ok; c, ok = r.Next() {
				if c.UserData != i {
					t.Fatalf("completion %d came instead of %d", c.UserData, i)
				}
				i++
			}
		}
		if r.WorkWaits() || r.Lost() != 0 {
			t.Fatalf("more wait: %t, lost: %d", r.WorkWaits(), r.Lost())
		}
		r.silent()
	})
}

// A multishot receive that finds the queue full may end; it loses no byte.
func TestOverflowOfAMultishotReceiveLosesNoByte(t *testing.T) {
	eachKind(t, func(t *testing.T, setup uring.Setup) {
		for _, incremental := range []bool{false, true} {
			need(t, !incremental || features(t).Incremental, "incremental buffers (Linux 6.12)")
			r := newRing(t, uring.Config{Entries: 4, CQEntries: 4, Setup: setup})
			b, err := r.NewBuffers(1, 64, 3, incremental)
			must(t, err)
			here, there := pair(t)
			stream := pattern(0, 300)
			var got []byte
			r.prepare(1).RecvMultishot(here, 1, 0)
			r.submit()
			for sent := 0; sent < len(stream); sent += 100 {
				write(t, there, stream[sent:sent+100])
				for len(got) < sent+100 {
					c := r.next()
					got = append(got, b.Bytes(c)...)
					b.Recycle(c)
					if !c.More() {
						must(t, c.Err())
						r.prepare(1).RecvMultishot(here, 1, 0)
					}
				}
			}
			if !bytes.Equal(got, stream) || r.Lost() != 0 {
				t.Fatalf("incremental %t: other bytes came, or completions were lost: %d", incremental, r.Lost())
			}
		}
	})
}

// The kernel posts only some of many due completions at once.
func TestWorkWaitsUntilAllDueCompletionsAreThere(t *testing.T) {
	const operations = 200
	r := newRing(t, uring.Config{Entries: 256, Setup: deferred})
	here, there := pair(t)
	for i := range uint64(operations) {
		r.prepare(i).PollAdd(here, unix.POLLIN)
	}
	r.submit()
	if r.WorkWaits() || r.Ready() != 0 {
		t.Fatal("completions wait before anything has happened")
	}
	write(t, there, []byte{1})
	for r.Ready() < operations {
		if !r.WorkWaits() {
			t.Fatalf("%d of %d completions are there, and no more wait", r.Ready(), operations)
		}
		r.submit()
	}
	if r.WorkWaits() {
		t.Fatal("more completions wait than there are operations")
	}
}
