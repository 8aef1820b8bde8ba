package poll_test

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/poll"
)

// as returns how the backend shows what epoll shows as m, if everything but
// ReadHangUp was asked for: select(2) folds errors into the other conditions.
func as(b poll.Backend, m poll.Mask) poll.Mask {
	if b != poll.BackendSelect {
		return m
	}
	shown := m & (poll.Readable | poll.Writable | poll.Priority)
	if m&(poll.Error|poll.HangUp) != 0 {
		shown |= poll.Readable
	}
	if m&poll.Error != 0 {
		shown |= poll.Writable
	}
	return shown
}

// interests returns everything that the backend can be asked for.
func interests(b poll.Backend) poll.Mask {
	if b == poll.BackendSelect {
		return allInterests &^ poll.ReadHangUp
	}
	return allInterests
}

func shutdown(t *testing.T, f *file, how int) {
	t.Helper()
	must(t, unix.Shutdown(f.fd, how))
}

// reset makes the close send RST instead of FIN.
func reset(t *testing.T, f *file) {
	t.Helper()
	must(t, unix.SetsockoptLinger(f.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1, Linger: 0}))
	f.close()
}

func TestP11_ExactMasks(t *testing.T) {
	const in, out, rdhup = poll.Readable, poll.Writable, poll.ReadHangUp
	for _, row := range []struct {
		name string
		pair func(testing.TB) (a, b *file) // a is watched
		act  func(t *testing.T, a, peer *file)
		want poll.Mask
	}{
		{"tcp/idle", newTCPPair, func(*testing.T, *file, *file) {}, out},
		{"tcp/data", newTCPPair, func(_ *testing.T, _, peer *file) { peer.write(1) }, in | out},
		{"tcp/full", newTCPPair, func(_ *testing.T, a, _ *file) { a.fill() }, 0},
		{"tcp/peer shut down writing", newTCPPair, func(t *testing.T, _, peer *file) {
			shutdown(t, peer, unix.SHUT_WR)
		}, in | out | rdhup},
		{"tcp/peer closed", newTCPPair, func(_ *testing.T, _, peer *file) { peer.close() }, in | out | rdhup},
		{"tcp/both shut down", newTCPPair, func(t *testing.T, a, peer *file) {
			shutdown(t, peer, unix.SHUT_WR)
			shutdown(t, a, unix.SHUT_WR)
		}, in | out | rdhup | poll.HangUp},
		{"tcp/reset", newTCPPair, func(t *testing.T, _, peer *file) {
			reset(t, peer)
		}, in | out | rdhup | poll.Error | poll.HangUp},
		{"unix/idle", newSocketPair, func(*testing.T, *file, *file) {}, out},
		{"unix/peer shut down writing", newSocketPair, func(t *testing.T, _, peer *file) {
			shutdown(t, peer, unix.SHUT_WR)
		}, in | out | rdhup},
		{"unix/peer closed", newSocketPair, func(_ *testing.T, _, peer *file) {
			peer.close()
		}, in | out | rdhup | poll.HangUp},
		{"unix/peer closed with unread data", newSocketPair, func(_ *testing.T, a, peer *file) {
			a.write(1)
			peer.close()
		}, in | out | rdhup | poll.Error | poll.HangUp},
		{"pipe/writer closed", newPipe, func(_ *testing.T, _, w *file) { w.close() }, poll.HangUp},
		{"pipe/writer closed with unread data", newPipe, func(_ *testing.T, _, w *file) {
			w.write(1)
			w.close()
		}, in | poll.HangUp},
		{"pipe/reader closed", swap(newPipe), func(_ *testing.T, _, r *file) { r.close() }, out | poll.Error},
	} {
		t.Run(row.name, func(t *testing.T) {
			eachBackend(t, func(t *testing.T, b poll.Backend) {
				p := newPoller(t, b)
				a, peer := row.pair(t)
				row.act(t, a, peer)
				must(t, p.Add(a.fd, 1, interests(b), poll.Level))
				if row.want == 0 {
					expect(t, p)
					return
				}
				eventually(t, p, poll.Event{Token: 1, Ready: as(b, row.want)})
			})
		})
	}
}

func swap(pair func(testing.TB) (a, b *file)) func(testing.TB) (a, b *file) {
	return func(tb testing.TB) (*file, *file) {
		a, b := pair(tb)
		return b, a
	}
}

func TestP11_NoInterestStillHearsErrors(t *testing.T) {
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		p := newPoller(t, b)
		a, peer := newTCPPair(t)
		must(t, p.Add(a.fd, 1, 0, poll.Level))
		peer.write(1)
		expect(t, p)
		reset(t, peer)
		if b != poll.BackendSelect {
			eventually(t, p, poll.Event{Token: 1, Ready: poll.Error | poll.HangUp})
			return
		}
		// select(2) has no way to say so: it is heard when reading is asked for.
		expect(t, p)
		must(t, p.Modify(a.fd, 1, poll.Readable, poll.Level))
		eventually(t, p, poll.Event{Token: 1, Ready: poll.Readable})
	})
}

func TestP11_OwnCloseIsSilent(t *testing.T) {
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		p := newPoller(t, b)
		a, _ := newTCPPair(t)
		must(t, p.Add(a.fd, 1, interests(b), poll.Level))
		must(t, p.Remove(a.fd))
		a.close()
		expect(t, p)
	})
}

func TestP12_ReadHangUpWithUnreadData(t *testing.T) {
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		p := newPoller(t, b)
		a, peer := newTCPPair(t)
		err := p.Add(a.fd, 1, poll.ReadHangUp, poll.Level)
		if b == poll.BackendSelect {
			refused(t, err, "select", "ReadHangUp", "use poll or epoll")
			return
		}
		must(t, err)
		peer.write(100)
		expect(t, p)
		shutdown(t, peer, unix.SHUT_WR)
		eventually(t, p, poll.Event{Token: 1, Ready: poll.ReadHangUp})
		if got := a.drain(); got != 100 {
			t.Errorf("%d bytes before the end, want 100", got)
		}
		eventually(t, p, poll.Event{Token: 1, Ready: poll.ReadHangUp})
	})
}

func TestP12_PriorityOnOutOfBandData(t *testing.T) {
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		p := newPoller(t, b)
		a, peer := newTCPPair(t)
		must(t, p.Add(a.fd, 1, poll.Priority, poll.Level))
		peer.write(1)
		expect(t, p)
		must(t, unix.Send(peer.fd, []byte{'!'}, unix.MSG_OOB))
		eventually(t, p, poll.Event{Token: 1, Ready: poll.Priority})
		_, _, err := unix.Recvfrom(a.fd, make([]byte, 1), unix.MSG_OOB)
		must(t, err)
		expect(t, p)
	})
}

// waiter: Wait(for ever), the buffer is empty or full ──► event
// peer:                                  close ──►
func TestP13_PeerCloseWakesReaderAndWriter(t *testing.T) {
	pairs := map[string]func(testing.TB) (a, b *file){
		"pipe reader": newPipe, "pipe writer": swap(newPipe), "unix": newSocketPair, "tcp": newTCPPair,
	}
	for name, pair := range pairs {
		for _, interest := range []poll.Mask{poll.Readable, poll.Writable} {
			if name == "pipe reader" && interest == poll.Writable || name == "pipe writer" && interest == poll.Readable {
				continue // a pipe has one direction
			}
			t.Run(name+map[poll.Mask]string{poll.Readable: "/reads", poll.Writable: "/writes"}[interest], func(t *testing.T) {
				eachBackend(t, func(t *testing.T, b poll.Backend) {
					p := newPoller(t, b)
					a, peer := pair(t)
					if interest == poll.Writable {
						a.fill()
					}
					must(t, p.Add(a.fd, 1, interest, poll.Level))
					waiter := startWait(t, p, -1, newResults())
					peer.close()
					events := waiter.await(t)
					if len(events) != 1 || events[0].Token != 1 || events[0].Ready&(interest|poll.Error|poll.HangUp) == 0 {
						t.Fatalf("events %v", events)
					}
				})
			})
		}
	}
}
