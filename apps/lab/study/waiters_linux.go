package study

import (
	"fmt"
	"time"

	"github.com/epinet/epi/apps/lab"
)

// waiterWork is what a woken waiter does before it reads. It is long, so that
// all the others that are to wake have the time to.
const waiterWork = 2 * time.Millisecond

// waiters counts how many of several threads that wait for one descriptor wake
// for an event.
func (b *bench) waiters() error {
	woken := newChart()
	defer func() {
		b.publish(woken, lab.Experiment{
			Name: "waiters", Title: "Threads waiting for one descriptor: how many wake",
			About: fmt.Sprintf("Several threads wait at one epoll set for one connection, which gets a byte from time to time. "+
				"Who wakes works for %v before it reads. Counted is how often a thread wakes, per byte.", waiterWork),
			Finding: "Edge: with several threads in wait only one is woken.",
			X:       lab.Axis{Label: "waiting threads"},
			Y:       lab.Axis{Label: "threads woken per event"},
		}, observeLast)
	}()
	return b.pair(anyCPU, anyCPU, 1, func(s *session) error {
		for round := range b.sizes.rounds {
			for _, mode := range []string{"epoll level", "epoll edge", "epoll one-shot"} {
				for _, waiters := range b.sizes.waiters {
					b.progress("round %d of %d: %d threads, %s", round+1, b.sizes.rounds, waiters, mode)
					n, err := s.wakes(waitArgs{Waiters: waiters, Mode: mode, Work: waiterWork}, b.sizes.wakes)
					if err != nil {
						return err
					}
					woken.add(mode, float64(waiters), n)
				}
			}
		}
		return nil
	})
}

// wakes sends bytes one at a time, with time for the waiters to settle between.
func (s *session) wakes(args waitArgs, events int) (perEvent float64, err error) {
	var waited waitResult
	var loaded loadResult
	err = s.during("wait", args, &waited, func() error {
		loaded, err = s.load(loadArgs{
			Conns: 1, Iterations: events, InFlight: 1, Request: 1, Reply: 1,
			Pause: 3 * args.Work, Limit: time.Duration(events) * time.Second,
		})
		return err
	})
	if err != nil {
		return 0, err
	}
	return float64(waited.Woken) / float64(loaded.Done), nil
}
