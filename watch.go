package epi

import (
	"sync/atomic"
	"time"
)

// blink is how long a loop may be without a look at its sockets before the time
// counts for nobody: longer than turns take that nothing holds up, and short
// beside any timeout.
const blink = int64(100 * time.Millisecond)

// delayLooks is in how many pauses between looks at least a driver's delay passes.
const delayLooks = 2

// A watch is the clock for what peers are given time for. It stands still while
// the program does not look at its sockets, because it is stopped, suspended, or
// held up by a callback: what the peers did meanwhile nobody knows. Its loop
// writes it and anybody may read it.
type watch struct {
	looked atomic.Int64 // when the loop last looked, on this clock
	lost   atomic.Int64 // how far this clock is behind the real one
	asleep atomic.Bool  // the loop is in the kernel, which looks in its place
	judged atomic.Int64 // of what had happened until then everything was brought

	delay int64 // how much running time a look may be behind: see driver.Delayed. Set before the loop runs

	// Of the loop.
	sweep    int64 // the first of the looks that have not brought everything; 0: there is none
	gathered int   // events that those have brought
	waited   int64 // of delay, since sweep
	last     int64 // the latest look of those by which waited was counted
}

// brought notes that a look has brought n events, of at most most. A look that is
// full may have left out some. Those come next: the kernel goes round, so that all
// that were ready at the first of several full looks have come when there were as
// many events as sockets. Of a driver that is behind, what was ready at a look comes
// with those that are delay later.
func (w *watch) brought(n, most int, sockets int64) {
	now := w.looked.Load()
	if w.sweep == 0 {
		w.sweep, w.gathered, w.waited, w.last = now, 0, 0, now
	}
	if w.waited < w.delay {
		w.waited += min(now-w.last, w.delay/delayLooks) // of a longer pause nobody knows whether the program ran in it
		w.last = now
		if w.waited < w.delay {
			return
		}
	}
	w.gathered += n
	switch {
	case n < most && w.delay == 0:
		w.judged.Store(now)
	case n < most || int64(w.gathered) > sockets:
		w.judged.Store(w.sweep)
	default:
		return
	}
	w.sweep = 0
}

// look notes that the loop looks at its sockets at the real time t.
func (w *watch) look(t int64) {
	now := t - w.lost.Load()
	if late := now - w.looked.Load() - blink; late > 0 {
		w.lost.Add(late)
		now -= late
	}
	w.looked.Store(now)
}

// woke notes that a sleep has ended at the real time t. timeout is how long it was
// to take at most, negative where it was to take as long as nothing happened. If
// it took longer, the program was stopped in it, at a time that is not known.
func (w *watch) woke(t int64, timeout time.Duration) {
	slept := t - w.lost.Load() - w.looked.Load()
	if timeout >= 0 && slept-blink > int64(timeout) {
		w.lost.Add(slept - blink)
	}
	w.looked.Store(t - w.lost.Load())
	w.asleep.Store(false)
}

// now returns the time when it is t really. Where the loop looks at the same moment it may be ahead
// of what later calls return.
func (w *watch) now(t int64) int64 {
	now := t - w.lost.Load()
	if w.asleep.Load() {
		return now
	}
	return min(now, w.looked.Load()+blink)
}
