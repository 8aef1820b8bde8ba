package poll_test

import (
	"testing"

	"golang.org/x/sys/unix"

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
	must(t, err)
	return fds[0].Revents&unix.POLLIN != 0
}

func TestP02_ThePollerItselfIsReadable(t *testing.T) {
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		for _, mode := range []poll.Mode{poll.Level, poll.Edge} {
			p := newPoller(t, b)
			fd, ok := descriptor(t, p, b)
			if !ok {
				return
			}
			r, w := newPipe(t)
			must(t, p.Add(r.fd, 1, poll.Readable, mode))
			if isReadable(t, fd) {
				t.Fatal("readable with nothing ready")
			}
			w.write(1)
			if !isReadable(t, fd) {
				t.Fatal("not readable with an event ready")
			}
			expect(t, p, poll.Event{Token: 1, Ready: poll.Readable})
			if got, want := isReadable(t, fd), mode == poll.Level; got != want {
				t.Fatalf("mode %d: readable after the event was taken: %v, want %v", mode, got, want)
			}
		}
	})
}

func TestP02_NestedSet(t *testing.T) {
	eachBackend(t, func(t *testing.T, outside poll.Backend) {
		inner, outer := newPoller(t, poll.BackendEpoll), newPoller(t, outside)
		fd, _ := descriptor(t, inner, poll.BackendEpoll)
		r, w := newPipe(t)
		must(t, inner.Add(r.fd, 1, poll.Readable, poll.Level))
		must(t, outer.Add(fd, 2, poll.Readable, poll.Level))

		results := newResults()
		waiter := startWait(t, outer, -1, results)
		w.write(1)
		equal(t, waiter.await(t), []poll.Event{{Token: 2, Ready: poll.Readable}})
		expect(t, inner, poll.Event{Token: 1, Ready: poll.Readable})
		r.drain()
		expect(t, inner)
		expect(t, outer)

		must(t, inner.Wake())
		expect(t, outer, poll.Event{Token: 2, Ready: poll.Readable})
		expect(t, inner)
		expect(t, outer)
	})
}

func TestP02_NestedEdge(t *testing.T) {
	inner, outer := newPoller(t, poll.BackendEpoll), newPoller(t, poll.BackendEpoll)
	fd, _ := descriptor(t, inner, poll.BackendEpoll)
	r, w := newPipe(t)
	must(t, inner.Add(r.fd, 1, poll.Readable, poll.Level))
	must(t, outer.Add(fd, 2, poll.Readable, poll.Edge))
	for range 3 {
		w.write(1)
		expect(t, outer, poll.Event{Token: 2, Ready: poll.Readable})
		expect(t, outer)
		expect(t, inner, poll.Event{Token: 1, Ready: poll.Readable})
		r.drain()
		expect(t, inner)
	}
}
