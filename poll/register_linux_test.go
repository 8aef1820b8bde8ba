package poll_test

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/poll"
)

func TestP08_ErrorsOfRegistration(t *testing.T) {
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		p := newPoller(t, b)
		r, _ := newPipe(t)
		other, _ := newPipe(t)
		gone, _ := newPipe(t)
		gone.close()
		must(t, p.Add(r.fd, 1, poll.Readable, poll.Level))

		for _, row := range []struct {
			what string
			got  error
			want error
		}{
			{"add twice", p.Add(r.fd, 2, poll.Readable, poll.Level), poll.ErrExist},
			{"modify unknown", p.Modify(other.fd, 2, poll.Readable, poll.Level), poll.ErrNotExist},
			{"remove unknown", p.Remove(other.fd), poll.ErrNotExist},
			{"add closed", p.Add(gone.fd, 2, poll.Readable, poll.Level), unix.EBADF},
			{"modify closed", p.Modify(gone.fd, 2, poll.Readable, poll.Level), unix.EBADF},
			{"remove closed", p.Remove(gone.fd), unix.EBADF},
			{"add -1", p.Add(-1, 2, poll.Readable, poll.Level), unix.EBADF},
			{"modify -1", p.Modify(-1, 2, poll.Readable, poll.Level), unix.EBADF},
			{"remove -1", p.Remove(-1), unix.EBADF},
			{"add reserved token", p.Add(other.fd, poll.ReservedToken, poll.Readable, poll.Level), unix.EINVAL},
			{"modify reserved token", p.Modify(r.fd, poll.ReservedToken, poll.Readable, poll.Level), unix.EINVAL},
		} {
			if !errors.Is(row.got, row.want) {
				t.Errorf("%s: %v, want %v", row.what, row.got, row.want)
			}
		}
		if _, err := p.Wait(nil, 0); !errors.Is(err, unix.EINVAL) {
			t.Errorf("wait without room: %v, want EINVAL", err)
		}
		must(t, p.Remove(r.fd))
		must(t, p.Add(r.fd, 2, poll.Readable, poll.Level))
	})
}

func TestP08_EverythingFailsAfterClose(t *testing.T) {
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		p := newPoller(t, b)
		r, _ := newPipe(t)
		must(t, p.Add(r.fd, 1, poll.Readable, poll.Level))
		must(t, p.Close())
		_, waitErr := p.Wait(make([]poll.Event, 1), -1)
		for what, err := range map[string]error{
			"add":    p.Add(r.fd, 1, poll.Readable, poll.Level),
			"modify": p.Modify(r.fd, 1, poll.Readable, poll.Level),
			"remove": p.Remove(r.fd),
			"wait":   waitErr,
			"wake":   p.Wake(),
			"close":  p.Close(),
		} {
			if !errors.Is(err, poll.ErrClosed) {
				t.Errorf("%s: %v, want ErrClosed", what, err)
			}
		}
	})
}

func TestP10_LatestTokenAndInterestWin(t *testing.T) {
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		p := newPoller(t, b)
		a, peer := newSocketPair(t)
		peer.write(1)
		must(t, p.Add(a.fd, 1, poll.Readable, poll.Level))
		expect(t, p, poll.Event{Token: 1, Ready: poll.Readable})
		must(t, p.Modify(a.fd, 2, poll.Readable, poll.Level))
		expect(t, p, poll.Event{Token: 2, Ready: poll.Readable})
		must(t, p.Modify(a.fd, 3, poll.Writable, poll.Level))
		expect(t, p, poll.Event{Token: 3, Ready: poll.Writable})
		must(t, p.Modify(a.fd, 3, poll.Readable|poll.Writable, poll.Level))
		expect(t, p, poll.Event{Token: 3, Ready: poll.Readable | poll.Writable})
		must(t, p.Modify(a.fd, 3, 0, poll.Level))
		expect(t, p)
		must(t, p.Remove(a.fd))
		expect(t, p)
		must(t, p.Add(a.fd, 4, poll.Readable, poll.Level))
		expect(t, p, poll.Event{Token: 4, Ready: poll.Readable})
	})
}

// waiter: Wait(for ever) ──────────► event, with the latest token
// test:               change ──►
func TestP10_ChangeReachesAWaitUnderWay(t *testing.T) {
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		p := newPoller(t, b)
		r, w := newPipe(t)
		w.write(1)
		for _, row := range []struct {
			what   string
			change func() error
			want   uint64
		}{
			{"add", func() error { return p.Add(r.fd, 1, poll.Readable, poll.OneShot) }, 1},
			{"arm", func() error { return p.Modify(r.fd, 2, poll.Readable, poll.OneShot) }, 2},
			{"level", func() error { return p.Modify(r.fd, 3, poll.Readable, poll.Level) }, 3},
		} {
			results := newResults()
			waiter := startWait(t, p, -1, results)
			must(t, row.change())
			equal(t, waiter.await(t), []poll.Event{{Token: row.want, Ready: poll.Readable}})
		}
		must(t, p.Modify(r.fd, 4, 0, poll.Level))
		waiter := startWait(t, p, -1, newResults())
		must(t, p.Modify(r.fd, 5, poll.Readable, poll.Level))
		equal(t, waiter.await(t), []poll.Event{{Token: 5, Ready: poll.Readable}})
	})
}

// waiter: Wait(for ever) ───────────────────────────────────► nothing, by the Wake
// test:          Remove ──► write to it ──► asleep? ── Wake ──►
func TestP10_RemoveReachesAWaitUnderWay(t *testing.T) {
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		for range 50 {
			p := newPoller(t, b)
			r, w := newPipe(t)
			must(t, p.Add(r.fd, 1, poll.Readable, poll.Level))
			waiter := startWait(t, p, -1, newResults())
			must(t, p.Remove(r.fd))
			w.write(1)
			waiter.awaitAsleep(t)
			must(t, p.Wake())
			equal(t, waiter.await(t), nil)
		}
	})
}

// waiter: Wait(for ever), the kernel holds the socket ─► called back, lets go
// test:          Remove ──► close
// peer:                            read blocks ─────────► end of stream
func TestP10_RemoveLetsASocketClose(t *testing.T) {
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		p := newPoller(t, b)
		a, peer := newTCPPair(t)
		must(t, p.Add(a.fd, 1, poll.Readable, poll.Level))
		waiter := startWait(t, p, -1, newResults())
		must(t, p.Remove(a.fd))
		a.close()
		watch := newPoller(t, poll.BackendEpoll)
		must(t, watch.Add(peer.fd, 2, poll.Readable|poll.ReadHangUp, poll.Level))
		eventually(t, watch, poll.Event{Token: 2, Ready: poll.Readable | poll.ReadHangUp})
		must(t, p.Wake())
		equal(t, waiter.await(t), nil)
	})
}

// goroutine 1: Add, Modify, Remove, Add ... of descriptors that are ready
// goroutine 2: Wait, Wait ...: each token it is given was registered at some time
// test:        Remove all ──► silence, and the next Add speaks
func TestP10_ChurnUnderWait(t *testing.T) {
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		const files, rounds = 8, 1000
		p := newPoller(t, b)
		waiters := make(chan error)
		for range 2 {
			go func() { waiters <- waitUntilToken(p, files, files+1) }()
		}
		churners := make(chan error)
		for i := range uint64(files) {
			f := newEventFD(t, 1)
			go func() { churners <- churn(p, f.fd, i, rounds) }()
		}
		for range files {
			must(t, receive(t, churners))
		}
		last := newEventFD(t, 1)
		must(t, p.Add(last.fd, files, poll.Readable, poll.Level))
		for range 2 {
			must(t, receive(t, waiters))
		}
		expect(t, p, poll.Event{Token: files, Ready: poll.Readable})
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
		p := newPoller(t, b)
		r, w := newPipe(t)
		other, otherWriter := newPipe(t)
		must(t, p.Add(r.fd, 1, poll.Readable, poll.Level))
		must(t, p.Add(other.fd, 2, poll.Readable, poll.Level))
		w.write(1)
		otherWriter.write(1)
		r.close()

		otherEvent := poll.Event{Token: 2, Ready: poll.Readable}
		if b == poll.BackendEpoll {
			expect(t, p, otherEvent)
			if err := p.Remove(r.fd); !errors.Is(err, unix.EBADF) {
				t.Errorf("Remove after close: %v, want EBADF", err)
			}
			return
		}
		// The table is ours, so its owner is told, and the others are served.
		for range 2 {
			expect(t, p, otherEvent, poll.Event{Token: 1, Ready: poll.Error})
		}
		must(t, p.Remove(r.fd))
		expect(t, p, otherEvent)
	})
}

func TestP14_CloseOfTheOnlyOneDoesNotSleep(t *testing.T) {
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		p := newPoller(t, b)
		r, _ := newPipe(t)
		must(t, p.Add(r.fd, 1, poll.Readable, poll.Level))
		r.close()
		if b == poll.BackendEpoll {
			expect(t, p)
			return
		}
		equal(t, next(t, p, 1), []poll.Event{{Token: 1, Ready: poll.Error}})
	})
}

func TestP14_DuplicateKeepsTheRegistration(t *testing.T) {
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		p := newPoller(t, b)
		r, w := newPipe(t)
		fd, err := unix.FcntlInt(uintptr(r.fd), unix.F_DUPFD_CLOEXEC, 0)
		duplicate := newFile(t, fd, err)
		must(t, p.Add(r.fd, 1, poll.Readable, poll.Level))
		w.write(1)
		r.close()
		if b != poll.BackendEpoll {
			// These watch the number, which is closed, and not the pipe.
			expect(t, p, poll.Event{Token: 1, Ready: poll.Error})
			return
		}
		// epoll watches the pipe, and nothing ends that any more ...
		expect(t, p, poll.Event{Token: 1, Ready: poll.Readable})
		if err := p.Remove(r.fd); !errors.Is(err, unix.EBADF) {
			t.Errorf("Remove of the closed number: %v, want EBADF", err)
		}
		if err := p.Remove(duplicate.fd); !errors.Is(err, poll.ErrNotExist) {
			t.Errorf("Remove of the duplicate: %v, want ErrNotExist", err)
		}
		expect(t, p, poll.Event{Token: 1, Ready: poll.Readable})
		// ... but the close of the last duplicate.
		duplicate.close()
		expect(t, p)
	})
}

func TestP14_RemoveFirstThenClose(t *testing.T) {
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		p := newPoller(t, b)
		r, w := newPipe(t)
		fd, err := unix.FcntlInt(uintptr(r.fd), unix.F_DUPFD_CLOEXEC, 0)
		newFile(t, fd, err)
		must(t, p.Add(r.fd, 1, poll.Readable, poll.Level))
		w.write(1)
		must(t, p.Remove(r.fd))
		r.close()
		expect(t, p)
	})
}

// duplicateAt returns a duplicate of f whose number is at least least.
func duplicateAt(t *testing.T, f *file, least int) *file {
	t.Helper()
	fd, err := unix.FcntlInt(uintptr(f.fd), unix.F_DUPFD_CLOEXEC, least)
	return newFile(t, fd, err)
}

func TestP19_SelectRefusesHighDescriptors(t *testing.T) {
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		p := newPoller(t, b)
		r, w := newPipe(t)
		high := duplicateAt(t, r, 1500)
		w.write(1)
		err := p.Add(high.fd, 1, poll.Readable, poll.Level)
		if b == poll.BackendSelect {
			refused(t, err, "fd 1500", "FD_SETSIZE (1024)", "use poll or epoll")
			expect(t, p)
			return
		}
		must(t, err)
		expect(t, p, poll.Event{Token: 1, Ready: poll.Readable})
	})
}

func TestP19_TheBoundIsExact(t *testing.T) {
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		p := newPoller(t, b)
		r, w := newPipe(t)
		last, beyond := duplicateAt(t, r, 1023), duplicateAt(t, r, 1024)
		if last.fd != 1023 || beyond.fd != 1024 {
			t.Fatalf("descriptors %d and %d are in use", last.fd, beyond.fd)
		}
		w.write(1)
		must(t, p.Add(last.fd, 1, poll.Readable, poll.Level))
		expect(t, p, poll.Event{Token: 1, Ready: poll.Readable})
		if err := p.Add(beyond.fd, 2, poll.Readable, poll.Level); (err != nil) != (b == poll.BackendSelect) {
			t.Errorf("Add of 1024: %v", err)
		}
	})
}

func TestP19_TheSetsSurviveTheCall(t *testing.T) {
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		p := newPoller(t, b)
		r1, w1 := newPipe(t)
		r2, w2 := newPipe(t)
		must(t, p.Add(r1.fd, 1, poll.Readable, poll.Level))
		must(t, p.Add(r2.fd, 2, poll.Readable, poll.Level))
		for range 3 { // each call clears the bits of the one that is not ready
			w1.write(1)
			expect(t, p, poll.Event{Token: 1, Ready: poll.Readable})
			r1.drain()
			w2.write(1)
			expect(t, p, poll.Event{Token: 2, Ready: poll.Readable})
			r2.drain()
			expect(t, p)
		}
	})
}
