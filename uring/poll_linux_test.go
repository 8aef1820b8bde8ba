package uring_test

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/uring"
)

func TestPollCompletesOnceWithTheEventsThatHold(t *testing.T) {
	eachKind(t, func(t *testing.T, setup uring.Setup) {
		r := newRing(t, uring.Config{Entries: 8, Setup: setup})
		here, there := pair(t)
		r.prepare(1).PollAdd(here, unix.POLLIN)
		r.silent()
		write(t, there, []byte{1})
		if c := r.of(1); c.Res != unix.POLLIN || c.More() {
			t.Fatal(show(c))
		}
		write(t, there, []byte{1})
		r.silent()
		r.prepare(2).PollAdd(here, unix.POLLIN|unix.POLLOUT)
		if c := r.of(2); c.Res != unix.POLLIN|unix.POLLOUT {
			t.Fatal(show(c))
		}
		must(t, unix.Close(there))
		r.prepare(3).PollAdd(here, 0)
		if c := r.of(3); c.Res&unix.POLLHUP == 0 {
			t.Fatal(show(c))
		}
	})
}

// One change is one completion, whether what came before was read or not.
func TestMultishotPollIsEdgeTriggered(t *testing.T) {
	eachKind(t, func(t *testing.T, setup uring.Setup) {
		r := newRing(t, uring.Config{Entries: 8, Setup: setup})
		here, there := pair(t)
		r.prepare(1).PollMultishot(here, unix.POLLIN)
		r.silent()
		for range 10 {
			write(t, there, []byte{1})
			if c := r.of(1); c.Res&unix.POLLIN == 0 || !c.More() {
				t.Fatal(show(c))
			}
			r.silent()
		}
		read(t, here, 10)
		r.silent()
		write(t, there, []byte{1})
		if c := r.of(1); c.Res&unix.POLLIN == 0 || !c.More() {
			t.Fatal(show(c))
		}
	})
}

func TestRingIsReadableWhileACompletionWaits(t *testing.T) {
	for _, setup := range []uring.Setup{0, deferred} {
		r := newRing(t, uring.Config{Entries: 8, Setup: setup})
		readable := func() bool {
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(r.FD()), Events: unix.POLLIN}}, 0)
			must(t, err)
			return n == 1
		}
		if readable() {
			t.Fatal("a new ring is readable")
		}
		r.prepare(1).Nop()
		r.submit()
		if !readable() {
			t.Fatal("a ring with a completion is not readable")
		}
		r.of(1)
		if readable() {
			t.Fatal("a ring is readable whose completions were taken")
		}
	}
}
