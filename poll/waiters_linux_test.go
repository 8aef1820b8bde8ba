package poll_test

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/poll"
)

// waiter 1: Wait ──────────► event
// waiter 2: Wait ──────────► event
// test:          write ──►
func TestP03_LevelWakesBothWaiters(t *testing.T) {
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		for range 50 {
			p := newPoller(t, b)
			r, w := newPipe(t)
			must(t, p.Add(r.fd, 1, poll.Readable, poll.Level))
			results := newResults()
			startWait(t, p, -1, results)
			second := startWait(t, p, -1, results)
			w.write(1)
			for range 2 {
				equal(t, second.await(t), []poll.Event{{Token: 1, Ready: poll.Readable}})
			}
		}
	})
}

// waiter 1: Wait ──────────► event (or waiter 2)
// waiter 2: Wait ──────────────────────► nothing: only the Wake ends it
// test:          write ──►      Wake ──►
func TestP03_EdgeWakesOneWaiter(t *testing.T) {
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		for range 50 {
			p := newPoller(t, b)
			r, w := newPipe(t)
			err := p.Add(r.fd, 1, poll.Readable, poll.Edge)
			if b != poll.BackendEpoll {
				refused(t, err, string(b), "edge")
				return
			}
			must(t, err)
			results := newResults()
			startWait(t, p, -1, results)
			second := startWait(t, p, -1, results)
			w.write(1)
			equal(t, second.await(t), []poll.Event{{Token: 1, Ready: poll.Readable}})
			must(t, p.Wake())
			equal(t, second.await(t), nil)
		}
	})
}

// waiter 1: Wait(room 1) ──────────► one event
// waiter 2: Wait(room 1) ──────────► the other event
// test:          write, write ──►
func TestP03_TwoEdgesWakeTwoWaiters(t *testing.T) {
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		p := newPoller(t, b)
		var writers []*file
		for token := range uint64(2) {
			r, w := newPipe(t)
			writers = append(writers, w)
			err := p.Add(r.fd, token, poll.Readable, poll.Edge)
			if b != poll.BackendEpoll {
				refused(t, err, string(b), "edge")
				return
			}
			must(t, err)
		}
		for range 200 {
			got := make(chan poll.Event)
			for range 2 {
				go func() {
					var events [1]poll.Event
					if _, err := p.Wait(events[:], watchdog); err != nil {
						t.Error(err)
					}
					got <- events[0]
				}()
			}
			for _, w := range writers {
				w.write(1)
			}
			equal(t, []poll.Event{receive(t, got), receive(t, got)},
				[]poll.Event{{Token: 0, Ready: poll.Readable}, {Token: 1, Ready: poll.Readable}})
		}
	})
}

func TestP07_ExclusiveListenerLosesNoConnection(t *testing.T) {
	const loops, clients = 4, 500
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		l, addr := newListener(t)
		var pollers []poll.Poller
		for range loops {
			p := newPoller(t, b)
			err := p.Add(l.fd, 1, poll.Readable, poll.Exclusive)
			if b != poll.BackendEpoll {
				refused(t, err, string(b), "exclusive", "use epoll")
				return
			}
			must(t, err)
			pollers = append(pollers, p)
		}

		var accepted atomic.Int32
		var done atomic.Bool
		ended := make(chan error)
		for _, p := range pollers {
			go func() {
				ended <- acceptLoop(p, l.fd, &accepted, &done)
			}()
		}
		for range clients {
			if err := dialAndRead(addr.Port); err != nil {
				t.Error(err)
				break
			}
		}
		done.Store(true)
		for _, p := range pollers {
			must(t, p.Wake())
		}
		for range pollers {
			must(t, receive(t, ended))
		}
		if got := accepted.Load(); got != clients {
			t.Errorf("%d connections accepted, want %d", got, clients)
		}
	})
}

// acceptLoop greets every connection with one byte, until done.
func acceptLoop(p poll.Poller, listener int, accepted *atomic.Int32, done *atomic.Bool) error {
	var events [4]poll.Event
	for !done.Load() {
		if _, err := p.Wait(events[:], -1); err != nil {
			return err
		}
		for {
			fd, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
			if err == unix.EAGAIN {
				break
			}
			if err != nil {
				return err
			}
			accepted.Add(1)
			if _, err := unix.Write(fd, []byte{'k'}); err != nil {
				return err
			}
			if err := unix.Close(fd); err != nil {
				return err
			}
		}
	}
	return nil
}

func dialAndRead(port int) error {
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return err
	}
	defer c.Close()
	if got, err := io.ReadAll(c); err != nil || string(got) != "k" {
		return fmt.Errorf("greeting %q, %v", got, err)
	}
	return nil
}

func TestP07_ExclusiveHasLimits(t *testing.T) {
	p := newPoller(t, poll.BackendEpoll)
	a, _ := newSocketPair(t)
	refused(t, p.Add(a.fd, 1, poll.Readable, poll.Exclusive|poll.OneShot), "one-shot")
	refused(t, p.Add(a.fd, 1, poll.Readable|poll.ReadHangUp, poll.Exclusive), "Readable and Writable only")
	refused(t, p.Add(a.fd, 1, poll.Readable|poll.Priority, poll.Exclusive), "Readable and Writable only")
	must(t, p.Add(a.fd, 1, poll.Readable|poll.Writable, poll.Exclusive|poll.Edge))
	refused(t, p.Modify(a.fd, 1, poll.Readable, poll.Exclusive), "remove and add")
	refused(t, p.Modify(a.fd, 1, poll.Readable, poll.Level), "remove and add")
	must(t, p.Remove(a.fd))
	must(t, p.Add(a.fd, 1, poll.Readable, poll.Level))
	must(t, p.Modify(a.fd, 1, poll.Writable, poll.Level))
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
			p := newPoller(t, row.backend)
			f := newEventFD(t, 1)
			must(t, p.Add(f.fd, 0, poll.Readable, row.mode))

			ask := make(chan uint64, 1)
			changed := make(chan error, 1)
			go func() { changed <- modifyWhenAsked(p, f.fd, row.mode, ask) }()
			func() {
				defer close(ask)
				for round := range row.rounds {
					if got := next(t, p, 1)[0]; got != (poll.Event{Token: round, Ready: poll.Readable}) {
						t.Fatalf("round %d: event %v", round, got)
					}
					ask <- round + 1
				}
			}()
			must(t, receive(t, changed))
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
			p := newPoller(t, row.backend)
			var files []*file
			for token := range uint64(waiters) {
				f := newEventFD(t, 0)
				files = append(files, f)
				must(t, p.Add(f.fd, token, poll.Readable, row.mode))
			}

			var done atomic.Bool
			told := make(chan uint64)
			ended := make(chan error)
			for range waiters {
				go func() { ended <- takeTurns(p, files, row.mode, told, &done) }()
			}
			for range rounds {
				for _, f := range files {
					addOne(t, f)
				}
				var seen [waiters]bool
				for range waiters {
					seen[receive(t, told)] = true
				}
				if seen != [waiters]bool{true, true, true, true, true, true, true, true, true, true} {
					t.Fatalf("told by %v", seen)
				}
			}
			done.Store(true)
			for range waiters { // one Wake ends one Wait, so await each
				must(t, p.Wake())
				must(t, receive(t, ended))
			}
		})
	}
}

func takeTurns(p poll.Poller, files []*file, mode poll.Mode, told chan<- uint64, done *atomic.Bool) error {
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
		if _, err := unix.Read(files[token].fd, count[:]); err != nil {
			return fmt.Errorf("token %d: %w", token, err)
		}
		if mode == poll.OneShot {
			if err := p.Modify(files[token].fd, token, poll.Readable, mode); err != nil {
				return err
			}
		}
		told <- token
	}
	return nil
}

// addOne makes an event descriptor readable.
func addOne(t *testing.T, f *file) {
	t.Helper()
	one := [8]byte{1, 1, 1, 1, 1, 1, 1, 1} // the same number in either byte order
	_, err := unix.Write(f.fd, one[:])
	must(t, err)
}
