package uring_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/epinet/epi/uring"
)

func newWaker(t *testing.T) *uring.Waker {
	t.Helper()
	w, err := uring.NewWaker()
	must(t, err)
	t.Cleanup(func() { must(t, w.Close()) })
	return w
}

func TestEachWakeCompletesTheOperation(t *testing.T) {
	eachKind(t, func(t *testing.T, setup uring.Setup) {
		r := newRing(t, uring.Config{Entries: 8, Setup: setup})
		w := newWaker(t)
		w.Arm(r.prepare(1))
		r.silent()
		for range 20 {
			must(t, w.Wake())
			if c := r.of(1); !c.More() {
				t.Fatal(show(c))
			}
			r.silent()
		}
	})
}

// Who wakes a ring that is not armed yet is not lost.
func TestWakeBeforeArm(t *testing.T) {
	r := newRing(t, uring.Config{Entries: 8, Setup: deferred})
	w := newWaker(t)
	must(t, w.Wake())
	w.Arm(r.prepare(1))
	r.of(1)
}

// Work is announced by Wake: it is seen, whoever announces it and when.
func TestNoWakeIsLost(t *testing.T) {
	eachKind(t, func(t *testing.T, setup uring.Setup) {
		const callers, times = 4, 500
		r := newRing(t, uring.Config{Entries: 8, CQEntries: 8, Setup: setup})
		w := newWaker(t)
		w.Arm(r.prepare(1))
		r.submit()
		var work atomic.Int64
		var all sync.WaitGroup
		for range callers {
			all.Go(func() {
				for range times {
					work.Add(1)
					if err := w.Wake(); err != nil {
						t.Error(err)
					}
				}
			})
		}
		for work.Load() < callers*times {
			if c := r.of(1); !c.More() {
				w.Arm(r.prepare(1))
			}
		}
		all.Wait()
	})
}
