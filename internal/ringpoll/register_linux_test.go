package ringpoll_test

import (
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/internal/polltest"
	"github.com/epinet/epi/internal/ringpoll"
	"github.com/epinet/epi/poll"
)

var _ poll.Poller = (*ringpoll.Poller)(nil)

func TestP08_DescriptorBeyondTheTableIsNotRegistered(t *testing.T) {
	const never = 1 << 20
	p := open(t)
	if err := p.Modify(never, 2, readable, poll.Level); !errors.Is(err, poll.ErrNotExist) {
		t.Errorf("modify: %v, want ErrNotExist", err)
	}
	if err := p.Remove(never); !errors.Is(err, poll.ErrNotExist) {
		t.Errorf("remove: %v, want ErrNotExist", err)
	}
}

func TestP08_ClosedDescriptorIsReportedAsError(t *testing.T) {
	for name, row := range map[string]struct {
		mode    poll.Mode
		reports int
	}{"level": {poll.Level, 3}, "edge": {poll.Edge, 1}, "oneshot": {poll.OneShot, 1}} {
		t.Run(name, func(t *testing.T) {
			p := open(t)
			r, w := polltest.NewPipe(t)
			r.Close()
			polltest.Must(t, p.Add(r.FD, 1, readable, row.mode))
			for i := range 3 {
				if i < row.reports {
					polltest.Expect(t, p, poll.Event{Token: 1, Ready: poll.Error})
				} else {
					polltest.Expect(t, p)
				}
			}
			polltest.Must(t, p.Remove(r.FD))
			polltest.Expect(t, p)
			polltest.Must(t, p.Add(w.FD, 2, writable, row.mode))
			polltest.Expect(t, p, poll.Event{Token: 2, Ready: writable | poll.Error})
		})
	}
}

// kernel: the old file's operation has completed ─────────────► must be dropped
// user:            Remove, close, open another under the number, Add ──►
func TestP10_CompletionOfAReusedNumberIsDropped(t *testing.T) {
	ring.EachMode(t, func(t *testing.T, mode poll.Mode) {
		p := open(t)
		old, w := polltest.NewPipe(t)
		polltest.Must(t, p.Add(old.FD, 1, readable, mode))
		polltest.Expect(t, p)
		w.Write(1) // completes, which the next Wait would see
		polltest.Must(t, p.Remove(old.FD))
		old.Close()
		a, peer := polltest.NewSocketPair(t)
		if a.FD != old.FD {
			t.Fatalf("the number %d was not used again, but %d", old.FD, a.FD)
		}
		polltest.Must(t, p.Add(a.FD, 2, readable, mode))
		polltest.Expect(t, p)
		polltest.Expect(t, p)
		peer.Write(1)
		polltest.Expect(t, p, poll.Event{Token: 2, Ready: readable})
	})
}

// The same with a completion that was posted and did not fit into events.
func TestP10_CompletionThatWaitsItsTurnIsDropped(t *testing.T) {
	p := open(t)
	r1, w1 := polltest.NewPipe(t)
	r2, w2 := polltest.NewPipe(t)
	w1.Write(1)
	w2.Write(1)
	files := map[uint64]*polltest.File{1: r1, 2: r2}
	polltest.Must(t, p.Add(r1.FD, 1, readable, poll.Level))
	polltest.Must(t, p.Add(r2.FD, 2, readable, poll.Level))
	first := polltest.Next(t, p, 1)[0].Token
	second := 3 - first
	polltest.Must(t, p.Remove(files[second].FD))
	polltest.Must(t, p.Add(files[second].FD, 9, poll.Priority, poll.Level))
	polltest.Expect(t, p, poll.Event{Token: first, Ready: readable})
	polltest.Expect(t, p, poll.Event{Token: first, Ready: readable})
}

func TestP14_CloseWithoutRemoveKeepsTheFile(t *testing.T) {
	p := open(t)
	a, peer := polltest.NewSocketPair(t)
	polltest.Must(t, p.Add(a.FD, 1, readable, poll.Edge))
	polltest.Expect(t, p)
	a.Close()
	peer.Write(1) // nobody has told the peer
	polltest.Expect(t, p, poll.Event{Token: 1, Ready: readable})
	polltest.Must(t, p.Remove(a.FD))
	polltest.Expect(t, p)
	if _, err := unix.Write(peer.FD, []byte{1}); err != unix.EPIPE {
		t.Errorf("write after Remove and Wait: %v, want EPIPE", err)
	}
}

// test: Wait ─► Remove ─► close ─► Wait: lets go
// peer:                                     ──► end of stream
func TestP14_RemoveFirstThenClose(t *testing.T) {
	ring.EachMode(t, func(t *testing.T, mode poll.Mode) {
		p, watch := open(t), polltest.Open(t, poll.BackendEpoll)
		a, peer := polltest.NewTCPPair(t)
		polltest.Must(t, p.Add(a.FD, 1, readable, mode))
		polltest.Expect(t, p)
		polltest.Must(t, p.Remove(a.FD))
		a.Close()
		polltest.Expect(t, p)
		polltest.Must(t, watch.Add(peer.FD, 2, readable|poll.ReadHangUp, poll.Level))
		if got := polltest.Next(t, watch, 1)[0].Ready; got&poll.ReadHangUp == 0 {
			t.Errorf("the peer sees %v", got)
		}
	})
}

func TestMoreChangesThanTheQueueHolds(t *testing.T) {
	const files = 1000 // the submission queue has 256 entries
	p := open(t)
	var readers []*polltest.File
	for token := range uint64(files) {
		r := polltest.NewEventFD(t, 1)
		readers = append(readers, r)
		polltest.Must(t, p.Add(r.FD, token, readable, poll.Edge))
	}
	for round := range 3 {
		seen := map[uint64]bool{}
		for len(seen) < files {
			for _, ev := range polltest.Next(t, p, 64) {
				if seen[ev.Token] {
					t.Fatalf("round %d: token %d twice", round, ev.Token)
				}
				seen[ev.Token] = true
			}
		}
		polltest.Expect(t, p)
		for token, r := range readers {
			polltest.Must(t, p.Modify(r.FD, uint64(token), readable, poll.Edge))
		}
	}
	for _, r := range readers {
		polltest.Must(t, p.Remove(r.FD))
	}
	polltest.Expect(t, p)
}

// The completion queue has 2048 entries, and multishot operations end when it
// is full: what they stand for must be heard of nevertheless, now and later.
func TestMoreEventsThanTheCompletionQueueHolds(t *testing.T) {
	const files = 600
	p := open(t)
	var readers []*polltest.File
	for token := range uint64(files) {
		r := polltest.NewEventFD(t, 0)
		readers = append(readers, r)
		polltest.Must(t, p.Add(r.FD, token, readable, poll.Edge))
	}
	polltest.Expect(t, p)
	for round := range 3 {
		rest := map[uint64]bool{}
		for range 8 { // each is posted by a Wait that has room for one event only
			for token, r := range readers {
				r.Count()
				rest[uint64(token)] = true
			}
			for _, ev := range polltest.Next(t, p, 1) {
				delete(rest, ev.Token)
			}
		}
		for len(rest) > 0 {
			for _, ev := range polltest.Next(t, p, 64) {
				delete(rest, ev.Token)
			}
		}
		for got := polltest.Glance(t, p); len(got) > 0; got = polltest.Glance(t, p) {
		}
		for _, r := range readers[:round] {
			r.Count()
		}
		if got := polltest.Glance(t, p); len(got) != round {
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
