package ringpoll_test

import (
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/internal/ringpoll"
	"github.com/epinet/epi/poll"
)

var _ poll.Poller = (*ringpoll.Poller)(nil)

func TestP08_ErrorsOfRegistration(t *testing.T) {
	p := open(t)
	r, _ := newPipe(t)
	other, _ := newPipe(t)
	must(t, p.Add(r.fd, 1, readable, poll.Level))
	for round := range 2 { // before the first Wait, and after it
		for _, row := range []struct {
			what string
			got  error
			want error
		}{
			{"add twice", p.Add(r.fd, 2, readable, poll.Level), poll.ErrExist},
			{"modify unknown", p.Modify(other.fd, 2, readable, poll.Level), poll.ErrNotExist},
			{"remove unknown", p.Remove(other.fd), poll.ErrNotExist},
			{"modify never seen", p.Modify(1<<20, 2, readable, poll.Level), poll.ErrNotExist},
			{"remove never seen", p.Remove(1 << 20), poll.ErrNotExist},
			{"add -1", p.Add(-1, 2, readable, poll.Level), unix.EBADF},
			{"modify -1", p.Modify(-1, 2, readable, poll.Level), unix.EBADF},
			{"remove -1", p.Remove(-1), unix.EBADF},
			{"add reserved token", p.Add(other.fd, poll.ReservedToken, readable, poll.Level), unix.EINVAL},
			{"modify reserved token", p.Modify(r.fd, poll.ReservedToken, readable, poll.Level), unix.EINVAL},
		} {
			if !errors.Is(row.got, row.want) {
				t.Errorf("round %d: %s: %v, want %v", round, row.what, row.got, row.want)
			}
		}
		expect(t, p)
	}
	if _, err := p.Wait(nil, 0); !errors.Is(err, unix.EINVAL) {
		t.Errorf("wait without room: %v, want EINVAL", err)
	}
	must(t, p.Remove(r.fd))
	must(t, p.Add(r.fd, 2, readable, poll.Level))
}

func TestP08_EverythingFailsAfterClose(t *testing.T) {
	p := open(t)
	r, _ := newPipe(t)
	must(t, p.Add(r.fd, 1, readable, poll.Level))
	must(t, p.Close())
	_, waitErr := p.Wait(make([]poll.Event, 1), -1)
	for what, err := range map[string]error{
		"add":    p.Add(r.fd, 1, readable, poll.Level),
		"modify": p.Modify(r.fd, 1, readable, poll.Level),
		"remove": p.Remove(r.fd),
		"wait":   waitErr,
		"wake":   p.Wake(),
		"close":  p.Close(),
	} {
		if !errors.Is(err, poll.ErrClosed) {
			t.Errorf("%s: %v, want ErrClosed", what, err)
		}
	}
}

func TestP08_ClosedDescriptorIsReportedAsError(t *testing.T) {
	for name, row := range map[string]struct {
		mode    poll.Mode
		reports int
	}{"level": {poll.Level, 3}, "edge": {poll.Edge, 1}, "oneshot": {poll.OneShot, 1}} {
		t.Run(name, func(t *testing.T) {
			p := open(t)
			r, w := newPipe(t)
			r.close()
			must(t, p.Add(r.fd, 1, readable, row.mode))
			for i := range 3 {
				if i < row.reports {
					expect(t, p, poll.Event{Token: 1, Ready: poll.Error})
				} else {
					expect(t, p)
				}
			}
			must(t, p.Remove(r.fd))
			expect(t, p)
			must(t, p.Add(w.fd, 2, writable, row.mode))
			expect(t, p, poll.Event{Token: 2, Ready: writable | poll.Error})
		})
	}
}

func TestP10_LatestTokenAndInterestWin(t *testing.T) {
	for name, mode := range map[string]poll.Mode{"level": poll.Level, "edge": poll.Edge, "oneshot": poll.OneShot} {
		t.Run(name, func(t *testing.T) {
			p := open(t)
			a, peer := newSocketPair(t)
			peer.write(1)
			must(t, p.Add(a.fd, 1, readable, mode))
			expect(t, p, poll.Event{Token: 1, Ready: readable})
			must(t, p.Modify(a.fd, 2, readable, mode))
			expect(t, p, poll.Event{Token: 2, Ready: readable})
			must(t, p.Modify(a.fd, 3, writable, mode))
			expect(t, p, poll.Event{Token: 3, Ready: writable})
			must(t, p.Modify(a.fd, 3, 0, mode))
			must(t, p.Modify(a.fd, 4, readable|writable, mode)) // both before one Wait
			expect(t, p, poll.Event{Token: 4, Ready: readable | writable})
			must(t, p.Modify(a.fd, 4, 0, mode))
			expect(t, p)
			must(t, p.Remove(a.fd))
			expect(t, p)
			must(t, p.Add(a.fd, 5, readable, mode))
			expect(t, p, poll.Event{Token: 5, Ready: readable})
		})
	}
}

// kernel: the old file's operation has completed ─────────────► must be dropped
// user:            Remove, close, open another under the number, Add ──►
func TestP10_CompletionOfAReusedNumberIsDropped(t *testing.T) {
	for name, mode := range map[string]poll.Mode{"level": poll.Level, "edge": poll.Edge, "oneshot": poll.OneShot} {
		t.Run(name, func(t *testing.T) {
			p := open(t)
			old, w := newPipe(t)
			must(t, p.Add(old.fd, 1, readable, mode))
			expect(t, p)
			w.write(1) // completes, which the next Wait would see
			must(t, p.Remove(old.fd))
			old.close()
			a, peer := newSocketPair(t)
			if a.fd != old.fd {
				t.Fatalf("the number %d was not used again, but %d", old.fd, a.fd)
			}
			must(t, p.Add(a.fd, 2, readable, mode))
			expect(t, p)
			expect(t, p)
			peer.write(1)
			expect(t, p, poll.Event{Token: 2, Ready: readable})
		})
	}
}

// The same with a completion that was posted and did not fit into events.
func TestP10_CompletionThatWaitsItsTurnIsDropped(t *testing.T) {
	p := open(t)
	r1, w1 := newPipe(t)
	r2, w2 := newPipe(t)
	w1.write(1)
	w2.write(1)
	files := map[uint64]*file{1: r1, 2: r2}
	must(t, p.Add(r1.fd, 1, readable, poll.Level))
	must(t, p.Add(r2.fd, 2, readable, poll.Level))
	first := next(t, p, 1)[0].Token
	second := 3 - first
	must(t, p.Remove(files[second].fd))
	must(t, p.Add(files[second].fd, 9, poll.Priority, poll.Level))
	expect(t, p, poll.Event{Token: first, Ready: readable})
	expect(t, p, poll.Event{Token: first, Ready: readable})
}

func TestP14_CloseWithoutRemoveKeepsTheFile(t *testing.T) {
	p := open(t)
	a, peer := newSocketPair(t)
	must(t, p.Add(a.fd, 1, readable, poll.Edge))
	expect(t, p)
	a.close()
	peer.write(1) // nobody has told the peer
	expect(t, p, poll.Event{Token: 1, Ready: readable})
	must(t, p.Remove(a.fd))
	expect(t, p)
	if _, err := unix.Write(peer.fd, []byte{1}); err != unix.EPIPE {
		t.Errorf("write after Remove and Wait: %v, want EPIPE", err)
	}
}

// test: Wait ─► Remove ─► close ─► Wait: lets go
// peer:                                     ──► end of stream
func TestP14_RemoveFirstThenClose(t *testing.T) {
	for name, mode := range map[string]poll.Mode{"level": poll.Level, "edge": poll.Edge, "oneshot": poll.OneShot} {
		t.Run(name, func(t *testing.T) {
			p, watch := open(t), openEpoll(t)
			a, peer := newTCPPair(t)
			must(t, p.Add(a.fd, 1, readable, mode))
			expect(t, p)
			must(t, p.Remove(a.fd))
			a.close()
			expect(t, p)
			must(t, watch.Add(peer.fd, 2, readable|poll.ReadHangUp, poll.Level))
			if got := next(t, watch, 1)[0].Ready; got&poll.ReadHangUp == 0 {
				t.Errorf("the peer sees %v", got)
			}
		})
	}
}

func TestMoreChangesThanTheQueueHolds(t *testing.T) {
	const files = 1000 // the submission queue has 256 entries
	p := open(t)
	var readers []*file
	for token := range uint64(files) {
		r := newEventFD(t, 1)
		readers = append(readers, r)
		must(t, p.Add(r.fd, token, readable, poll.Edge))
	}
	for round := range 3 {
		seen := map[uint64]bool{}
		for len(seen) < files {
			for _, ev := range next(t, p, 64) {
				if seen[ev.Token] {
					t.Fatalf("round %d: token %d twice", round, ev.Token)
				}
				seen[ev.Token] = true
			}
		}
		expect(t, p)
		for token, r := range readers {
			must(t, p.Modify(r.fd, uint64(token), readable, poll.Edge))
		}
	}
	for _, r := range readers {
		must(t, p.Remove(r.fd))
	}
	expect(t, p)
}

// The completion queue has 2048 entries, and multishot operations end when it
// is full: what they stand for must be heard of nevertheless, now and later.
func TestMoreEventsThanTheCompletionQueueHolds(t *testing.T) {
	const files = 600
	p := open(t)
	var readers []*file
	for token := range uint64(files) {
		r := newEventFD(t, 0)
		readers = append(readers, r)
		must(t, p.Add(r.fd, token, readable, poll.Edge))
	}
	expect(t, p)
	for round := range 3 {
		rest := map[uint64]bool{}
		for range 8 { // each is posted by a Wait that has room for one event only
			for token, r := range readers {
				r.count()
				rest[uint64(token)] = true
			}
			for _, ev := range next(t, p, 1) {
				delete(rest, ev.Token)
			}
		}
		for len(rest) > 0 {
			for _, ev := range next(t, p, 64) {
				delete(rest, ev.Token)
			}
		}
		for got := glance(t, p); len(got) > 0; got = glance(t, p) {
		}
		for _, r := range readers[:round] {
			r.count()
		}
		if got := glance(t, p); len(got) != round {
			t.Fatalf("round %d: %d events", round, len(got))
		}
	}
}

func TestErrorsNameTheDescriptor(t *testing.T) {
	p := open(t)
	const want = "io_uring remove fd 77: descriptor is not registered"
	if got := fmt.Sprint(p.Remove(77)); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
