package epi

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/epinet/epi/internal/driver"
)

// account notes how many bytes the connection holds: so many are queued, and
// others are unread, or held by the handler.
func (c *Conn) account(queued int) {
	held := int64(queued)
	if c.inbox != nil {
		held += int64(c.inbox.Held())
	}
	if c.extra != nil {
		held += int64(c.extra.held)
	}
	if c.state.Load()&gone != 0 {
		held = 0 // it gives them back
	}
	if held == c.held.Load() {
		return
	}
	before := c.held.Swap(held)
	c.loop.count.held.Add(held - before)
	if c.state.Load()&gone != 0 {
		c.givesBack() // it was shed meanwhile
		return
	}
	if held > before {
		c.loop.engine.memory.check()
	}
}

// givesBack ends the account of a connection that is gone.
func (c *Conn) givesBack() { c.loop.count.held.Add(-c.held.Swap(0)) }

// Hold says how many bytes the handler holds for the connection, such as those of a
// message that is not whole yet: until it says otherwise they count for
// Engine.MaxMemory, as unread ones do. Callbacks only.
func (c *Conn) Hold(n int) {
	if n == 0 && c.extra == nil || n == c.extras().held {
		return
	}
	c.extra.held = n
	c.accountUnread()
}

// accountUnread is account where the number of unread bytes has changed.
func (c *Conn) accountUnread() {
	c.mu.Lock()
	queued := c.queued
	c.mu.Unlock()
	c.account(queued)
}

// A memory is what all connections of an engine hold, and the bound of that.
type memory struct {
	limit    int         // MaxMemory
	loops    []*Loop     // those that have them
	shedding atomic.Bool // connections are looked for that hold too much
}

// held returns the bytes that all connections hold.
func (m *memory) held() (n int64) {
	for _, l := range m.loops {
		n += l.count.held.Load()
	}
	return n
}

// check sheds connections when they hold too much together.
func (m *memory) check() {
	if m.limit == math.MaxInt {
		return
	}
	over := m.held() - int64(m.limit)
	if over <= 0 || !m.shedding.CompareAndSwap(false, true) {
		return
	}
	s := &shedding{memory: m, over: over, asked: len(m.loops)}
	for _, l := range m.loops {
		if l.post(func() { s.add(l.largest()) }, unbounded) != nil {
			s.add(nil) // the loop has ended
		}
	}
}

// A shedding is one search for the connections that hold most. All loops are asked
// for theirs; the last one to answer ends so many that the rest is not too much.
type shedding struct {
	memory *memory
	over   int64 // when the search began; later of the last loop to answer

	mu    sync.Mutex
	asked int      // guarded by mu; loops that have not answered
	found []holder // guarded by mu
}

// A holder is a connection and what it held when it was looked at.
type holder struct {
	conn *Conn
	held int64
}

// mostHolders bounds the connections that a loop names in one search.
const mostHolders = 256

// largest returns the connections of the loop that hold most, the largest first.
func (l *Loop) largest() []holder {
	var all []holder
	l.drv.Sockets(func(s driver.Stream) {
		c := connOf(s)
		if held := c.held.Load(); held > 0 {
			all = append(all, holder{c, held})
		}
	})
	slices.SortFunc(all, larger)
	return slices.Clone(all[:min(len(all), mostHolders)])
}

func larger(a, b holder) int { return cmp.Compare(b.held, a.held) }

// add takes the answer of a loop.
func (s *shedding) add(found []holder) {
	s.mu.Lock()
	s.found = append(s.found, found...)
	s.asked--
	last := s.asked == 0
	s.mu.Unlock()
	if last {
		s.shed()
	}
}

// shed ends the largest ones, and what they hold no longer counts. Connections that have gone
// since the search began count as ended, so no other goes in their place. The figures are the
// search's, since connections take and give back memory at any moment: what has come since is
// looked at afterwards.
func (s *shedding) shed() {
	slices.SortFunc(s.found, larger)
	some := false
	for ; s.over > 0 && s.memory.held() > int64(s.memory.limit) && len(s.found) > 0; s.found = s.found[1:] {
		largest := s.found[0]
		_ = largest.conn.end(aborting|resetting, ErrMemory)
		largest.conn.givesBack()
		s.over -= largest.held
		some = true
	}
	s.memory.shedding.Store(false)
	if some {
		s.memory.check()
	}
}
