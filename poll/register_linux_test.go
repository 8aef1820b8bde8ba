package poll_test

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/internal/polltest"
	"github.com/epinet/epi/poll"
)

func TestP08_ClosedDescriptorIsRefused(t *testing.T) {
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		p := polltest.Open(t, b)
		gone, _ := polltest.NewPipe(t)
		gone.Close()
		for what, err := range map[string]error{
			"add":    p.Add(gone.FD, 1, poll.Readable, poll.Level),
			"modify": p.Modify(gone.FD, 1, poll.Readable, poll.Level),
			"remove": p.Remove(gone.FD),
		} {
			if !errors.Is(err, unix.EBADF) {
				t.Errorf("%s: %v, want EBADF", what, err)
			}
		}
	})
}

// waiter: Wait(for ever) ──────────► event, with the latest token
// test:               change ──►
func TestP10_ChangeReachesAWaitUnderWay(t *testing.T) {
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		p := polltest.Open(t, b)
		r, w := polltest.NewPipe(t)
		w.Write(1)
		for _, row := range []struct {
			what   string
			change func() error
			want   uint64
		}{
			{"add", func() error { return p.Add(r.FD, 1, poll.Readable, poll.OneShot) }, 1},
			{"arm", func() error { return p.Modify(r.FD, 2, poll.Readable, poll.OneShot) }, 2},
			{"level", func() error { return p.Modify(r.FD, 3, poll.Readable, poll.Level) }, 3},
		} {
			waiter := startWaits(t, p, 1)
			polltest.Must(t, row.change())
			polltest.Equal(t, waiter.await(), poll.Event{Token: row.want, Ready: poll.Readable})
		}
		polltest.Must(t, p.Modify(r.FD, 4, 0, poll.Level))
		waiter := startWaits(t, p, 1)
		polltest.Must(t, p.Modify(r.FD, 5, poll.Readable, poll.Level))
		polltest.Equal(t, waiter.await(), poll.Event{Token: 5, Ready: poll.Readable})
	})
}

// waiter: Wait(for ever) ───────────────────────────────────► nothing, by the Wake
// test:          Remove ──► write to it ──► asleep? ── Wake ──►
func TestP10_RemoveReachesAWaitUnderWay(t *testing.T) {
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		for range 50 {
			p := polltest.Open(t, b)
			r, w := polltest.NewPipe(t)
			polltest.Must(t, p.Add(r.FD, 1, poll.Readable, poll.Level))
			waiter := startWaits(t, p, 1)
			polltest.Must(t, p.Remove(r.FD))
			w.Write(1)
			polltest.Must(t, polltest.AwaitAsleep(waiter.tid))
			polltest.Must(t, p.Wake())
			polltest.Equal(t, waiter.await())
		}
	})
}

// waiter: Wait(for ever), the kernel holds the socket ─► called back, lets go
// test:          Remove ──► close
// peer:                            read blocks ─────────► end of stream
func TestP10_RemoveLetsASocketClose(t *testing.T) {
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		p := polltest.Open(t, b)
		a, peer := polltest.NewTCPPair(t)
		polltest.Must(t, p.Add(a.FD, 1, poll.Readable, poll.Level))
		waiter := startWaits(t, p, 1)
		polltest.Must(t, p.Remove(a.FD))
		a.Close()
		watch := polltest.Open(t, poll.BackendEpoll)
		polltest.Must(t, watch.Add(peer.FD, 2, poll.Readable|poll.ReadHangUp, poll.Level))
		polltest.Eventually(t, watch, poll.Event{Token: 2, Ready: poll.Readable | poll.ReadHangUp})
		polltest.Must(t, p.Wake())
		polltest.Equal(t, waiter.await())
	})
}

// goroutine 1: Add, Modify, Remove, Add ... of descriptors that are ready
// goroutine 2: Wait, Wait ...: each token it is given was registered at some time
// test:        Remove all ──► silence, and the next Add speaks
func TestP10_ChurnUnderWait(t *testing.T) {
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		const files, rounds = 8, 1000
		p := polltest.Open(t, b)
		waiters := make(chan error)
		for range 2 {
			go func() { waiters <- waitUntilToken(p, files, files+1) }()
		}
		churners := make(chan error)
		for i := range uint64(files) {
			f := polltest.NewEventFD(t, 1)
			go func() { churners <- churn(p, f.FD, i, rounds) }()
		}
		for range files {
			polltest.Must(t, polltest.Receive(t, churners))
		}
		last := polltest.NewEventFD(t, 1)
		polltest.Must(t, p.Add(last.FD, files, poll.Readable, poll.Level))
		for range 2 {
			polltest.Must(t, polltest.Receive(t, waiters))
		}
		polltest.Expect(t, p, poll.Event{Token: files, Ready: poll.Readable})
	})
}

func churn(p poll.Poller, fd int, token uint64, rounds int) error {
	for range rounds {
		err := errors.Join(
			p.Add(fd, token, poll.Readable, poll.OneShot),
			p.Modify(fd, token, poll.Readable, poll.Level),
			p.Modify(fd, token, poll.Writable, poll.OneShot),
			p.Remove(fd))
		if err != nil {
			return err
		}
	}
	return nil
}

// waitUntilToken takes events until it is given last.
func waitUntilToken(p poll.Poller, last, bound uint64) error {
	var events [4]poll.Event
	for {
		n, err := p.Wait(events[:], -1)
		if err != nil {
			return err
		}
		for _, event := range events[:n] {
			if event.Token >= bound || event.Ready == 0 {
				return errors.New("event of nobody")
			}
			if event.Token == last {
				return nil
			}
		}
	}
}

func TestP14_CloseWithoutRemove(t *testing.T) {
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		p := polltest.Open(t, b)
		r, w := polltest.NewPipe(t)
		other, otherWriter := polltest.NewPipe(t)
		polltest.Must(t, p.Add(r.FD, 1, poll.Readable, poll.Level))
		polltest.Must(t, p.Add(other.FD, 2, poll.Readable, poll.Level))
		w.Write(1)
		otherWriter.Write(1)
		r.Close()

		otherEvent := poll.Event{Token: 2, Ready: poll.Readable}
		if b == poll.BackendEpoll {
			polltest.Expect(t, p, otherEvent)
			if err := p.Remove(r.FD); !errors.Is(err, unix.EBADF) {
				t.Errorf("Remove after close: %v, want EBADF", err)
			}
			return
		}
		// The table is ours, so its owner gets an error, and the others are served.
		for range 2 {
			polltest.Expect(t, p, otherEvent, poll.Event{Token: 1, Ready: poll.Error})
		}
		polltest.Must(t, p.Remove(r.FD))
		polltest.Expect(t, p, otherEvent)
	})
}

func TestP14_CloseOfTheOnlyOneDoesNotSleep(t *testing.T) {
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		p := polltest.Open(t, b)
		r, _ := polltest.NewPipe(t)
		polltest.Must(t, p.Add(r.FD, 1, poll.Readable, poll.Level))
		r.Close()
		if b == poll.BackendEpoll {
			polltest.Expect(t, p)
			return
		}
		polltest.Equal(t, polltest.Next(t, p, 1), poll.Event{Token: 1, Ready: poll.Error})
	})
}

func TestP14_DuplicateKeepsTheRegistration(t *testing.T) {
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		p := polltest.Open(t, b)
		r, w := polltest.NewPipe(t)
		fd, err := unix.FcntlInt(uintptr(r.FD), unix.F_DUPFD_CLOEXEC, 0)
		duplicate := polltest.NewFile(t, fd, err)
		polltest.Must(t, p.Add(r.FD, 1, poll.Readable, poll.Level))
		w.Write(1)
		r.Close()
		if b != poll.BackendEpoll {
			// These watch the number, which is closed, and not the pipe.
			polltest.Expect(t, p, poll.Event{Token: 1, Ready: poll.Error})
			return
		}
		// epoll watches the pipe, and nothing ends that any more ...
		polltest.Expect(t, p, poll.Event{Token: 1, Ready: poll.Readable})
		if err := p.Remove(r.FD); !errors.Is(err, unix.EBADF) {
			t.Errorf("Remove of the closed number: %v, want EBADF", err)
		}
		if err := p.Remove(duplicate.FD); !errors.Is(err, poll.ErrNotExist) {
			t.Errorf("Remove of the duplicate: %v, want ErrNotExist", err)
		}
		polltest.Expect(t, p, poll.Event{Token: 1, Ready: poll.Readable})
		// ... but the close of the last duplicate.
		duplicate.Close()
		polltest.Expect(t, p)
	})
}

func TestP14_RemoveFirstThenClose(t *testing.T) {
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		p := polltest.Open(t, b)
		r, w := polltest.NewPipe(t)
		fd, err := unix.FcntlInt(uintptr(r.FD), unix.F_DUPFD_CLOEXEC, 0)
		polltest.NewFile(t, fd, err)
		polltest.Must(t, p.Add(r.FD, 1, poll.Readable, poll.Level))
		w.Write(1)
		polltest.Must(t, p.Remove(r.FD))
		r.Close()
		polltest.Expect(t, p)
	})
}

// duplicateAt returns a duplicate of f whose number is at least least.
func duplicateAt(t *testing.T, f *polltest.File, least int) *polltest.File {
	t.Helper()
	fd, err := unix.FcntlInt(uintptr(f.FD), unix.F_DUPFD_CLOEXEC, least)
	return polltest.NewFile(t, fd, err)
}

func TestP19_SelectRefusesHighDescriptors(t *testing.T) {
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		p := polltest.Open(t, b)
		r, w := polltest.NewPipe(t)
		high := duplicateAt(t, r, 1500)
		w.Write(1)
		err := p.Add(high.FD, 1, poll.Readable, poll.Level)
		if b == poll.BackendSelect {
			refused(t, err, "fd 1500", "FD_SETSIZE (1024)", "use poll or epoll")
			polltest.Expect(t, p)
			return
		}
		polltest.Must(t, err)
		polltest.Expect(t, p, poll.Event{Token: 1, Ready: poll.Readable})
	})
}

func TestP19_TheBoundIsExact(t *testing.T) {
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		p := polltest.Open(t, b)
		r, w := polltest.NewPipe(t)
		last, beyond := duplicateAt(t, r, 1023), duplicateAt(t, r, 1024)
		if last.FD != 1023 || beyond.FD != 1024 {
			t.Fatalf("descriptors %d and %d are in use", last.FD, beyond.FD)
		}
		w.Write(1)
		polltest.Must(t, p.Add(last.FD, 1, poll.Readable, poll.Level))
		polltest.Expect(t, p, poll.Event{Token: 1, Ready: poll.Readable})
		if err := p.Add(beyond.FD, 2, poll.Readable, poll.Level); (err != nil) != (b == poll.BackendSelect) {
			t.Errorf("Add of 1024: %v", err)
		}
	})
}

func TestP19_TheSetsSurviveTheCall(t *testing.T) {
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		p := polltest.Open(t, b)
		r1, w1 := polltest.NewPipe(t)
		r2, w2 := polltest.NewPipe(t)
		polltest.Must(t, p.Add(r1.FD, 1, poll.Readable, poll.Level))
		polltest.Must(t, p.Add(r2.FD, 2, poll.Readable, poll.Level))
		for range 3 { // each call clears the bits of the one that is not ready
			w1.Write(1)
			polltest.Expect(t, p, poll.Event{Token: 1, Ready: poll.Readable})
			r1.Drain()
			w2.Write(1)
			polltest.Expect(t, p, poll.Event{Token: 2, Ready: poll.Readable})
			r2.Drain()
			polltest.Expect(t, p)
		}
	})
}
