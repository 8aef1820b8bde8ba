package poll_test

import (
	"testing"

	"github.com/epinet/epi/poll"
)

func TestP01_LevelReportsWhileTheConditionHolds(t *testing.T) {
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		p := newPoller(t, b)
		r, w := newPipe(t)
		must(t, p.Add(r.fd, 1, poll.Readable, poll.Level))
		expect(t, p)
		w.write(1)
		for range 3 {
			expect(t, p, poll.Event{Token: 1, Ready: poll.Readable})
		}
		r.drain()
		expect(t, p)
	})
}

func TestP01_EdgeReportsOncePerChange(t *testing.T) {
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		p := newPoller(t, b)
		r, w := newPipe(t)
		err := p.Add(r.fd, 1, poll.Readable, poll.Edge)
		if b != poll.BackendEpoll {
			refused(t, err, string(b), "edge", "use epoll")
			return
		}
		must(t, err)
		for range 3 {
			w.write(1)
			expect(t, p, poll.Event{Token: 1, Ready: poll.Readable})
			expect(t, p)
		}
	})
}

func TestP01_TwoDescriptorsAtOnce(t *testing.T) {
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		p := newPoller(t, b)
		r1, w1 := newPipe(t)
		r2, w2 := newPipe(t)
		must(t, p.Add(r1.fd, 1, poll.Readable, poll.Level))
		must(t, p.Add(r2.fd, 1<<63, poll.Readable, poll.Level))
		w1.write(1)
		w2.write(1)
		for range 2 {
			expect(t, p, poll.Event{Token: 1, Ready: poll.Readable}, poll.Event{Token: 1 << 63, Ready: poll.Readable})
		}
	})
}

func TestP04_HalfReadBuffer(t *testing.T) {
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		level, edge := newPoller(t, b), newPoller(t, b)
		r, w := newPipe(t)
		must(t, level.Add(r.fd, 1, poll.Readable, poll.Level))
		err := edge.Add(r.fd, 1, poll.Readable, poll.Edge)

		w.write(2 << 10)
		event := poll.Event{Token: 1, Ready: poll.Readable}
		expect(t, level, event)
		if b == poll.BackendEpoll {
			must(t, err)
			expect(t, edge, event)
		} else {
			refused(t, err, string(b))
		}
		r.read(1 << 10)
		expect(t, level, event)
		expect(t, edge)
	})
}

func TestP05_SignalGivesThreeEdges(t *testing.T) {
	const signal = "0000111000111000111"
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		for _, row := range []struct {
			mode poll.Mode
			want int
		}{{poll.Level, 9}, {poll.Edge, 3}} {
			p := newPoller(t, b)
			r, w := newPipe(t)
			err := p.Add(r.fd, 1, poll.Readable, row.mode)
			if row.mode == poll.Edge && b != poll.BackendEpoll {
				refused(t, err, string(b), "edge")
				continue
			}
			must(t, err)
			if got := reports(t, p, r, w, signal); got != row.want {
				t.Errorf("mode %d: %d reports of %s, want %d", row.mode, got, signal, row.want)
			}
		}
	})
}

// reports makes the pipe readable and empty as the signal says, and counts how
// often a glance after each digit finds it readable.
func reports(t *testing.T, p poll.Poller, r, w *file, signal string) int {
	t.Helper()
	count, last := 0, '0'
	for _, digit := range signal {
		if digit > last {
			w.write(1)
		}
		if digit < last {
			r.drain()
		}
		last = digit
		n, err := p.Wait(make([]poll.Event, 1), 0)
		must(t, err)
		count += n
	}
	return count
}

func TestP06_OneShotIsSilentUntilModify(t *testing.T) {
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		p := newPoller(t, b)
		r, w := newPipe(t)
		must(t, p.Add(r.fd, 1, poll.Readable, poll.OneShot))
		w.write(1)
		expect(t, p, poll.Event{Token: 1, Ready: poll.Readable})
		w.write(1)
		expect(t, p)

		must(t, p.Modify(r.fd, 2, poll.Readable, poll.OneShot))
		expect(t, p, poll.Event{Token: 2, Ready: poll.Readable})
		w.close() // HangUp cannot be masked, but a disarmed one-shot is silent
		expect(t, p)

		must(t, p.Modify(r.fd, 3, poll.Readable, poll.Level))
		for range 2 {
			if got := next(t, p, 1)[0]; got.Token != 3 || got.Ready&poll.Readable == 0 {
				t.Fatalf("event %v, want token 3 readable", got)
			}
		}
	})
}

// waiter 1: Wait ──────────┐ one of them
// waiter 2: Wait ──────────┘ has the event
// test:            write ──► ; then Wake ──► the other returns without one
func TestP06_OneShotIsReportedToOneWaiter(t *testing.T) {
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		p := newPoller(t, b)
		r, w := newPipe(t)
		must(t, p.Add(r.fd, 1, poll.Readable, poll.OneShot))
		for range 100 {
			results := newResults()
			startWait(t, p, -1, results)
			second := startWait(t, p, -1, results)
			w.write(1)
			equal(t, second.await(t), []poll.Event{{Token: 1, Ready: poll.Readable}})
			must(t, p.Wake())
			equal(t, second.await(t), nil)
			r.drain()
			must(t, p.Modify(r.fd, 1, poll.Readable, poll.OneShot))
		}
	})
}
