package ringpoll_test

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/internal/polltest"
	"github.com/epinet/epi/poll"
)

// Pollers that wait for the same listener: a connection comes to one of them.
func TestP07_ExclusiveWakesOneOfSeveral(t *testing.T) {
	for name, row := range map[string]struct {
		mode poll.Mode
		want int
	}{"level": {poll.Level, 3}, "exclusive": {poll.Exclusive, 1}, "exclusive edge": {poll.Exclusive | poll.Edge, 1}} {
		t.Run(name, func(t *testing.T) {
			l, addr := polltest.NewListener(t)
			pollers := []poll.Poller{open(t), open(t), open(t)}
			for _, p := range pollers {
				polltest.Must(t, p.Add(l.FD, 1, readable, row.mode))
				polltest.Expect(t, p)
			}
			polltest.Dial(t, addr)
			woken := 0
			for _, p := range pollers {
				woken += len(polltest.Glance(t, p))
			}
			if woken != row.want {
				t.Errorf("%d of %d are woken, want %d", woken, len(pollers), row.want)
			}
		})
	}
}

// The kernel reports the peer's half-close whether asked for or not. Who did not
// ask must neither get it nor spin, and still get the rest.
//
//	test: Wait ──► asleep ──────────────► asleep ──► event
//	peer:            shut down ──► asleep?    read ──►
func TestUnaskedReadHangUpIsSilent(t *testing.T) {
	ring.EachMode(t, func(t *testing.T, mode poll.Mode) {
		p := open(t)
		a, peer := polltest.NewSocketPair(t)
		a.Fill()
		polltest.Must(t, p.Add(a.FD, 1, writable, mode))
		polltest.Expect(t, p)
		polltest.WhenAsleep(t, func(tid int) error {
			peer.Shutdown(unix.SHUT_WR)
			if err := polltest.AwaitAsleep(tid); err != nil {
				return err
			}
			peer.Drain()
			return nil
		})
		polltest.Equal(t, polltest.Next(t, p, 1), poll.Event{Token: 1, Ready: writable})
		if mode == poll.Level {
			polltest.Expect(t, p, poll.Event{Token: 1, Ready: writable})
			return
		}
		// Draining takes several reads, and each may be an edge for the writer.
		for again := polltest.Glance(t, p); len(again) > 0; again = polltest.Glance(t, p) {
			polltest.Equal(t, again, poll.Event{Token: 1, Ready: writable})
		}
	})
}
