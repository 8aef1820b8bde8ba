package tlspipe

import (
	"container/list"
	"fmt"
	"math"
	"sync"
	"time"
)

const (
	// slotTime is how long a handshake has a slot at most: ten times what the
	// slowest keys need. One that needs longer is blocked in a function of the
	// tls.Config, and must not hold up those that could compute.
	slotTime = 50 * time.Millisecond
	// leastPause is between two looks whether the silent are to give way.
	leastPause = time.Millisecond
	// never is when an Alarm that is stopped rings.
	never = math.MaxInt64
)

// A Limit is what many handshakes share. A number of places has each a goroutine; of
// those a few compute at once:
//
//	fresh ──► computing ◄── ready ◄── silent
//	              └──────────────────────↗ └► cut
//
// A handshake that waits for its peer is silent, and nobody waits for it. When all
// places are taken, the one that has been silent for longest gives way. Which way a
// handshake goes is decided in schedule.
type Limit struct {
	cfg LimitConfig

	mu        sync.Mutex
	begun     int       // guarded by mu; have begun and not ended, the cut ones left out
	fresh     list.List // guarded by mu; wait to begin. All lists have the oldest first
	ready     list.List // guarded by mu; their peers have answered: they wait for a slot
	computing list.List // guarded by mu; have a slot
	silent    list.List // guarded by mu; those of servers that wait for their peers
	alarm     Alarm     // guarded by mu; calls tick; nil before the first wait
	due       int64     // guarded by mu; when it does, never while it is stopped
}

// LimitConfig is what a Limit is made of. The functions may be called from any
// goroutine.
type LimitConfig struct {
	Places   int           // handshakes that may have begun
	Slots    int           // of those, how many may compute at once
	MaxInput int           // bytes that wait for one handshake at most: beyond, nothing more is to be fed
	Silence  time.Duration // for how long a server's peer may be silent while others wait for its place

	Time      func() int64                      // the monotonic time, in nanoseconds
	After     func(time.Duration, func()) Alarm // calls a function when the time has passed
	Condition func(sync.Locker) Condition       // makes a sync.Cond
	Spawn     func(func())                      // runs a function in a goroutine
}

// An Alarm is a time.Timer that calls a function.
type Alarm interface {
	Reset(time.Duration) bool
}

// A Condition is a sync.Cond.
type Condition interface {
	Wait()
	Signal()
}

// NewLimit returns a Limit for handshakes.
func NewLimit(cfg LimitConfig) *Limit {
	return &Limit{cfg: cfg, due: never}
}

// begin lets a handshake begin when there is room for it.
func (l *Limit) begin(s *handshake) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.move(s, &l.fresh)
	s.quiet = s.clock().Now()
	l.schedule()
}

// pause gives the slot back because the handshake waits for its peer.
func (l *Limit) pause(s *handshake) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.pipe.client {
		l.move(s, nil) // nobody makes us dial: it keeps its place
	} else {
		l.move(s, &l.silent)
		s.quiet = s.clock().Now()
	}
	l.schedule()
}

// resume waits for a slot because the peer has answered.
func (l *Limit) resume(s *handshake) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.cut {
		return
	}
	l.move(s, &l.ready)
	l.schedule()
	for s.in == &l.ready {
		s.turn.Wait()
	}
}

// end gives back what the handshake has.
func (l *Limit) end(s *handshake) {
	l.mu.Lock()
	l.move(s, nil)
	if !s.cut {
		l.begun--
	}
	l.schedule()
	l.mu.Unlock()
	s.pipe.host.HandshakeOver()
}

// withdraw takes a handshake back that has not begun, and reports whether it had
// not.
func (l *Limit) withdraw(s *handshake) bool {
	if !l.take(s) {
		return false
	}
	s.pipe.host.HandshakeOver()
	return true
}

// take is withdraw, under mu.
func (l *Limit) take(s *handshake) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.in != &l.fresh {
		return false
	}
	l.move(s, nil)
	return true
}

// move puts a handshake at the end of a list, or in none. The caller holds mu.
func (l *Limit) move(s *handshake, to *list.List) {
	if s.in != nil {
		s.in.Remove(s.at)
	}
	s.in, s.since = to, l.cfg.Time()
	if to != nil {
		s.at = to.PushBack(s)
	}
}

// schedule lets those go on for whom there is room. The caller holds mu.
func (l *Limit) schedule() {
	now := l.cfg.Time()
	for s := oldest(&l.computing); s != nil && now-s.since >= int64(slotTime); s = oldest(&l.computing) {
		l.move(s, nil) // it goes on without a slot
	}
	for l.computing.Len() < l.cfg.Slots {
		s := l.next(now)
		if s == nil {
			break
		}
		begins := s.in == &l.fresh
		l.move(s, &l.computing)
		if begins {
			l.begun++
			l.cfg.Spawn(s.run)
		} else {
			s.turn.Signal()
		}
	}
	l.lookAgain()
}

// next returns the handshake that is to have a slot now. Those that are under way
// come first. The caller holds mu.
func (l *Limit) next(now int64) *handshake {
	if s := oldest(&l.ready); s != nil {
		return s
	}
	s := oldest(&l.fresh)
	if s == nil || l.begun >= l.cfg.Places && !l.cutOne() {
		return nil
	}
	if s.clock().Looked()-s.quiet > int64(l.cfg.Silence) {
		// There are more than can be served. Who waits in order would have gone
		// away when its turn comes, so the newest is the best to serve.
		s = l.fresh.Back().Value.(*handshake)
	}
	return s
}

// cutOne ends the handshake that has waited for its peer for longest, and reports
// whether there was one that had to. The caller holds mu.
func (l *Limit) cutOne() bool {
	s := oldest(&l.silent)
	if s == nil {
		return false
	}
	quiet := s.clock().Looked() - s.quiet
	if quiet < int64(l.cfg.Silence) {
		return false
	}
	l.move(s, nil)
	s.cut = true
	l.begun--
	s.abandon(fmt.Errorf("%w: nothing was received for %v while others waited, MaxHandshakes is %d", ErrCut, time.Duration(quiet), l.cfg.Places))
	return true
}

// lookAgain sees to it that tick is called when somebody who waits might go on
// without anybody's doing. The caller holds mu.
func (l *Limit) lookAgain() {
	due := int64(never)
	switch s, quiet := oldest(&l.computing), oldest(&l.silent); {
	case l.fresh.Len()+l.ready.Len() == 0:
	case l.computing.Len() >= l.cfg.Slots:
		due = s.since + int64(slotTime)
	case quiet != nil: // it was no slot that was missing, but a place
		left := int64(l.cfg.Silence) - (quiet.clock().Now() - quiet.quiet)
		due = l.cfg.Time() + max(left, int64(leastPause)) // its loop is to look first
	}
	if due >= l.due {
		return
	}
	l.due = due
	pause := time.Duration(due - l.cfg.Time())
	if l.alarm == nil {
		l.alarm = l.cfg.After(pause, l.tick)
		return
	}
	l.alarm.Reset(pause)
}

// tick goes on where somebody has waited for long enough. Whether a peer is silent
// is for its loop to say, when it has looked.
func (l *Limit) tick() {
	l.mu.Lock()
	l.due = never
	l.schedule()
	quiet := oldest(&l.silent)
	if l.fresh.Len() == 0 {
		quiet = nil
	}
	l.mu.Unlock()
	if quiet != nil {
		quiet.clock().Later(l.reschedule)
	}
}

func (l *Limit) reschedule() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.schedule()
}

func oldest(l *list.List) *handshake {
	if e := l.Front(); e != nil {
		return e.Value.(*handshake)
	}
	return nil
}
