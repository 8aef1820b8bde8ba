package server

import (
	"time"

	"github.com/epinet/epi/apps/world/sim"
)

const (
	// maxCatchUp is how many late ticks are made up for.
	maxCatchUp = 3
	// load is how much of a period the work of a tick may take on the average before
	// something is done about it, and ease below how much that is taken back.
	load = 0.9
	ease = 0.6
	// slowest is the least that is left of the speed of game time.
	slowest = 0.1
	// smooth is the weight of one tick in the average of their work.
	smooth = 1.0 / 16
	// patience is how many ticks the average has to show what the last change of
	// the views did.
	patience = 64
)

// A clock says when ticks are due. When they cost too much, the outer rings of the
// views are shown more seldom first, and then game time goes slower, with all that
// counts ticks. All of it belongs to the loop; it asks for no time itself.
type clock struct {
	start  time.Time     // of tick 0, as if all had been due at this speed
	ticks  int64         // since then
	period time.Duration // between two, at full speed
	work   float64       // of a tick, on the average, in nanoseconds
	late   time.Duration // the last one
	coarse int           // of the views: see sim.World.SetCoarse
	since  int           // ticks since coarse changed
}

// begin notes that the next tick begins, and returns how many were dropped before it.
func (c *clock) begin(now time.Time) (dropped int64) {
	c.late = max(0, now.Sub(c.due(c.ticks+1)))
	if behind := int64(c.late / c.period); behind > maxCatchUp {
		dropped = behind - maxCatchUp
		c.start = c.start.Add(time.Duration(dropped) * c.period)
	}
	return dropped
}

// end notes what the tick has cost, and returns by how much game time went slower.
func (c *clock) end(work time.Duration) (extra time.Duration) {
	c.ticks++
	c.work += (float64(work) - c.work) * smooth
	c.since++
	switch room := float64(c.period); {
	case c.since < patience:
	case c.work > room*load && c.coarse < sim.Coarsest:
		c.coarse++
		c.since = 0
	case c.work < room*ease && c.coarse > 0:
		c.coarse--
		c.since = 0
	}
	extra = c.step() - c.period
	c.start = c.start.Add(extra) // all that follows is later
	return extra
}

// lateness is how late the last tick was, in tenths of a millisecond.
func (c *clock) lateness() uint16 {
	return uint16(min(c.late/(100*time.Microsecond), 1<<16-1))
}

// speed is that of game time: 1, or less where ticks cost too much with the coarsest
// views, too.
func (c *clock) speed() float64 {
	if room := float64(c.period) * load; c.work > room && c.coarse == sim.Coarsest {
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
	s.goods.begin()
	s.clock.start = time.Now()
	s.beat = s.loop.After(s.clock.period, s.vital(s.onTick))
}

// onTick does one tick that is due. Late ones follow in the next turns of the loop.
func (s *Server) onTick() {
	c := &s.clock
	began := time.Now()
	s.counts.dropped.Add(uint64(c.begin(began)))
	s.counts.lateness.note(c.late)
	s.tick()
	work := time.Since(began)
	s.counts.work.note(work)
	s.counts.dilated.Add(uint64(c.end(work)))
	s.counts.coarse.Store(int64(c.coarse))
	s.world.SetCoarse(c.coarse)
	s.beat.Reset(max(0, time.Until(c.due(c.ticks+1))))
}

// tick goes on by one tick, and shows it to all.
func (s *Server) tick() {
	began := time.Now()
	s.goods.tick()
	s.world.Step(sim.Alone)
	if g := s.config.Game; g != nil {
		g.Tick()
	}
	if s.keeper != nil {
		s.keeper.tick()
	}
	stepped := time.Now()
	for se := range s.sessions {
		se.show()
	}
	s.expire()
	s.counts.simulated.Add(uint64(stepped.Sub(began)))
	s.counts.shown.Add(uint64(time.Since(stepped)))
	s.counts.ticks.Add(1)
	s.counts.entities.Store(int64(s.world.Entities()))
	s.counts.things.Store(int64(s.world.Things()))
}
