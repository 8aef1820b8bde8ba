package epi

import (
	"sync/atomic"
	"time"
)

// blink is how long a loop may be without a look at its sockets before the time
// counts for nobody: longer than turns take that nothing holds up, and short
// beside any timeout.
const blink = int64(100 * time.Millisecond)

// judgeAgain is the pause before the peers are judged that could not be yet.
const judgeAgain = time.Millisecond

// A watch is the clock for what peers are given time for. It stands still while
// the program does not look at its sockets, because it is stopped, suspended, or
// held up by a callback: what the peers did meanwhile nobody knows. Its loop
// writes it and anybody may read it.
type watch struct {
	looked atomic.Int64 // when the loop last looked, on this clock
	lost   atomic.Int64 // how far this clock is behind the real one
	asleep atomic.Bool  // the loop is in the kernel, which looks in its place
	judged atomic.Int64 // of what had happened until then everything was brought

	// Of the loop.
	sweep    int64 // the first of the looks that have not brought everything; 0: there is none
	gathered int   // events that those have brought
}

// brought notes that a look has brought n events, of at most most. A look that is
// full may have left out some. Those come next: the kernel goes round, so that all
// that were ready at the first of several full looks have come when there were as
// many events as sockets.
func (w *watch) brought(n, most int, sockets int64) {
	now := w.looked.Load()
	if n < most {
		w.sweep = 0
		w.judged.Store(now)
		return
	}
	if w.sweep == 0 {
		w.sweep, w.gathered = now, 0
	}
	w.gathered += n
	if int64(w.gathered) > sockets {
		w.judged.Store(w.sweep)
		w.sweep = 0
	}
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
// to take at most, negative where it was to take as long as nothing happened. Of
// one that took longer nobody can tell when the program was stopped in it.
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

// realTime returns when a time on the clock of Watched is, on the real one. It can
// turn out to be later. What is due while the loop has not brought everything yet is
// looked at again in a while, not in each turn.
func (l *Loop) realTime(watched int64) int64 {
	when := deadline(watched, time.Duration(l.watch.lost.Load()+l.heldUp()))
	if l.watch.judged.Load() < l.watch.looked.Load() {
		return max(when, l.cfg.Clock()+int64(judgeAgain))
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
