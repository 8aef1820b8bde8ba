package simulation

import (
	"iter"

	"github.com/epinet/epi/internal/schedule"
)

// A carrier is a goroutine that carries coroutines, one after the other: its stack has
// grown for the next.
type carrier struct {
	carries func()
	resume  func() (struct{}, bool)
	stop    func()
	yield   func(struct{}) bool
}

func newCarrier() *carrier {
	c := &carrier{}
	c.resume, c.stop = iter.Pull(func(yield func(struct{}) bool) {
		c.yield = yield
		for {
			c.carries()
			c.carries = nil
			if !yield(struct{}{}) {
				return
			}
		}
	})
	return c
}

// abandon ends a carrier whose coroutine has not returned.
func (c *carrier) abandon() {
	ended := make(chan struct{})
	go func() { // which ends with a coroutine that has exited
		defer close(ended)
		defer func() { _ = recover() }()
		c.stop()
	}()
	<-ended
}

// carriers are those that wait for the next coroutine.
type carriers struct{ idle []*carrier }

// carriersOf returns those that earlier runs have left.
func carriersOf(r *schedule.Run) *carriers {
	b := r.Bench()
	if b == nil {
		return &carriers{}
	}
	if b.Tools == nil {
		b.Tools = &carriers{}
	}
	return b.Tools.(*carriers)
}

func (p *carriers) take() *carrier {
	n := len(p.idle)
	if n == 0 {
		return newCarrier()
	}
	c := p.idle[n-1]
	p.idle = p.idle[:n-1]
	return c
}

// put takes back a carrier whose coroutine has returned.
func (p *carriers) put(c *carrier) { p.idle = append(p.idle, c) }

// Close ends them.
func (p *carriers) Close() error {
	for _, c := range p.idle {
		c.stop()
	}
	p.idle = nil
	return nil
}
