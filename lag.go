package epi

import (
	"sync/atomic"
	"time"
)

// LagBounds are the upper bounds of the buckets of a Lag, all but the last,
// which has none.
var LagBounds = [...]time.Duration{
	50 * time.Microsecond,
	100 * time.Microsecond,
	250 * time.Microsecond,
	500 * time.Microsecond,
	time.Millisecond,
	2500 * time.Microsecond,
	5 * time.Millisecond,
	10 * time.Millisecond,
	25 * time.Millisecond,
	50 * time.Millisecond,
	100 * time.Millisecond,
	250 * time.Millisecond,
	500 * time.Millisecond,
	time.Second,
	2500 * time.Millisecond,
}

// A Lag is how long the turns of a loop took: each from the moment at which
// waiting had ended, or, when the loop did not sleep in between, at which the
// turn before had ended, to its own end. What arrives while a turn is under way
// waits for its end, so this is how late a loop can be for new events, tasks
// and timers. A callback that blocks the loop shows here. With workers the
// callbacks do not: see Stats.Waiting.
type Lag struct {
	Turns [len(LagBounds) + 1]uint64 // by the first of LagBounds that is not below
	Sum   time.Duration              // of all turns
}

func (g *Lag) add(o Lag) {
	for i, n := range o.Turns {
		g.Turns[i] += n
	}
	g.Sum += o.Sum
}

// A lagMeter measures the turns of its loop: with one look at the clock for
// each turn, and another after a sleep.
type lagMeter struct {
	began int64 // of the loop goroutine; when the turn began
	turns [len(LagBounds) + 1]atomic.Uint64
	sum   atomic.Int64
}

// begin says that waiting has ended, at now, and returns how long it was since the turn
// before ended.
func (m *lagMeter) begin(now int64) (waited int64) {
	waited = now - m.began
	m.began = now
	return waited
}

// end says that the turn is over at now, and that the next one follows if the loop
// does not sleep.
func (m *lagMeter) end(now int64) {
	took := time.Duration(now - m.began)
	m.began = now
	m.turns[lagBucket(took)].Add(1)
	m.sum.Add(int64(took))
}

// lagBucket returns the bucket of a turn. Most turns are in the first.
func lagBucket(took time.Duration) int {
	i := 0
	for i < len(LagBounds) && took > LagBounds[i] {
		i++
	}
	return i
}

func (m *lagMeter) lag() Lag {
	g := Lag{Sum: time.Duration(m.sum.Load())}
	for i := range m.turns {
		g.Turns[i] = m.turns[i].Load()
	}
	return g
}
