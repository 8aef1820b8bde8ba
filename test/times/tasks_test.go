package times_test

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// TestT05_TasksOnceAndInOrder posts a million tasks (a tenth of it where the
// driver is not the default, whose tasks are the same code), and goes on
// posting until a client has had its echoes in between.
func TestT05_TasksOnceAndInOrder(t *testing.T) {
	const posters, maxTasks, echoes = 8, 10_000, 20
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		each := 12_500
		if m.Driver == epi.DriverEpoll && m.Trigger == epi.TriggerEdge && m.Workers == 0 {
			each = 125_000
		}
		e := m.Serial()
		e.MaxTasks = maxTasks
		s := epitest.Start(t, e, epitest.EchoHandler)
		l, err := e.Loop(0)
		if err != nil {
			t.Fatal(err)
		}
		var served atomic.Bool
		var all sync.WaitGroup
		var ran [posters]int // tasks of each poster, of the loop
		var posted [posters]int
		for p := range posters {
			all.Go(func() {
				for i := 0; i < each || !served.Load(); i++ {
					task := func() {
						if ran[p] != i {
							t.Errorf("poster %d: task %d runs after %d others", p, i, ran[p])
						}
						ran[p]++
					}
					for err := l.Do(task); err != nil; err = l.Do(task) {
						if !errors.Is(err, epi.ErrTooManyTasks) {
							t.Errorf("Do returns %v", err)
							return
						}
						runtime.Gosched()
					}
					posted[p]++
				}
			})
		}
		c := s.Dial()
		for range echoes {
			epitest.RoundTrip(t, c, "x")
		}
		served.Store(true)
		all.Wait()
		epitest.OnLoop(t, l, func() {
			if ran != posted {
				t.Errorf("posted %v, ran %v", posted, ran)
			}
		})

		// A loop counts the tasks of a turn when all of them have run.
		epitest.WaitUntil(t, "all tasks are counted", func() bool { return e.Stats().Tasks >= posters*uint64(each) })
	})
}

func TestT05_MaxTasks(t *testing.T) {
	const most, more = 5, 3
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		e.MaxTasks = most
		l := epitest.StartLoop(t, e)
		release := epitest.Hold(t, l)
		ran := 0
		for range most {
			if err := l.Do(func() { ran++ }); err != nil {
				t.Fatal(err)
			}
		}
		for range more {
			if err := l.Do(func() { t.Error("a refused task runs") }); !errors.Is(err, epi.ErrTooManyTasks) {
				t.Errorf("Do returns %v", err)
			}
		}
		release()
		epitest.WaitUntil(t, "there is room again", func() bool {
			done := make(chan struct{})
			if l.Do(func() { close(done) }) != nil {
				return false
			}
			epitest.Receive(t, done)
			return true
		})
		if ran != most {
			t.Errorf("%d tasks ran of %d", ran, most)
		}
		if n := e.Stats().TasksRefused; n < more {
			t.Errorf("%d refused tasks are counted", n)
		}
	})
}

// chains are ways to keep a loop busy for ever. next is called in each step. A
// timer that is overdue when it is made waits for the next turn, too.
var chains = []struct {
	name string
	next func(l *epi.Loop, fn func()) error
}{
	{"tasks", (*epi.Loop).Do},
	{"timers", func(l *epi.Loop, fn func()) error { l.After(0, fn); return nil }},
	{"overdue timers", func(l *epi.Loop, fn func()) error { l.After(-time.Second, fn); return nil }},
}

// TestT05_EndlessChainStarvesNobody runs a task that posts itself for ever, and
// a zero-delay timer that does (T1), beside a client, a task and a timer.
func TestT05_EndlessChainStarvesNobody(t *testing.T) {
	const echoes = 20
	for _, chain := range chains {
		t.Run(chain.name, func(t *testing.T) {
			epitest.Each(t, func(t *testing.T, m epitest.Mode) {
				t.Parallel()
				e := m.Serial()
				s := epitest.Start(t, e, epitest.EchoHandler)
				l, err := e.Loop(0)
				if err != nil {
					t.Fatal(err)
				}
				var stopped atomic.Bool
				steps := 0
				ended := make(chan struct{})
				var step func()
				step = func() {
					if steps++; stopped.Load() {
						close(ended)
						return
					}
					if err := chain.next(l, step); err != nil {
						t.Errorf("the chain breaks: %v", err)
					}
				}
				epitest.OnLoop(t, l, step)
				c := s.Dial()
				for range echoes {
					epitest.RoundTrip(t, c, "x")
				}
				ticked := make(chan struct{})
				l.After(0, func() { close(ticked) })
				epitest.Receive(t, ticked)
				epitest.OnLoop(t, l, func() {})
				stopped.Store(true)
				epitest.Receive(t, ended)
				// One step in each turn, but for the first, in which a task may start
				// a timer, and the last, which is not yet counted.
				if turns := e.Stats().Turns; uint64(steps) > turns+2 {
					t.Errorf("%d steps in %d turns", steps, turns)
				}
			})
		})
	}
}
