package poll_test

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/epinet/epi/poll"
)

func TestP16_ManyWakesMakeOneReturn(t *testing.T) {
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		p := newPoller(t, b)
		for range 1000 {
			must(t, p.Wake())
		}
		n, err := p.Wait(make([]poll.Event, 1), -1)
		must(t, err)
		if n != 0 {
			t.Fatalf("%d events from a Wake", n)
		}
		waiter := startWait(t, p, -1, newResults()) // comes to sleep: no Wake is left
		must(t, p.Wake())
		equal(t, waiter.await(t), nil)
	})
}

func TestP16_WakeHidesNoEvent(t *testing.T) {
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		p := newPoller(t, b)
		r, w := newPipe(t)
		must(t, p.Add(r.fd, 1, poll.Readable, poll.Level))
		w.write(1)
		must(t, p.Wake())
		expect(t, p, poll.Event{Token: 1, Ready: poll.Readable})
		expect(t, p, poll.Event{Token: 1, Ready: poll.Readable})
	})
}

// waiter: Wait ─► asleep ─► returns, three of them one after the other
// test:             Wake ──►
func TestP16_EachWakeEndsOneOfSeveralWaits(t *testing.T) {
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		p := newPoller(t, b)
		results := newResults()
		var last *waiting
		for range 3 {
			last = startWait(t, p, -1, results)
		}
		for range 3 {
			must(t, p.Wake())
			equal(t, last.await(t), nil)
		}
		last = startWait(t, p, -1, results)
		must(t, p.Wake())
		equal(t, last.await(t), nil)
	})
}

// posters: append to the queue ─► Wake (races with the kernel's going to sleep)
// loop:    Wait ─► take the queue ─► Wait ...
// A lost wake-up leaves the last item in the queue and the loop asleep.
func TestP16_NoPostIsLost(t *testing.T) {
	const posters, posts = 8, 5000
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		p := newPoller(t, b)
		var queue atomic.Int32
		posted := make(chan error)
		for range posters {
			go func() {
				posted <- times(posts, func() error {
					queue.Add(1)
					return p.Wake()
				})
			}()
		}
		taken := make(chan error)
		go func() { taken <- take(p, &queue, posters*posts) }()
		for range posters {
			must(t, receive(t, posted))
		}
		must(t, receive(t, taken))
	})
}

func times(n int, f func() error) error {
	for range n {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

// take empties the queue after each Wait, until it has had n items.
func take(p poll.Poller, queue *atomic.Int32, n int32) error {
	var events [1]poll.Event
	for n > 0 {
		if _, err := p.Wait(events[:], -1); err != nil {
			return err
		}
		n -= queue.Swap(0)
	}
	return nil
}

// poster: Wake .................... Wake ....................
// loop:   Wait ─► returns ─► tell ─► Wait ─► returns ─► tell ─► Wait
// Each Wake finds the loop about to sleep or just asleep.
func TestP16_EveryWakeInTurnArrives(t *testing.T) {
	const rounds = 20_000
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		p := newPoller(t, b)
		returned := make(chan error, 1)
		go func() {
			var events [1]poll.Event
			for range rounds {
				_, err := p.Wait(events[:], -1)
				returned <- err
			}
		}()
		must(t, times(rounds, func() error {
			return errors.Join(p.Wake(), receive(t, returned))
		}))
	})
}
