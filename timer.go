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
