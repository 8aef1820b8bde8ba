package ws

import (
	"sync"

	"github.com/epinet/epi"
)

const (
	// turnCost is how long the connections of one loop decompress between runs,
	// together, in nanoseconds of inputCost and outputCost. A turn of the loop has
	// at most two such spans, each with a step more, which nobody could foresee:
	// less than 25 ms.
	turnCost = 2_500_000
	// turnStarts is how many connections that wait go on in one turn.
	turnStarts = 64
)

// A pacer lets the connections of one loop decompress in turns, each within the
// same bound:
//
//	enter ─ yes ─► step, spend, enter …
//	      └ no ──► waiting, or again if it had a step ─► run, in the next turn
//
// Those that had none in a turn come before those that had.
type pacer struct {
	loop *epi.Loop

	mu      sync.Mutex
	spent   int                // guarded by mu; since run
	waiting []*Conn            // guarded by mu; in order
	again   []*Conn            // guarded by mu; behind waiting
	going   map[*Conn]struct{} // guarded by mu; those that go on in this turn
	posted  bool               // guarded by mu; run will come
}

// pacer returns that of the connection's loop, for a client one of its own.
func (c *Conn) pacer() *pacer {
	l := c.conn.Loop()
	if c.with.client {
		if c.with.pacer == nil {
			c.with.pacer = &pacer{loop: l}
		}
		return c.with.pacer
	}
	p, ok := c.with.pacers.Load(l)
	if !ok {
		p, _ = c.with.pacers.LoadOrStore(l, &pacer{loop: l})
	}
	return p.(*pacer)
}

// enter reports whether c may take a step. Otherwise it is resumed when it may;
// served says that it has had one in this turn.
func (p *pacer) enter(c *Conn, served bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, goesOn := p.going[c]
	if p.spent < turnCost && (goesOn || len(p.waiting)+len(p.again) == 0) {
		return true
	}
	if served {
		p.again = append(p.again, c)
	} else {
		p.waiting = append(p.waiting, c)
	}
	c.hold() // before run can resume it
	p.post()
	return false
}

// spend accounts for a step.
func (p *pacer) spend(in, out int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.spent += in*inputCost + out*outputCost
}

// post asks for run in the next turn. The caller holds mu.
func (p *pacer) post() {
	if !p.posted {
		p.posted = true
		p.loop.After(0, p.run)
	}
}

// run begins a span. The timers of a turn come after what has arrived in it.
func (p *pacer) run() {
	for _, c := range p.next() {
		c.unstall()
	}
}

// next returns those that go on now.
func (p *pacer) next() []*Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.posted = false
	p.spent = 0
	p.waiting = append(p.waiting, p.again...)
	p.again = nil
	n := min(len(p.waiting), turnStarts)
	batch := p.waiting[:n:n]
	p.waiting = p.waiting[n:]
	if p.going == nil {
		p.going = map[*Conn]struct{}{}
	}
	clear(p.going)
	for _, c := range batch {
		p.going[c] = struct{}{}
	}
	if len(p.waiting) == 0 {
		p.waiting = nil
	} else {
		p.post()
	}
	return batch
}
