package ringpoll_test

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/poll"
)

const (
	readable = poll.Readable
	writable = poll.Writable
	all      = poll.Readable | poll.Writable | poll.Priority | poll.ReadHangUp
)

func TestP01_LevelReportsWhileTheConditionHolds(t *testing.T) {
	p := open(t)
	r, w := newPipe(t)
	must(t, p.Add(r.fd, 1, readable, poll.Level))
	expect(t, p)
	w.write(1)
	for range 3 {
		expect(t, p, poll.Event{Token: 1, Ready: readable})
	}
	r.drain()
	expect(t, p)
}

func TestP01_EdgeReportsOncePerChange(t *testing.T) {
	p := open(t)
	r, w := newPipe(t)
	must(t, p.Add(r.fd, 1, readable, poll.Edge))
	for range 3 {
		w.write(1)
		expect(t, p, poll.Event{Token: 1, Ready: readable})
		expect(t, p)
	}
}

func TestP01_TwoDescriptorsAtOnce(t *testing.T) {
	p := open(t)
	r1, w1 := newPipe(t)
	r2, w2 := newPipe(t)
	must(t, p.Add(r1.fd, 1, readable, poll.Level))
	must(t, p.Add(r2.fd, 1<<63, readable, poll.Level))
	w1.write(1)
	w2.write(1)
	for range 2 {
		expect(t, p, poll.Event{Token: 1, Ready: readable}, poll.Event{Token: 1 << 63, Ready: readable})
	}
}

func TestP04_HalfReadBuffer(t *testing.T) {
	level, edge := open(t), open(t)
	r, w := newPipe(t)
	must(t, level.Add(r.fd, 1, readable, poll.Level))
	must(t, edge.Add(r.fd, 1, readable, poll.Edge))
	w.write(2 << 10)
	expect(t, level, poll.Event{Token: 1, Ready: readable})
	expect(t, edge, poll.Event{Token: 1, Ready: readable})
	r.read(1 << 10)
	expect(t, level, poll.Event{Token: 1, Ready: readable})
	expect(t, edge)
}

func TestP05_SignalGivesThreeEdges(t *testing.T) {
	const signal = "0000111000111000111"
	for _, row := range []struct {
		mode poll.Mode
		want int
	}{{poll.Level, 9}, {poll.Edge, 3}} {
		p := open(t)
		r, w := newPipe(t)
		must(t, p.Add(r.fd, 1, readable, row.mode))
		reports, last := 0, '0'
		for _, digit := range signal {
			if digit > last {
				w.write(1)
			}
			if digit < last {
				r.drain()
			}
			last = digit
			reports += len(glance(t, p))
		}
		if reports != row.want {
			t.Errorf("mode %d: %d reports of %s, want %d", row.mode, reports, signal, row.want)
		}
	}
}

func TestP06_OneShotIsSilentUntilModify(t *testing.T) {
	p := open(t)
	r, w := newPipe(t)
	must(t, p.Add(r.fd, 1, readable, poll.OneShot))
	w.write(1)
	expect(t, p, poll.Event{Token: 1, Ready: readable})
	w.write(1)
	expect(t, p)
	must(t, p.Modify(r.fd, 2, readable, poll.OneShot))
	expect(t, p, poll.Event{Token: 2, Ready: readable})
	w.close() // HangUp cannot be masked, but a disarmed one-shot is silent
	expect(t, p)
	must(t, p.Modify(r.fd, 3, readable, poll.Level))
	for range 2 {
		expect(t, p, poll.Event{Token: 3, Ready: readable | poll.HangUp})
	}
}

// loops:   Wait ──► asleep, both on one listener
// clients:            connect, one after the other ──► one loop at a time wakes
func TestP07_EveryConnectionIsAcceptedOnce(t *testing.T) {
	const loops, clients = 3, 60
	open(t) // or skip
	for name, mode := range map[string]poll.Mode{"level": poll.Level, "exclusive": poll.Exclusive} {
		t.Run(name, func(t *testing.T) {
			l, addr := newListener(t)
			accepted, stopped, pollers := make(chan int), make(chan error), make(chan poll.Poller)
			for range loops {
				go func() { stopped <- accept(l.fd, mode, accepted, pollers) }()
			}
			var wakes []func() error
			for range loops {
				wakes = append(wakes, (<-pollers).Wake)
			}
			for range clients {
				dial(t, addr)
				newFile(t, <-accepted, nil)
			}
			for _, wake := range wakes {
				must(t, wake())
			}
			for range loops {
				must(t, <-stopped)
			}
		})
	}
}

// Pollers that wait for the same listener: a connection comes to one of them.
func TestP07_ExclusiveWakesOneOfSeveral(t *testing.T) {
	for name, row := range map[string]struct {
		mode poll.Mode
		want int
	}{"level": {poll.Level, 3}, "exclusive": {poll.Exclusive, 1}, "exclusive edge": {poll.Exclusive | poll.Edge, 1}} {
		t.Run(name, func(t *testing.T) {
			l, addr := newListener(t)
			pollers := []poll.Poller{open(t), open(t), open(t)}
			for _, p := range pollers {
				must(t, p.Add(l.fd, 1, readable, row.mode))
				expect(t, p)
			}
			dial(t, addr)
			woken := 0
			for _, p := range pollers {
				woken += len(glance(t, p))
			}
			if woken != row.want {
				t.Errorf("%d of %d are told, want %d", woken, len(pollers), row.want)
			}
		})
	}
}

func TestP11_MasksAreThoseOfEpoll(t *testing.T) {
	for _, row := range []struct {
		name string
		pair func(testing.TB) (a, b *file) // a is watched
		act  func(a, peer *file)
	}{
		{"tcp/idle", newTCPPair, func(_, _ *file) {}},
		{"tcp/data", newTCPPair, func(_, peer *file) { peer.write(1) }},
		{"tcp/full", newTCPPair, func(a, _ *file) { a.fill() }},
		{"tcp/full and data", newTCPPair, func(a, peer *file) { a.fill(); peer.write(1) }},
		{"tcp/full and peer shut down writing", newTCPPair, func(a, peer *file) { a.fill(); peer.shutdown(unix.SHUT_WR) }},
		{"tcp/peer shut down writing", newTCPPair, func(_, peer *file) { peer.shutdown(unix.SHUT_WR) }},
		{"tcp/peer closed", newTCPPair, func(_, peer *file) { peer.close() }},
		{"tcp/both shut down", newTCPPair, func(a, peer *file) { peer.shutdown(unix.SHUT_WR); a.shutdown(unix.SHUT_WR) }},
		{"tcp/reset", newTCPPair, func(_, peer *file) { peer.reset() }},
		{"unix/peer shut down writing", newSocketPair, func(_, peer *file) { peer.shutdown(unix.SHUT_WR) }},
		{"unix/peer closed", newSocketPair, func(_, peer *file) { peer.close() }},
		{"unix/peer closed with unread data", newSocketPair, func(a, peer *file) { a.write(1); peer.close() }},
		{"pipe/writer closed", newPipe, func(_, w *file) { w.close() }},
		{"pipe/writer closed with unread data", newPipe, func(_, w *file) { w.write(1); w.close() }},
		{"pipe/reader closed", newPipeWriter, func(_, r *file) { r.close() }},
	} {
		for _, interest := range []poll.Mask{0, readable, writable, poll.ReadHangUp, readable | writable, all} {
			t.Run(row.name+"/"+interestName(interest), func(t *testing.T) {
				before, after, model := open(t), open(t), openEpoll(t)
				a, peer := row.pair(t)
				must(t, before.Add(a.fd, 1, interest, poll.Level))
				glance(t, before) // armed
				row.act(a, peer)
				must(t, after.Add(a.fd, 1, interest, poll.Level))
				must(t, model.Add(a.fd, 1, interest, poll.Level))
				agree(t, model, before, after)
			})
		}
	}
}

func TestP11_OwnCloseIsSilent(t *testing.T) {
	p := open(t)
	a, _ := newTCPPair(t)
	must(t, p.Add(a.fd, 1, all, poll.Edge))
	expect(t, p, poll.Event{Token: 1, Ready: writable})
	must(t, p.Remove(a.fd))
	a.close()
	expect(t, p)
}

func TestP12_ReadHangUpWithUnreadData(t *testing.T) {
	p := open(t)
	a, peer := newTCPPair(t)
	must(t, p.Add(a.fd, 1, poll.ReadHangUp, poll.Level))
	peer.write(100)
	expect(t, p)
	peer.shutdown(unix.SHUT_WR)
	for range 2 {
		if got := next(t, p, 1)[0]; got != (poll.Event{Token: 1, Ready: poll.ReadHangUp}) {
			t.Fatalf("event %v", got)
		}
		a.drain()
	}
}

// The kernel wakes those who wait for urgent data with any data, and one edge
// may have told of both.
func TestP12_PriorityOnOutOfBandDataOnly(t *testing.T) {
	for name, mode := range map[string]poll.Mode{"level": poll.Level, "edge": poll.Edge, "oneshot": poll.OneShot} {
		t.Run(name, func(t *testing.T) {
			p, both := open(t), open(t)
			a, peer := newTCPPair(t)
			must(t, p.Add(a.fd, 1, poll.Priority, mode))
			must(t, both.Add(a.fd, 1, readable|poll.Priority, mode))
			expect(t, p)
			expect(t, both)
			peer.write(1)
			if got := next(t, both, 1)[0].Ready; got != readable {
				t.Errorf("plain data is %v", got)
			}
			expect(t, p)
			must(t, both.Modify(a.fd, 1, readable|poll.Priority, mode))
			must(t, unix.Send(peer.fd, []byte{'!'}, unix.MSG_OOB))
			if got := next(t, p, 1)[0].Ready; got != poll.Priority {
				t.Errorf("urgent data is %v", got)
			}
			if got := next(t, both, 1)[0].Ready; got != readable|poll.Priority {
				t.Errorf("urgent data with plain data is %v", got)
			}
		})
	}
}

// test: Wait(for ever), the buffer is empty or full ──► event
// peer:                                  close ──►
func TestP13_PeerCloseWakesReaderAndWriter(t *testing.T) {
	for name, row := range map[string]struct {
		pair     func(testing.TB) (a, b *file)
		interest poll.Mask
	}{
		"pipe reader": {newPipe, readable}, "pipe writer": {newPipeWriter, writable},
		"unix reader": {newSocketPair, readable}, "unix writer": {newSocketPair, writable},
		"tcp reader": {newTCPPair, readable}, "tcp writer": {newTCPPair, writable},
	} {
		for modeName, mode := range map[string]poll.Mode{"level": poll.Level, "edge": poll.Edge, "oneshot": poll.OneShot} {
			t.Run(name+"/"+modeName, func(t *testing.T) {
				p := open(t)
				a, peer := row.pair(t)
				if row.interest == writable {
					a.fill()
				}
				must(t, p.Add(a.fd, 1, row.interest, mode))
				expect(t, p)
				whenAsleep(t, func(int) error { peer.close(); return nil })
				got := next(t, p, 4)
				if len(got) != 1 || got[0].Token != 1 || got[0].Ready&(row.interest|poll.Error|poll.HangUp) == 0 {
					t.Fatalf("events %v", got)
				}
			})
		}
	}
}

// The kernel tells of the peer's half-close whether asked for or not. Who did
// not ask must neither hear of it nor spin, and still hear the rest.
//
//	test: Wait ──► asleep ──────────────► asleep ──► event
//	peer:            shut down ──► asleep?    read ──►
func TestUnaskedReadHangUpIsSilent(t *testing.T) {
	for name, mode := range map[string]poll.Mode{"level": poll.Level, "edge": poll.Edge, "oneshot": poll.OneShot} {
		t.Run(name, func(t *testing.T) {
			p := open(t)
			a, peer := newSocketPair(t)
			a.fill()
			must(t, p.Add(a.fd, 1, writable, mode))
			expect(t, p)
			whenAsleep(t, func(tid int) error {
				peer.shutdown(unix.SHUT_WR)
				if err := awaitAsleep(tid); err != nil {
					return err
				}
				peer.drain()
				return nil
			})
			if got := next(t, p, 1)[0]; got != (poll.Event{Token: 1, Ready: writable}) {
				t.Errorf("event %v", got)
			}
			if mode == poll.Level {
				expect(t, p, poll.Event{Token: 1, Ready: writable})
				return
			}
			expect(t, p)
		})
	}
}
