package times_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// TestT01_OrderByDeadline makes timers in a random order. Each deadline is
// known to lie between two readings of the clock.
func TestT01_OrderByDeadline(t *testing.T) {
	const timers = 500
	type reading struct{ earliest, latest time.Time }
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		l := epitest.StartLoop(t, m.Engine())
		deadlines := make([]reading, timers)
		var ran []int
		done := make(chan struct{})
		for i := range deadlines {
			d := time.Duration(rand.IntN(50)) * time.Millisecond
			epitest.OnLoop(t, l, func() {
				before := time.Now()
				l.After(d, func() {
					if early := time.Until(deadlines[i].earliest); early > 0 {
						t.Errorf("a timer of %v runs %v early", d, early)
					}
					if ran = append(ran, i); len(ran) == timers {
						close(done)
					}
				})
				deadlines[i] = reading{before.Add(d), time.Now().Add(d)}
			})

		}
		epitest.Receive(t, done)
		for k := 1; k < len(ran); k++ {
			first, second := deadlines[ran[k-1]], deadlines[ran[k]]
			// What is due only after a timer was made cannot have waited for it.
			if first.earliest.After(second.latest) {
				t.Errorf("timer %d runs before timer %d, which was due %v earlier", ran[k-1], ran[k], first.earliest.Sub(second.latest))
			}
		}
	})
}

func TestT01_EqualDelaysInOrderOfCreation(t *testing.T) {
	const timers = 1000
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		l := epitest.StartLoop(t, m.Engine())
		for _, d := range []time.Duration{math.MinInt64, -time.Second, 0, time.Millisecond} {
			var ran []int
			done := make(chan struct{})
			epitest.OnLoop(t, l, func() {
				for i := range timers {
					l.After(d, func() { ran = append(ran, i) })
				}
				l.After(max(d, 0), func() { close(done) })
			})

			epitest.Receive(t, done)
			if len(ran) != timers || !slices.IsSorted(ran) {
				t.Errorf("%d timers of %v ran, in the order %v", len(ran), d, ran)
			}
		}
	})
}

// Timer a stops timer b, which is due in the same phase.
//
//	task:   After(a) After(b), waits until both are due
//	timers: a: b.Stop() is true; b must not run
//	        c, made after them, finds b silent
func TestT01_StopInsideAnotherTimer(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		l := epitest.StartLoop(t, m.Engine())
		done := make(chan struct{})
		epitest.OnLoop(t, l, func() {
			var a, b *epi.Timer
			a = l.After(0, func() {
				if a.Stop() {
					t.Error("a timer that runs can be stopped")
				}
				if !b.Stop() || b.Stop() {
					t.Error("a timer that is due can be stopped, once")
				}
			})
			b = l.After(time.Nanosecond, func() { t.Error("a stopped timer runs") })
			l.After(time.Millisecond, func() { close(done) })
			time.Sleep(time.Millisecond)
		})

		epitest.Receive(t, done)
	})
}

func TestT01_StopFromOutside(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		l := epitest.StartLoop(t, m.Engine())
		far := l.After(time.Hour, func() { t.Error("a stopped timer runs") })
		farther := l.After(math.MaxInt64, func() { t.Error("a timer of 292 years runs") })
		if !far.Stop() || far.Stop() || !farther.Stop() {
			t.Error("a timer can be stopped, once")
		}
		tick := make(chan struct{}, 100)
		every := l.Every(time.Millisecond, epi.Skip, func() { tick <- struct{}{} })
		epitest.Receive(t, tick)
		// A tick that is under way may still end.
		every.Stop()
		epitest.OnLoop(t, l, func() {})
		for len(tick) > 0 {
			<-tick
		}
		done := make(chan struct{})
		l.After(5*time.Millisecond, func() { close(done) })
		epitest.Receive(t, done)
		if len(tick) > 0 {
			t.Error("a stopped Every ticks")
		}
	})
}

func TestT02_EveryInsideItsTick(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		l := epitest.StartLoop(t, m.Engine())
		const ticks = 3
		done := make(chan struct{})
		epitest.OnLoop(t, l, func() {
			count := 0
			var every *epi.Timer
			every = l.Every(time.Millisecond, epi.Burst, func() {
				if count++; count == ticks {
					if !every.Stop() {
						t.Error("Stop inside a tick finds no next one")
					}
					l.After(5*time.Millisecond, func() { close(done) })
				}
				if count > ticks {
					t.Error("an Every ticks that was stopped inside its tick")
				}
			})
		})

		epitest.Receive(t, done)
	})
}

// The loop is busy while three ticks of Every come due. A timer at 4¼ periods
// counts the ticks before it; timers run in the order of their deadlines, so
// the count does not depend on how fast the machine is.
//
//	periods:  0    1    2    3    4    5
//	loop:     (busy..............)  ¼
//	burst:                       123 4 |         makes up for all
//	delay:                       1     | 2       one period after the late tick
//	skip:                        1   2 |    3    keeps the beat
func TestT02_TicksThatComeTooLate(t *testing.T) {
	const period, attempts = 20 * time.Millisecond, 100
	for _, test := range []struct {
		name    string
		policy  epi.TickPolicy
		catchUp int // ticks that follow the stall at once
		want    int
	}{
		{"Burst", epi.Burst, 3, 4},
		{"Delay", epi.Delay, 1, 1},
		{"Skip", epi.Skip, 1, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			epitest.Each(t, func(t *testing.T, m epitest.Mode) {
				t.Parallel()
				l := epitest.StartLoop(t, m.Engine())
				var ticks []time.Duration
				for range attempts {
					ticks = ticksAfterStall(t, l, period, test.policy)
					if len(ticks) == 0 {
						t.Fatal("there was no tick")
					}
					expectTicksNotEarly(t, ticks, period, test.policy)
					if len(ticks) == test.want {
						return
					}
					if caughtUp := ticks[min(test.catchUp, len(ticks))-1]; caughtUp < 4*period {
						t.Fatalf("ticks at %v, want %d", ticks, test.want)
					}
					// What was to follow the stall at once came after the next
					// beat: the machine may have stalled longer than the loop.
				}
				t.Fatalf("ticks at %v, want %d, in each of %d attempts", ticks, test.want, attempts)
			})
		})
	}
}

// ticksAfterStall returns how long after its creation an Every has ticked,
// until 4¼ periods.
func ticksAfterStall(t *testing.T, l *epi.Loop, period time.Duration, policy epi.TickPolicy) []time.Duration {
	t.Helper()
	var ticks []time.Duration
	done := make(chan struct{})
	epitest.OnLoop(t, l, func() {
		begin := time.Now()
		every := l.Every(period, policy, func() { ticks = append(ticks, time.Since(begin)) })
		time.Sleep(3*period + period/2)
		l.After(time.Until(begin.Add(4*period+period/4)), func() {
			every.Stop()
			close(done)
		})
	})

	epitest.Receive(t, done)
	return ticks
}

// expectTicksNotEarly compares the ticks with the beat; ticks[0] is late.
func expectTicksNotEarly(t *testing.T, ticks []time.Duration, period time.Duration, policy epi.TickPolicy) {
	t.Helper()
	const stall = 3 // periods, at least
	for i, at := range ticks {
		beat := time.Duration(i + 1)
		if policy == epi.Skip && i > 0 {
			beat += stall - 1
		}
		if at < max(beat, stall)*period {
			t.Errorf("tick %d of %v is early", i, ticks)
		}
	}
}

// TestT03_MillionTimers stops half of a million timers; of the others, half are
// due soon and half in an hour. Timers do not depend on the driver: see
// TestT03_IdleLoopWakesForDueTimers for that.
func TestT03_MillionTimers(t *testing.T) {
	const timers, due, spread = 1_000_000, 250_000, 500
	e := epitest.Mode{}.Engine()
	l := epitest.StartLoop(t, e)
	ran := make([]uint8, timers)
	count, done := 0, make(chan struct{})
	epitest.OnLoop(t, l, func() {
		all := make([]*epi.Timer, timers)
		for i := range all {
			d := time.Duration(i%spread) * time.Millisecond
			if i%4 == 1 {
				d += time.Hour
			}
			earliest := time.Now().Add(d)
			all[i] = l.After(d, func() {
				if time.Now().Before(earliest) {
					t.Errorf("a timer of %v runs early", d)
				}
				ran[i]++
				if count++; count == due {
					close(done)
				}
			})
		}
		for i := 0; i < timers; i += 2 {
			if !all[i].Stop() {
				t.Errorf("timer %d cannot be stopped", i)
			}
		}
	})

	epitest.Receive(t, done)
	expectWakesOnlyFor(t, e, l, 10)
	for i, n := range ran {
		if want := uint8(i % 4 / 3); n != want {
			t.Fatalf("timer %d ran %d times, want %d", i, n, want)
		}
	}
}

// TestT03_IdleLoopWakesForDueTimers has a thousand timers that are far away.
func TestT03_IdleLoopWakesForDueTimers(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		l := epitest.StartLoop(t, e)
		for i := range 1000 {
			far := l.After(time.Hour+time.Duration(i)*time.Microsecond, func() { t.Error("runs early") })
			if i%2 == 0 {
				far.Stop()
			}
		}
		expectWakesOnlyFor(t, e, l, 10)
	})
}

// expectWakesOnlyFor makes some timers and counts the turns until all have run.
func expectWakesOnlyFor(t *testing.T, e *epi.Engine, l *epi.Loop, timers int) {
	t.Helper()
	const others = 4 // for the two tasks, and for a timer that was stopped
	var before, after epi.Stats
	done := make(chan struct{})
	epitest.OnLoop(t, l, func() {
		before = e.Stats()
		for i := range timers {
			l.After(time.Duration(i+1)*5*time.Millisecond, func() {
				if i+1 == timers {
					close(done)
				}
			})
		}
	})

	epitest.Receive(t, done)
	epitest.OnLoop(t, l, func() { after = e.Stats() })
	if n := after.Timers - before.Timers; n != uint64(timers) {
		t.Errorf("%d timers ran, %d were due", n, timers)
	}
	turns, sleeps := after.Turns-before.Turns, after.Sleeps-before.Sleeps
	if most := uint64(timers + others); turns > most || sleeps > most {
		t.Errorf("%d turns and %d sleeps for %d timers", turns, sleeps, timers)
	}
}

// TestHunt17_TimersAreCounted sets many timers, and stops some.
func TestHunt17_TimersAreCounted(t *testing.T) {
	const count = 1000
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		e := m.Engine()
		l := epitest.StartLoop(t, e)
		before := e.Stats().TimersWaiting
		var timers []*epi.Timer
		for range count {
			timers = append(timers, l.After(time.Hour, func() {}))
		}
		if n := e.Stats().TimersWaiting - before; n != count {
			t.Errorf("%d timers wait, want %d", n, count)
		}
		for _, timer := range timers {
			timer.Stop()
		}
		if n := e.Stats().TimersWaiting; n != before {
			t.Errorf("%d timers wait after they were stopped, before there were %d", n, before)
		}
	})
}
