package server

import (
	"sync/atomic"
	"time"

	"github.com/epinet/epi/apps/world/sim"
	"github.com/epinet/epi/apps/world/store"
)

// Bounds are the upper bounds of the buckets of a Histogram, but for the last, which
// has none.
var Bounds = [...]time.Duration{
	100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond, time.Millisecond, 2 * time.Millisecond,
	5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond,
	250 * time.Millisecond, time.Second,
}

// A Histogram counts durations by the first of Bounds that is not below.
type Histogram struct {
	Counts [len(Bounds) + 1]uint64
	Sum    time.Duration
}

// A histogram is one that the loop adds to.
type histogram struct {
	counts [len(Bounds) + 1]atomic.Uint64
	sum    atomic.Int64
}

func (h *histogram) note(d time.Duration) {
	i := 0
	for i < len(Bounds) && d > Bounds[i] {
		i++
	}
	h.counts[i].Add(1)
	h.sum.Add(int64(d))
}

func (h *histogram) load() (v Histogram) {
	for i := range h.counts {
		v.Counts[i] = h.counts[i].Load()
	}
	v.Sum = time.Duration(h.sum.Load())
	return v
}

// counters are added to by the loop and read by anybody.
type counters struct {
	sessions, players, entities, things, coarse atomic.Int64

	ticks, dropped, dilated  atomic.Uint64
	simulated, shown         atomic.Uint64 // nanoseconds
	bytes, conflated, joins  atomic.Uint64
	said, unsaid             atomic.Uint64
	bad, refused, slow       atomic.Uint64
	moves                    [4]atomic.Uint64 // by verdict
	blows                    [sim.Blows]atomic.Uint64
	whispers, orders, trades atomic.Uint64
	work, lateness           histogram
}

// Stats are the counters of a Server since its start.
type Stats struct {
	Sessions int64 // connections now
	Players  int64 // in the world now, with a session or without
	Entities int64
	Things   int64 // that lie
	Coarse   int64 // by how much the outer rings of views are shown more seldom: 0 to sim.Coarsest

	Ticks     uint64
	Dropped   uint64        // ticks that were too late to be made up for
	Dilated   time.Duration // by how much game time is behind, because ticks cost too much
	Simulated time.Duration // in the world's steps
	Shown     time.Duration // in making and queueing frames
	Bytes     uint64        // of frames
	Conflated uint64        // frames without state, for clients that read slowly
	Joins     uint64
	Said      uint64
	Unsaid    uint64 // lines refused: too many
	Moves     uint64 // taken
	Old       uint64 // moves of an older epoch, or repeated
	Corrected uint64 // moves refused: more than the time that has passed
	Bad       uint64 // sessions ended for what they sent
	Refused   uint64 // sessions ended with a reason
	Slow      uint64 // sessions ended because they did not read
	Struck    uint64 // blows of players that have hit
	Missed    uint64 // those that have not: too far, too soon, hidden, in peace, or nobody is there
	Whispers  uint64
	Orders    uint64 // of moderators
	Trades    uint64 // that have come to pass
	Work      Histogram
	Lateness  Histogram
	Store     store.WriterStats
}

// Stats may be called from any goroutine.
func (s *Server) Stats() Stats {
	c := &s.counts
	missed := uint64(0)
	for blow := range c.blows {
		if sim.Blow(blow) != sim.Struck {
			missed += c.blows[blow].Load()
		}
	}
	return Stats{
		Sessions: c.sessions.Load(), Players: c.players.Load(), Entities: c.entities.Load(), Things: c.things.Load(), Coarse: c.coarse.Load(),
		Ticks: c.ticks.Load(), Dropped: c.dropped.Load(), Dilated: time.Duration(c.dilated.Load()),
		Simulated: time.Duration(c.simulated.Load()), Shown: time.Duration(c.shown.Load()),
		Bytes: c.bytes.Load(), Conflated: c.conflated.Load(), Joins: c.joins.Load(),
		Said: c.said.Load(), Unsaid: c.unsaid.Load(),
		Moves: c.moves[0].Load(), Old: c.moves[1].Load() + c.moves[2].Load(), Corrected: c.moves[3].Load(),
		Bad: c.bad.Load(), Refused: c.refused.Load(), Slow: c.slow.Load(),
		Struck: c.blows[sim.Struck].Load(), Missed: missed, Whispers: c.whispers.Load(), Orders: c.orders.Load(), Trades: c.trades.Load(),
		Work: c.work.load(), Lateness: c.lateness.load(),
		Store: s.goods.writer.Stats(),
	}
}
