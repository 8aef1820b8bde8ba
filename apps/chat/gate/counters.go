package gate

import (
	"sync/atomic"
	"time"

	"github.com/epinet/epi/apps/chat/hall"
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
	faults      atomic.Uint64 // likewise
	workRefused atomic.Uint64
	unkept      atomic.Uint64 // messages that could not be kept
	lag         lag
	commands    map[string]*outcomes // by hall.Commands; the map does not change
}

// outcomes count what has become of a command.
type outcomes struct{ done, refused atomic.Uint64 }

func (o *outcomes) add(ok bool) {
	if ok {
		o.done.Add(1)
		return
	}
	o.refused.Add(1)
}

func newOutcomes() map[string]*outcomes {
	all := map[string]*outcomes{}
	for _, name := range hall.Commands() {
		all[name] = &outcomes{}
	}
	return all
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
	Faults      uint64 // lines that could not be written, and the like: faults of the program
	WorkRefused uint64 // password checks and the like refused because too many waited
	Unkept      uint64 // messages that could not be kept in the history
	Lag         Lag
	Commands    []Command // in the order of their names
}

// A Command is how often clients have asked for something.
type Command struct {
	Name    string // "unknown" for what is no command
	Done    uint64
	Refused uint64 // answered by an error
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
		Sheds: c.sheds.Load(), Panics: c.panics.Load(), Faults: c.faults.Load(), WorkRefused: c.workRefused.Load(), Unkept: c.unkept.Load(),
	}
	for i := range stats.Lag.Turns {
		stats.Lag.Turns[i] = c.lag.turns[i].Load()
	}
	stats.Lag.Sum = time.Duration(c.lag.sum.Load())
	for _, name := range hall.Commands() {
		o := c.commands[name]
		stats.Commands = append(stats.Commands, Command{name, o.done.Load(), o.refused.Load()})
	}
	return stats
}
