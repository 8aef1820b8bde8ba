package server

import (
	"time"

	"github.com/epinet/epi/apps/world/sim"
)

const (
	// maxCatchUp is how many late ticks are made up for.
	maxCatchUp = 3
	// load is how much of a period the work of a tick may take before game time
	// goes slower, and slowest the least that is left of its speed.
	load    = 0.9
	slowest = 0.1
	// smooth is the weight of one tick in the average of their work.
	smooth = 1.0 / 16
)

// A clock says when ticks are due. All of it belongs to the loop.
type clock struct {
	start  time.Time     // of tick 0, as if all had been due at this speed
	ticks  int64         // since then
	period time.Duration // between two, at full speed
	work   float64       // of a tick, on the average, in nanoseconds
	late   time.Duration // the last one
}

// lateness is how late the last tick was, in tenths of a millisecond.
func (c *clock) lateness() uint16 {
	return uint16(min(c.late/(100*time.Microsecond), 1<<16-1))
}

// speed is that of game time: 1, or less where ticks cost too much.
func (c *clock) speed() float64 {
	if room := float64(c.period) * load; c.work > room {
		return max(slowest, room/c.work)
	}
	return 1
}

// step is the time between two ticks now.
func (c *clock) step() time.Duration { return time.Duration(float64(c.period) / c.speed()) }

// due is when a tick is to be, counted from the start.
func (c *clock) due(tick int64) time.Time { return c.start.Add(time.Duration(tick) * c.period) }

// begin is the first task of the loop.
func (s *Server) begin() {
	s.clock.period = time.Second / time.Duration(s.config.World.Hz)
	s.clock.start = time.Now()
	s.await()
}

// await sets the timer for the next tick.
func (s *Server) await() {
	s.loop.After(max(0, time.Until(s.clock.due(s.clock.ticks+1))), s.onTick)
}

// onTick does one tick that is due. Late ones follow in the next turns of the loop.
func (s *Server) onTick() {
	c := &s.clock
	began := time.Now()
	c.late = max(0, began.Sub(c.due(c.ticks+1)))
	if behind := int64(c.late / c.period); behind > maxCatchUp {
		dropped := behind - maxCatchUp
		c.start = c.start.Add(time.Duration(dropped) * c.period)
		s.counts.dropped.Add(uint64(dropped))
	}
	s.counts.lateness.note(c.late)
	s.tick()
	c.ticks++
	work := time.Since(began)
	s.counts.work.note(work)
	c.work += (float64(work) - c.work) * smooth
	if extra := c.step() - c.period; extra > 0 { // all that follows is later
		c.start = c.start.Add(extra)
		s.counts.dilated.Add(uint64(extra))
	}
	s.await()
}

// tick goes on by one tick, and shows it to all.
func (s *Server) tick() {
	began := time.Now()
	s.world.Step(sim.Alone)
	stepped := time.Now()
	for se := range s.sessions {
		se.show()
	}
	s.expire()
	s.counts.simulated.Add(uint64(stepped.Sub(began)))
	s.counts.shown.Add(uint64(time.Since(stepped)))
	s.counts.ticks.Add(1)
	s.counts.entities.Store(int64(s.world.Entities()))
}
