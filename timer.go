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
	loop   *Loop
	timer  wheel.Timer // guarded by loop.mu
	fn     func()
	period time.Duration // 0: once
	policy TickPolicy
	due    int64 // guarded by loop.mu; on the clock of Loop.Watched; 0 where the real one counts
	ended  bool  // guarded by loop.mu; Stop was called
}

// After runs fn on the loop once, d from now or a little later, never earlier.
// Timers run in the order of their deadlines, those with the same deadline in
// the order in which they were made. It may be called from any goroutine.
func (l *Loop) After(d time.Duration, fn func()) *Timer {
	return l.newTimer(d, &Timer{loop: l, fn: fn})
}

// AfterWatched is After on the clock of [Loop.Watched]: time in which the program
// did not look at its sockets does not count. It is for the time that a peer is
// given to do something.
func (l *Loop) AfterWatched(d time.Duration, fn func()) *Timer {
	t := &Timer{loop: l, fn: fn, due: deadline(l.now(), d)}
	t.timer.Owner = t
	l.schedule(&t.timer, l.realTime(t.due))
	return t
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
	l.schedule(&t.timer, deadline(clock(), d))
	return t
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
	switch {
	case t.due > t.loop.looked():
		t.again(t.loop.realTime(t.due))
		return
	case t.period > 0:
		t.again(t.next(now))
	}
	t.loop.guard("timer", t.fn)
}

func (t *Timer) again(when int64) {
	l := t.loop
	l.mu.Lock()
	defer l.mu.Unlock()
	if t.ended {
		return // stopped between its expiry and now
	}
	l.wheel.Add(&t.timer, when)
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
