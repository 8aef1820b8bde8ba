package study

import (
	"fmt"

	"github.com/epinet/epi/apps/lab"
)

// A contestant is a program with its way to find a record.
type contestant struct{ program, lookup string }

func (c contestant) name(lookups bool) string {
	if lookups && c.program != pollAsPrinted && c.program != pollAsMeant && c.program != "select" {
		return c.program + ", " + c.lookup
	}
	return c.program
}

// inFlight is how many of the connections have a request under way. With more of
// them poll finds more in one scan, which then costs less for each; a linear
// lookup costs the same for each event.
func (s shape) inFlight(conns int, progress bool) int {
	const few, many = 20, 5 // a twentieth, a fifth
	if progress {
		return max(1, conns/many)
	}
	return max(1, conns/few)
}

// marksPerRun is how many points a curve has at most.
const marksPerRun = 10

// performance has no use for a connection's state: it echoes what it reads.
func (b *bench) performance() error {
	var all []contestant
	for _, program := range []string{"select", pollAsPrinted, pollAsMeant, "epoll level", "epoll edge", "epoll one-shot"} {
		all = append(all, contestant{program, lookupSlot})
	}
	all = append(all, b.onRing()...)
	for _, shape := range b.sizes.performance {
		if err := b.race(shape, all, false); err != nil {
			return err
		}
	}
	return nil
}

// performance2 needs each connection's progress, and so has to find it.
func (b *bench) performance2() error {
	all := []contestant{{pollAsPrinted, lookupSlot}, {pollAsMeant, lookupSlot}}
	for _, program := range []string{"epoll level", "epoll edge", "epoll one-shot"} {
		for _, lookup := range b.sizes.lookups(program) {
			all = append(all, contestant{program, lookup})
		}
	}
	all = append(all, b.onRing()...)
	for _, shape := range b.sizes.performance2 {
		if err := b.race(shape, all, true); err != nil {
			return err
		}
	}
	return nil
}

// onRing are the programs on io_uring. What a lookup costs epoll's show.
func (b *bench) onRing() []contestant {
	var all []contestant
	for _, kind := range b.backends() {
		if kind.call == backendRing {
			all = append(all, contestant{kind.name, lookupSlot})
		}
	}
	return all
}

const (
	columnCPU     = "server CPU per message"
	columnElapsed = "time per message"
	columnEvents  = "events per wait"
)

// race lets the contestants take turns on the same connections.
func (b *bench) race(shape shape, all []contestant, progress bool) error {
	conns := b.fit(shape.conns)
	elapsed, cost := newChart(), newChart()
	costs := newGrid()
	defer func() { b.publishRace(shape, conns, progress, elapsed, cost, costs) }()
	return b.pair(b.serverCPU(), b.clientCPU(), conns, func(s *session) error {
		conns = s.conns
		for round := range b.sizes.rounds {
			for _, c := range all {
				if c.program == "select" && conns > 1000 {
					continue
				}
				name := c.name(progress)
				b.progress("round %d of %d: %d × %d × %d bytes, %s", round+1, b.sizes.rounds, conns, shape.iterations, shape.bytes, name)
				served, loaded, err := s.serve(serveArgs{
					Program: c.program, Lookup: c.lookup, Conns: conns,
					Request: shape.bytes, Reply: shape.bytes, Whole: progress,
					Step: conns * shape.bytes * markEvery(shape.iterations),
				}, loadArgs{Conns: conns, Iterations: shape.iterations, InFlight: shape.inFlight(conns, progress), Limit: b.sizes.serveLimit})
				if err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				if loaded.Done < conns*shape.iterations {
					b.note("%s: %s was stopped after %v with %d of %d messages", b.name, name, b.sizes.serveLimit, loaded.Done, conns*shape.iterations)
				}
				for i, m := range served.Marks {
					x := float64((i + 1) * markEvery(shape.iterations))
					elapsed.add(name, x, m.Elapsed.Seconds())
					cost.add(name, x, m.CPU.Seconds())
				}
				costs.add(name, columnCPU, served.CPU.Seconds()*1e6/float64(loaded.Done))
				costs.add(name, columnElapsed, loaded.Elapsed.Seconds()*1e6/float64(loaded.Done))
				costs.add(name, columnEvents, float64(served.Events)/float64(served.Waits))
			}
		}
		return nil
	})
}

// markEvery is the number of iterations between two marks.
func markEvery(iterations int) int { return max(1, iterations/marksPerRun) }

func (b *bench) publishRace(shape shape, conns int, progress bool, elapsed, cost *chart, costs *grid) {
	name, what := "performance", "echoes whatever it reads"
	finding := "epoll far ahead; edge a little ahead of level."
	if progress {
		name, what = "performance_2", fmt.Sprintf("finds the connection's record, which has a place for %d bytes, collects", pendingSize)
		what += " the whole message, then sends as much back"
		finding = "epoll loses: for each ready event the program looks the connection's record up by a linear scan."
	}
	of := fmt.Sprintf("%d connections, %d bytes", conns, shape.bytes)
	key := fmt.Sprintf("%s-%dx%d", name, conns, shape.bytes)
	about := fmt.Sprintf("Each connection sends %d messages of %d bytes, one after the other; %d connections have one under way at any moment. The server %s.",
		shape.iterations, shape.bytes, shape.inFlight(conns, progress), what)
	x := lab.Axis{Label: "iterations"}
	b.publish(elapsed, lab.Experiment{
		Name: key, Title: "Send and receive (" + name + "): " + of, About: about, Finding: finding,
		X: x, Y: lab.Axis{Label: "time", Unit: "s"},
	}, observeRace)
	b.publish(cost, lab.Experiment{
		Name: key + "-cpu", Title: "Send and receive (" + name + "), CPU time of the server: " + of, About: about, Finding: finding,
		X: x, Y: lab.Axis{Label: "CPU time of the server", Unit: "s"},
	}, observeRace)
	b.publishTable(costs, lab.Table{
		Name: key, Title: "Send and receive (" + name + "), per message: " + of, Reference: pollAsMeant,
		Columns: []lab.Column{
			{Name: columnCPU, Unit: "µs", Ratio: true},
			{Name: columnElapsed, Unit: "µs", Ratio: true},
			{Name: columnEvents, Higher: true},
		},
	})
}
