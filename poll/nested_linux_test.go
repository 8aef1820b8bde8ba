package poll_test

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/internal/polltest"
	"github.com/epinet/epi/poll"
)

// descriptor returns the poller's own descriptor; only epoll has one.
func descriptor(t *testing.T, p poll.Poller, b poll.Backend) (fd int, ok bool) {
	t.Helper()
	set, ok := p.(interface{ FD() int })
	if ok != (b == poll.BackendEpoll) {
		t.Fatalf("the %s backend has FD: %v", b, ok)
	}
	if !ok {
		return -1, false
	}
	return set.FD(), true
}

func isReadable(t *testing.T, fd int) bool {
	t.Helper()
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	_, err := unix.Poll(fds, 0)
	polltest.Must(t, err)
	return fds[0].Revents&unix.POLLIN != 0
}

func TestP02_ThePollerItselfIsReadable(t *testing.T) {
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		for _, mode := range []poll.Mode{poll.Level, poll.Edge} {
			p := polltest.Open(t, b)
			fd, ok := descriptor(t, p, b)
			if !ok {
				return
			}
			r, w := polltest.NewPipe(t)
			polltest.Must(t, p.Add(r.FD, 1, poll.Readable, mode))
			if isReadable(t, fd) {
				t.Fatal("readable with nothing ready")
			}
			w.Write(1)
			if !isReadable(t, fd) {
				t.Fatal("not readable with an event ready")
			}
			polltest.Expect(t, p, poll.Event{Token: 1, Ready: poll.Readable})
			if got, want := isReadable(t, fd), mode == poll.Level; got != want {
				t.Fatalf("mode %d: readable after the event was taken: %v, want %v", mode, got, want)
			}
		}
	})
}

func TestP02_NestedSet(t *testing.T) {
	eachBackend(t, func(t *testing.T, outside poll.Backend) {
		inner, outer := polltest.Open(t, poll.BackendEpoll), polltest.Open(t, outside)
		fd, _ := descriptor(t, inner, poll.BackendEpoll)
		r, w := polltest.NewPipe(t)
		polltest.Must(t, inner.Add(r.FD, 1, poll.Readable, poll.Level))
		polltest.Must(t, outer.Add(fd, 2, poll.Readable, poll.Level))

		waiter := startWaits(t, outer, 1)
		w.Write(1)
		polltest.Equal(t, waiter.await(), poll.Event{Token: 2, Ready: poll.Readable})
		polltest.Expect(t, inner, poll.Event{Token: 1, Ready: poll.Readable})
		r.Drain()
		polltest.Expect(t, inner)
		polltest.Expect(t, outer)

		polltest.Must(t, inner.Wake())
		polltest.Expect(t, outer, poll.Event{Token: 2, Ready: poll.Readable})
		polltest.Expect(t, inner)
		polltest.Expect(t, outer)
	})
}

func TestP02_NestedEdge(t *testing.T) {
	inner, outer := polltest.Open(t, poll.BackendEpoll), polltest.Open(t, poll.BackendEpoll)
	fd, _ := descriptor(t, inner, poll.BackendEpoll)
	r, w := polltest.NewPipe(t)
	polltest.Must(t, inner.Add(r.FD, 1, poll.Readable, poll.Level))
	polltest.Must(t, outer.Add(fd, 2, poll.Readable, poll.Edge))
	for range 3 {
		w.Write(1)
		polltest.Expect(t, outer, poll.Event{Token: 2, Ready: poll.Readable})
		polltest.Expect(t, outer)
		polltest.Expect(t, inner, poll.Event{Token: 1, Ready: poll.Readable})
		r.Drain()
		polltest.Expect(t, inner)
	}
}
