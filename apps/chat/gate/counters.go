package gate

import (
	"sync/atomic"
	"time"
)

// counters are added to by the loops and read by anybody.
type counters struct {
	sessions    atomic.Int64
	users       atomic.Int64  // as of the end of the hall's last turn
	channels    atomic.Int64  // likewise
	lines       atomic.Uint64 // received
	deliveries  atomic.Uint64 // lines given to sessions by items
	sheds       atomic.Uint64 // sessions ended because their queue was full
	panics      atomic.Uint64 // of the hall
	workRefused atomic.Uint64
	lag         lag
}

// LagBounds are the upper bounds of the buckets of Stats.Lag, but for the last,
// which has none.
var LagBounds = [...]time.Duration{
	50 * time.Microsecond, 250 * time.Microsecond, time.Millisecond, 5 * time.Millisecond,
	25 * time.Millisecond, 100 * time.Millisecond, time.Second,
}

type lag struct {
	turns [len(LagBounds) + 1]atomic.Uint64
	sum   atomic.Int64
}

// noteLag counts how long the hall was busy with the events of one turn of a loop.
func (c *counters) noteLag(d time.Duration) {
	i := 0
	for i < len(LagBounds) && d > LagBounds[i] {
		i++
	}
	c.lag.turns[i].Add(1)
	c.lag.sum.Add(int64(d))
}

// Stats are the counters of a Server since its start.
type Stats struct {
	Sessions    int64 // connections now
	Users       int64 // users that others can see
	Channels    int64
	Lines       uint64 // lines received
	Deliveries  uint64 // lines that items gave to sessions
	Sheds       uint64 // sessions ended because they did not read (SendQ exceeded)
	Panics      uint64 // panics in the hall
	WorkRefused uint64 // password checks and the like refused because too many waited
	Lag         Lag
}

// A Lag is how long the hall was busy with the events of one turn of a loop.
type Lag struct {
	Turns [len(LagBounds) + 1]uint64 // by the first of LagBounds that is not below
	Sum   time.Duration
}

// Stats may be called from any goroutine.
func (s *Server) Stats() Stats {
	c := &s.counts
	stats := Stats{
		Sessions: c.sessions.Load(), Users: c.users.Load(), Channels: c.channels.Load(), Lines: c.lines.Load(), Deliveries: c.deliveries.Load(),
		Sheds: c.sheds.Load(), Panics: c.panics.Load(), WorkRefused: c.workRefused.Load(),
	}
	for i := range stats.Lag.Turns {
		stats.Lag.Turns[i] = c.lag.turns[i].Load()
	}
	stats.Lag.Sum = time.Duration(c.lag.sum.Load())
	return stats
}
