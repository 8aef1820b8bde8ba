package server

import (
	"testing"
	"time"

	"github.com/epinet/epi/apps/world/sim"
)

// A trial runs a clock without waiting: now is what the test makes it.
type trial struct {
	clock
	now time.Time
}

func newTrial() *trial {
	at := time.Unix(1000, 0)
	return &trial{clock: clock{start: at, period: 50 * time.Millisecond}, now: at}
}

// ticks does n ticks, each when it is due or, if that was before, at once.
func (c *trial) ticks(n int, work time.Duration) (dropped int64, extra time.Duration) {
	for range n {
		if due := c.due(c.clock.ticks + 1); c.now.Before(due) {
			c.now = due
		}
		dropped += c.begin(c.now)
		c.now = c.now.Add(work)
		extra += c.end(work)
	}
	return dropped, extra
}

// TestOverload: first the outer rings are shown more seldom, one step at a time, then
// game time goes slower; and back again.
func TestOverload(t *testing.T) {
	c := newTrial()
	if dropped, extra := c.ticks(1000, 20*time.Millisecond); dropped != 0 || extra != 0 || c.coarse != 0 || c.late != 0 {
		t.Fatalf("at ease: %d dropped, %v slower, coarse %d, late %v", dropped, extra, c.coarse, c.late)
	}
	for level := 1; level <= sim.Coarsest; level++ {
		for c.coarse < level {
			if _, extra := c.ticks(1, 60*time.Millisecond); extra != 0 && c.coarse < sim.Coarsest {
				t.Fatalf("game time went slower by %v before the views were coarse", extra)
			}
		}
		if c.since != 0 {
			t.Errorf("level %d came %d ticks ago", c.coarse, c.since)
		}
	}
	c.ticks(500, 60*time.Millisecond)
	if want := 45.0 / 60; c.speed() < want-0.01 || c.speed() > want+0.01 {
		t.Errorf("60 ms of work in 50: the speed is %v, want %v", c.speed(), want)
	}
	if dropped, _ := c.ticks(500, 60*time.Millisecond); dropped != 0 || c.late != 0 {
		t.Errorf("at the slower speed %d are dropped, the last was %v late", dropped, c.late)
	}
	c.ticks(500, 10*time.Second)
	if c.speed() != slowest {
		t.Errorf("the least speed is %v", c.speed())
	}
	c.ticks(2000, 40*time.Millisecond) // 80 %: what was done stays
	if c.speed() != 1 || c.coarse != sim.Coarsest {
		t.Errorf("at 80 %%: speed %v, coarse %d", c.speed(), c.coarse)
	}
	c.ticks(2000, 20*time.Millisecond)
	if c.coarse != 0 {
		t.Errorf("at ease again: coarse %d", c.coarse)
	}
}

// TestCatchUp: of ticks that are late three are made up for, and the rest are dropped.
func TestCatchUp(t *testing.T) {
	for _, stopped := range []time.Duration{0, 49, 51, 120, 199, 251, 10_000} {
		c := newTrial()
		c.ticks(10, time.Millisecond)
		c.now = c.now.Add(stopped * time.Millisecond)
		before := c.clock.ticks
		dropped, _ := c.ticks(1, 0)
		made, at := int64(1), c.now
		for ; !c.due(c.clock.ticks + 1).After(at); made++ {
			c.ticks(1, 0)
		}
		missed := (int64(stopped) + 1) / 50 // the tick itself took 1 ms
		if made > maxCatchUp+1 || dropped != max(0, missed-1-maxCatchUp) || made+dropped != max(1, missed) {
			t.Errorf("stopped for %v ms: %d made up for, %d dropped", int64(stopped), made, dropped)
		}
		if next := c.due(c.clock.ticks + 1).Sub(at); next > c.period {
			t.Errorf("stopped for %v ms: the next is due in %v, %d ticks later", int64(stopped), next, c.clock.ticks-before)
		}
	}
}
