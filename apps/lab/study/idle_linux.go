package study

import (
	"fmt"
	"time"

	"github.com/epinet/epi/apps/lab"
	"github.com/epinet/epi/apps/lab/proc"
)

const (
	idleRequest = 64 // bytes
	// fewestEvents are enough for a mean, where one takes very long.
	fewestEvents = 10
	// warmUpShare is the share of the time limit before the measured requests.
	warmUpShare = 3
)

// idle measures the cost of one active connection among idle ones.
func (b *bench) idle() error {
	cpu, latency := newChart(), newChart()
	about := fmt.Sprintf("One connection sends requests of %d bytes, one after the other; all others are silent. A sample is the mean of up to %d requests.",
		idleRequest, b.sizes.idleEvents)
	x := lab.Axis{Label: "idle connections"}
	defer func() {
		b.publish(cpu, lab.Experiment{
			Name: "idle", Title: "One active connection among idle ones: CPU time", About: about,
			Finding: "select and poll look at every descriptor; epoll reports those that are ready, O(1).",
			X:       x, Y: lab.Axis{Label: "CPU time of the server per request", Unit: "s"},
		}, observeGrowth)
		b.publish(latency, lab.Experiment{
			Name: "idle-latency", Title: "One active connection among idle ones: latency", About: about,
			X: x, Y: lab.Axis{Label: "median latency", Unit: "s"},
		}, observeGrowth)
	}()
	steps := b.idleSteps()
	return b.pair(b.serverCPU(), b.clientCPU(), steps[len(steps)-1]+1, func(s *session) error {
		// All are open from the beginning, so that the steps take turns, too: a
		// server watches some of them.
		for round := range b.sizes.rounds {
			for _, idle := range steps {
				idle = min(idle, s.conns-1)
				for _, kind := range b.backends() {
					if idle >= kind.room() {
						continue
					}
					b.progress("round %d of %d: %d idle connections, %s", round+1, b.sizes.rounds, idle, kind.name)
					used, loaded, err := s.oneActive(kind, idle+1)
					if err != nil {
						return fmt.Errorf("%s with %d idle connections: %w", kind.name, idle, err)
					}
					cpu.add(kind.name, float64(idle), used.Seconds())
					latency.add(kind.name, float64(idle), loaded.Median.Seconds())
				}
			}
		}
		return nil
	})
}

// idleSteps leave room for the active connection.
func (b *bench) idleSteps() []int {
	numbers := b.sizes.idle
	if b.cfg.Max > numbers[len(numbers)-1] {
		numbers = append(numbers[:len(numbers):len(numbers)], b.cfg.Max-1)
	}
	var steps []int
	for _, idle := range numbers {
		steps = append(steps, b.fit(idle+1)-1)
	}
	return distinct(steps...)
}

// oneActive serves all connections, one of them active, and returns the CPU
// time for a request. Before it is measured, requests warm up what registering
// all the connections has made cold, and show how many fit into the time.
func (s *session) oneActive(kind backend, conns int) (cpu time.Duration, loaded loadResult, err error) {
	limit := s.b.sizes.idleLimit
	under := loadArgs{
		Conns: 1, Iterations: s.b.sizes.idleEvents, InFlight: 1, Request: idleRequest, Reply: idleRequest,
		Limit: limit / warmUpShare, Latency: true,
	}
	args := serveArgs{Program: kind.name, Lookup: lookupSlot, Conns: conns, Request: idleRequest, Reply: idleRequest}
	var used proc.Usage
	err = s.during("serve", args, nil, func() error {
		first, err := s.load(under)
		if err != nil {
			return err
		}
		if first.Median > 0 {
			under.Iterations = min(under.Iterations, max(fewestEvents, int(limit/first.Median)))
		}
		under.Limit = limit + time.Minute // the iterations bound it
		before, err := proc.Of(s.server.cmd.Process.Pid)
		if err != nil {
			return err
		}
		if loaded, err = s.load(under); err != nil {
			return err
		}
		after, err := proc.Of(s.server.cmd.Process.Pid)
		used = after.Sub(before)
		return err
	})
	if err != nil {
		return 0, loaded, err
	}
	return used.CPU / time.Duration(loaded.Done), loaded, nil
}
