package poll_test

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/internal/polltest"
	"github.com/epinet/epi/poll"
)

// waiter 1: Wait ──────────► event
// waiter 2: Wait ──────────► event
// test:          write ──►
func TestP03_LevelWakesBothWaiters(t *testing.T) {
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		for range 50 {
			p := polltest.Open(t, b)
			r, w := polltest.NewPipe(t)
			polltest.Must(t, p.Add(r.FD, 1, poll.Readable, poll.Level))
			waiters := startWaits(t, p, 2)
			w.Write(1)
			for range 2 {
				polltest.Equal(t, waiters.await(), poll.Event{Token: 1, Ready: poll.Readable})
			}
		}
	})
}

// waiter 1: Wait ──────────► event (or waiter 2)
// waiter 2: Wait ──────────────────────► nothing: only the Wake ends it
// test:          write ──►      Wake ──►
func TestP03_EdgeWakesOneWaiter(t *testing.T) {
	for range 50 {
		p := polltest.Open(t, poll.BackendEpoll)
		r, w := polltest.NewPipe(t)
		polltest.Must(t, p.Add(r.FD, 1, poll.Readable, poll.Edge))
		waiters := startWaits(t, p, 2)
		w.Write(1)
		polltest.Equal(t, waiters.await(), poll.Event{Token: 1, Ready: poll.Readable})
		polltest.Must(t, p.Wake())
		polltest.Equal(t, waiters.await())
	}
}

// waiter 1: Wait(room 1) ──────────► one event
// waiter 2: Wait(room 1) ──────────► the other event
// test:          write, write ──►
func TestP03_TwoEdgesWakeTwoWaiters(t *testing.T) {
	p := polltest.Open(t, poll.BackendEpoll)
	var writers []*polltest.File
	for token := range uint64(2) {
		r, w := polltest.NewPipe(t)
		writers = append(writers, w)
		polltest.Must(t, p.Add(r.FD, token, poll.Readable, poll.Edge))
	}
	for range 200 {
		got := make(chan poll.Event)
		for range 2 {
			go func() {
				var events [1]poll.Event
				if _, err := p.Wait(events[:], polltest.Watchdog); err != nil {
					t.Error(err)
				}
				got <- events[0]
			}()
		}
		for _, w := range writers {
			w.Write(1)
		}
		polltest.Equal(t, []poll.Event{polltest.Receive(t, got), polltest.Receive(t, got)},
			poll.Event{Token: 0, Ready: poll.Readable}, poll.Event{Token: 1, Ready: poll.Readable})
	}
}

// waiter 1: Wait ──────────┐ one of them
// waiter 2: Wait ──────────┘ has the event
// test:            write ──► ; then Wake ──► the other returns without one
func TestP06_OneShotIsReportedToOneWaiter(t *testing.T) {
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		p := polltest.Open(t, b)
		r, w := polltest.NewPipe(t)
		polltest.Must(t, p.Add(r.FD, 1, poll.Readable, poll.OneShot))
		for range 100 {
			waiters := startWaits(t, p, 2)
			w.Write(1)
			polltest.Equal(t, waiters.await(), poll.Event{Token: 1, Ready: poll.Readable})
			polltest.Must(t, p.Wake())
			polltest.Equal(t, waiters.await())
			r.Drain()
			polltest.Must(t, p.Modify(r.FD, 1, poll.Readable, poll.OneShot))
		}
	})
}

func TestP07_ExclusiveHasLimits(t *testing.T) {
	p := polltest.Open(t, poll.BackendEpoll)
	a, _ := polltest.NewSocketPair(t)
	refused(t, p.Add(a.FD, 1, poll.Readable, poll.Exclusive|poll.OneShot), "one-shot")
	refused(t, p.Add(a.FD, 1, poll.Readable|poll.ReadHangUp, poll.Exclusive), "Readable and Writable only")
	refused(t, p.Add(a.FD, 1, poll.Readable|poll.Priority, poll.Exclusive), "Readable and Writable only")
	polltest.Must(t, p.Add(a.FD, 1, poll.Readable|poll.Writable, poll.Exclusive|poll.Edge))
	refused(t, p.Modify(a.FD, 1, poll.Readable, poll.Exclusive), "remove and add")
	refused(t, p.Modify(a.FD, 1, poll.Readable, poll.Level), "remove and add")
	polltest.Must(t, p.Remove(a.FD))
	polltest.Must(t, p.Add(a.FD, 1, poll.Readable, poll.Level))
	polltest.Must(t, p.Modify(a.FD, 1, poll.Writable, poll.Level))
}

// waiter:  event ─► ask ─► Wait ............ ─► event ─► ask ─► ...
// changer:              └──► Modify (races with the kernel's going to sleep)
// The descriptor is always readable: each Modify must give one event.
func TestP09_ModifyRacesWait(t *testing.T) {
	for _, row := range []struct {
		backend poll.Backend
		mode    poll.Mode
		name    string
		rounds  uint64 // fewer where Modify has to call the waiter back
	}{
		{poll.BackendSelect, poll.OneShot, "one-shot", 20_000},
		{poll.BackendPoll, poll.OneShot, "one-shot", 20_000},
		{poll.BackendEpoll, poll.OneShot, "one-shot", 100_000},
		{poll.BackendEpoll, poll.Edge, "edge", 100_000},
	} {
		t.Run(fmt.Sprintf("%s/%s", row.backend, row.name), func(t *testing.T) {
			p := polltest.Open(t, row.backend)
			f := polltest.NewEventFD(t, 1)
			polltest.Must(t, p.Add(f.FD, 0, poll.Readable, row.mode))

			ask := make(chan uint64, 1)
			changed := make(chan error, 1)
			go func() { changed <- modifyWhenAsked(p, f.FD, row.mode, ask) }()
			func() {
				defer close(ask)
				for round := range row.rounds {
					if got := polltest.Next(t, p, 1)[0]; got != (poll.Event{Token: round, Ready: poll.Readable}) {
						t.Fatalf("round %d: event %v", round, got)
					}
					ask <- round + 1
				}
			}()
			polltest.Must(t, polltest.Receive(t, changed))
		})
	}
}

// modifyWhenAsked spins for a while before it blocks: to be woken takes so long
// that the waiter would be asleep by then, and the race left out.
func modifyWhenAsked(p poll.Poller, fd int, mode poll.Mode, ask <-chan uint64) error {
	const spins = 100
	for {
		for range spins {
			if len(ask) > 0 {
				break
			}
			runtime.Gosched()
		}
		token, ok := <-ask
		if !ok {
			return nil
		}
		if err := p.Modify(fd, token, poll.Readable, mode); err != nil {
			return err
		}
	}
}

// test:       write to all ten ─────────────► collect ten distinct tokens, repeat
// waiter 1..10: Wait(room 1) ─► drain ─► arm ─► tell ─► Wait ...
// Waiters that have told already may steal an event, but none may be lost.
func TestP09_TenWaitersLoseNoWakeUp(t *testing.T) {
	const waiters, rounds = 10, 300
	for _, row := range []struct {
		backend poll.Backend
		mode    poll.Mode
		name    string
	}{
		{poll.BackendSelect, poll.OneShot, "one-shot"},
		{poll.BackendPoll, poll.OneShot, "one-shot"},
		{poll.BackendEpoll, poll.OneShot, "one-shot"},
		{poll.BackendEpoll, poll.Edge, "edge"},
	} {
		t.Run(fmt.Sprintf("%s/%s", row.backend, row.name), func(t *testing.T) {
			p := polltest.Open(t, row.backend)
			var files []*polltest.File
			for token := range uint64(waiters) {
				f := polltest.NewEventFD(t, 0)
				files = append(files, f)
				polltest.Must(t, p.Add(f.FD, token, poll.Readable, row.mode))
			}

			var done atomic.Bool
			told := make(chan uint64)
			ended := make(chan error)
			for range waiters {
				go func() { ended <- takeTurns(p, files, row.mode, told, &done) }()
			}
			for range rounds {
				for _, f := range files {
					f.Count()
				}
				var seen [waiters]bool
				for range waiters {
					seen[polltest.Receive(t, told)] = true
				}
				if seen != [waiters]bool{true, true, true, true, true, true, true, true, true, true} {
					t.Fatalf("told by %v", seen)
				}
			}
			done.Store(true)
			for range waiters { // one Wake ends one Wait, so await each
				polltest.Must(t, p.Wake())
				polltest.Must(t, polltest.Receive(t, ended))
			}
		})
	}
}

func takeTurns(p poll.Poller, files []*polltest.File, mode poll.Mode, told chan<- uint64, done *atomic.Bool) error {
	var events [1]poll.Event
	var count [8]byte
	for !done.Load() {
		n, err := p.Wait(events[:], -1)
		if err != nil {
			return err
		}
		if n == 0 {
			continue
		}
		token := events[0].Token
		if _, err := unix.Read(files[token].FD, count[:]); err != nil {
			return fmt.Errorf("token %d: %w", token, err)
		}
		if mode == poll.OneShot {
			if err := p.Modify(files[token].FD, token, poll.Readable, mode); err != nil {
				return err
			}
		}
		told <- token
	}
	return nil
}

// waiter: Wait ─► asleep ─► returns, three of them one after the other
// test:             Wake ──►
func TestP16_EachWakeEndsOneOfSeveralWaits(t *testing.T) {
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		p := polltest.Open(t, b)
		for _, n := range []int{3, 1} {
			waiters := startWaits(t, p, n)
			for range n {
				polltest.Must(t, p.Wake())
				polltest.Equal(t, waiters.await())
			}
		}
	})
}
