package epi

import (
	"math"
	"time"

	"github.com/epinet/epi/internal/wheel"
)

// A TickPolicy says what Every does about ticks that it missed, because the
// loop was busy with something else.
type TickPolicy uint8

// The policies.
const (
	// Burst makes up for every missed tick, one after the other.
	Burst TickPolicy = iota
	// Delay goes on one period after the late tick.
	Delay
	// Skip leaves missed ticks out and keeps to the original beat.
	Skip
)

// A Timer is a call that Loop.After or Loop.Every has scheduled.
type Timer struct {
	loop    *Loop
	timer   wheel.Timer // guarded by loop.mu
	fn      func()
	period  time.Duration // 0: once
	policy  TickPolicy
	watched bool  // it is one of AfterWatched
	due     int64 // guarded by loop.mu; of AfterWatched: when, on that clock
	ended   bool  // guarded by loop.mu; Stop was called
}

// After runs fn on the loop once, d from now or a little later, never earlier. When
// the loop ends before (Loop.Done), fn does not run, and Stop reports false.
// Timers run in the order of their deadlines, those with the same deadline in
// the order in which they were made. It may be called from any goroutine.
func (l *Loop) After(d time.Duration, fn func()) *Timer {
	return l.newTimer(d, &Timer{loop: l, fn: fn})
}

// AfterWatched is After on the clock of [Loop.Watched]: time in which the program
// did not look at its sockets does not count. It is for the time that a peer is
// given to do something.
func (l *Loop) AfterWatched(d time.Duration, fn func()) *Timer {
	return l.newTimer(d, &Timer{loop: l, fn: fn, watched: true})
}

// Every runs fn on the loop every d, which must be positive, for the first
// time d from now. policy says what happens to ticks that come too late. It
// may be called from any goroutine.
func (l *Loop) Every(d time.Duration, policy TickPolicy, fn func()) *Timer {
	if d <= 0 {
		panic("epi: the period of Loop.Every must be positive, it is " + d.String())
	}
	return l.newTimer(d, &Timer{loop: l, fn: fn, period: d, policy: policy})
}

func (l *Loop) newTimer(d time.Duration, t *Timer) *Timer {
	t.timer.Owner = t
	t.Reset(d)
	return t
}

// Reset schedules the timer anew, for d from now, whether it still waits, has run
// or was stopped, and reports whether it was still going to run. For one of Every
// that is the next tick, after which it keeps its period. A call of fn that is
// under way, or due, is not taken back. It may be called from any goroutine.
func (t *Timer) Reset(d time.Duration) bool {
	l := t.loop
	when := deadline(l.cfg.Clock(), d)
	l.mu.Lock()
	if l.stopped {
		l.mu.Unlock()
		return false
	}
	t.ended = false
	if t.watched {
		t.due = deadline(l.now(), d)
		when = l.realTime(t.due)
	}
	waited := l.wheel.Remove(&t.timer)
	l.wheel.Add(&t.timer, when)
	sleeping := l.sooner(when)
	l.mu.Unlock()
	if sleeping {
		l.wake()
	}
	return waited
}

// maxTime is the latest deadline. math.MaxInt64 means that there is none.
const maxTime = math.MaxInt64 - 1

// deadline adds without overflow.
func deadline(now int64, d time.Duration) int64 {
	when := now + int64(d)
	if d > 0 && when < now {
		return maxTime
	}
	return when
}

// Stop prevents the timer from running again and reports whether it was still
// going to. It may be called from any goroutine; called on the loop, it is
// certain that fn does not run after it.
func (t *Timer) Stop() bool {
	t.loop.mu.Lock()
	t.ended = true
	t.loop.mu.Unlock()
	return t.loop.unschedule(&t.timer)
}

// expire runs the timer and, before, schedules its next tick.
func (t *Timer) expire(now int64) {
	if !t.again(now) {
		t.loop.guard("timer", t.fn)
	}
}

// again puts it back into the wheel where it is to run again, and reports whether
// it is too early for it to run now.
func (t *Timer) again(now int64) (early bool) {
	l := t.loop
	l.mu.Lock()
	defer l.mu.Unlock()
	early = t.watched && t.due > l.looked()
	switch {
	case t.ended || t.timer.Scheduled(): // stopped, or set anew, between its expiry and now
	case early:
		l.wheel.Add(&t.timer, l.realTime(t.due))
	case t.period > 0:
		l.wheel.Add(&t.timer, t.next(now))
	}
	return early
}

// next returns the deadline of the tick after the one that runs now.
func (t *Timer) next(now int64) int64 {
	due := t.timer.When()
	switch t.policy {
	case Delay:
		return deadline(now, t.period)
	case Skip:
		missed := (now - due) / int64(t.period)
		return deadline(due+missed*int64(t.period), t.period)
	}
	return deadline(due, t.period)
}

// Watched returns the time for which the loop has looked at its sockets, from a
// moment of no meaning on. It is the clock of all timeouts about peers: it stands
// still while the program is stopped or suspended and while a callback holds up
// the loop, or all workers, for longer than 100 ms. So nobody is given up for a
// time in which nobody looked. [Loop.AfterWatched] is a timer on this clock. It
// may be called from any goroutine.
func (l *Loop) Watched() time.Duration { return time.Duration(l.now()) }

// now is Watched.
func (l *Loop) now() int64 { return l.watch.now(l.cfg.Clock()) - l.heldUp() }

// looked returns the time of the last look that has brought everything, on the clock
// of Watched. What peers had done until then has been delivered, or is with a worker:
// it is the time by which they are judged.
func (l *Loop) looked() int64 { return l.watch.judged.Load() - l.heldUp() }

// judgeAgain is the pause before the peers are judged that could not be yet.
const judgeAgain = int64(time.Millisecond)

// realTime returns when a time on the clock of Watched is, on the real one. It can
// turn out to be later. What is due while the loop has not brought everything yet is
// looked at again in a while, not in each turn.
func (l *Loop) realTime(watched int64) int64 {
	when := deadline(watched, time.Duration(l.watch.lost.Load()+l.heldUp()))
	if l.watch.judged.Load() < l.watch.looked.Load() {
		return max(when, l.cfg.Clock()+max(judgeAgain, l.watch.delay/delayLooks))
	}
	return when
}

// heldUp returns how long connections have waited because all workers were busy.
func (l *Loop) heldUp() int64 {
	if l.engine.workers == nil {
		return 0
	}
	return l.engine.workers.lost.Load()
}

// runTimers runs the timers that were due when the phase began.
func (l *Loop) runTimers() {
	next := l.nextTimer.Load()
	if next == math.MaxInt64 {
		return
	}
	now := l.cfg.Clock()
	if next > now {
		return
	}
	l.mu.Lock()
	l.wheel.Advance(now)
	for t := l.wheel.Expire(); t != nil; t = l.wheel.Expire() {
		owner := t.Owner.(expirer)
		l.noteDeadline(t, -1)
		l.mu.Unlock()
		owner.expire(now)
		l.count.timers.Add(1)
		l.mu.Lock()
	}
	l.noteTimer()
	l.mu.Unlock()
}

// An expirer is what a timer in the wheel belongs to.
type expirer interface{ expire(now int64) }

// noteTimer publishes the earliest deadline. The caller holds mu.
func (l *Loop) noteTimer() {
	next, ok := l.wheel.Next()
	if !ok {
		next = math.MaxInt64
	}
	l.nextTimer.Store(next)
}

// schedule puts t into the wheel, unless it is there for an earlier time.
func (l *Loop) schedule(t *wheel.Timer, when int64) {
	l.mu.Lock()
	if l.stopped || t.Scheduled() && t.When() <= when {
		l.mu.Unlock()
		return
	}
	if !l.wheel.Remove(t) {
		l.noteDeadline(t, 1)
	}
	l.wheel.Add(t, when)
	sleeping := l.sooner(when)
	l.mu.Unlock()
	if sleeping {
		l.wake()
	}
}

// noteDeadline counts a timer that is put into the wheel or taken out, if it is a
// connection's. The caller holds mu.
func (l *Loop) noteDeadline(t *wheel.Timer, n int) {
	if _, peer := t.Owner.(*Conn); peer {
		l.deadlines += n
	}
}

// sooner publishes a new deadline and reports whether the loop must be woken
// for it. The caller holds mu.
func (l *Loop) sooner(when int64) (sleeping bool) {
	if when >= l.nextTimer.Load() {
		return false
	}
	l.nextTimer.Store(when)
	sleeping = l.asleep
	l.asleep = false
	return sleeping
}

// unschedule takes t out of the wheel and reports whether it was in it. The
// next deadline is not looked for: at worst the loop wakes once for nothing.
func (l *Loop) unschedule(t *wheel.Timer) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped || !l.wheel.Remove(t) {
		return false
	}
	l.noteDeadline(t, -1)
	if l.wheel.Len() == 0 {
		l.nextTimer.Store(math.MaxInt64)
	}
	return true
}

// waitingTimers returns the number of timers in the wheel.
func (l *Loop) waitingTimers() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.wheel.Len()
}
