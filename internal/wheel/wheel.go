// Package wheel keeps timers in a hierarchical timing wheel: adding, removing
// and expiring one costs the same whether there are ten or ten million.
//
// A wheel has no goroutine, no clock and no lock. Its owner gives it the time,
// takes out what is due and guards every call. Timers are linked through their
// own fields, so that the wheel allocates nothing.
//
// # How it works
//
// A time is cut into ticks, and the tick number into digits of six bits, one
// per level. A timer lies on the level of the highest digit in which its tick
// differs from the current tick, in the slot that this digit names:
//
//	63               58 57   52            21   16 15            0
//	| digit of level 7 | level 6 |  ...  | level 0 | within a tick |
//
// Everything on one level is therefore due before everything on the next, and
// the slots of a level are due in the order of their numbers: one bitmap per
// level finds the first. When the current tick reaches a slot, its timers move
// to finer levels, and from level 0 to the ready queue: eight moves at most in
// the life of a timer.
//
// The slots only sort coarsely. The exact order comes from the ready queue,
// and from the queue of whichever slot comes first; both find their earliest timer
// on demand; see queue.
package wheel

import "math/bits"

const (
	// tickBits makes a tick 65.5 µs and level 0 4.2 ms. Ticks are invisible
	// outside: they bound how many timers the ready queue orders at a time.
	tickBits = 16
	// slotBits makes a level's bitmap one word.
	slotBits = 6
	slots    = 1 << slotBits
	// levels times slotBits, plus tickBits, reaches beyond math.MaxInt64.
	levels = 8
)

// A home says which queue of the wheel holds a timer.
type home uint16

// The homes. The slot s of level l is slot0 + l*slots + s.
const (
	nowhere home = iota // not scheduled, as is the zero Timer
	late                // added when already due: waits for the next phase
	ready               // of the current tick or of one before
	slot0
)

// A Timer is scheduled by Wheel.Add. It is meant to be a field of the struct it
// serves. The zero Timer is not scheduled; a scheduled one must not be copied.
type Timer struct {
	next, prev, child *Timer // see queue
	when              int64
	seq               uint64 // creation: which Add of its wheel this was
	home              home

	// Owner is for the caller, who finds by it what the timer serves. The wheel
	// does not look at it. A pointer in it costs no allocation.
	Owner any
}

// When returns the time given to the last Add.
func (t *Timer) When() int64 { return t.when }

// Scheduled reports whether t is in a wheel.
func (t *Timer) Scheduled() bool { return t.home != nowhere }

// before is the order in which timers expire.
func (t *Timer) before(u *Timer) bool {
	return t.when < u.when || t.when == u.when && t.seq < u.seq
}

// A Wheel is a set of timers. The zero Wheel is empty, at time 0.
//
// Times are nanoseconds since a moment of the owner's choice, on a monotonic
// clock. They are not negative; a negative deadline counts as past.
type Wheel struct {
	queues   [slot0 + levels*slots]queue // by home
	occupied [levels]uint64              // bit s: slot s of the level is not empty

	now   int64  // the latest time given to Advance
	tick  int64  // the current tick: at most that of now, and behind it while slots are being opened
	seq   uint64 // Adds so far
	count int
	moved uint64 // moves from one queue to another; the tests bound it
}

// Len returns the number of scheduled timers.
func (w *Wheel) Len() int { return w.count }

// Add schedules t for the time when. It panics if t is scheduled already:
// Remove it first. A time that has passed is due in the next phase.
func (w *Wheel) Add(t *Timer, when int64) {
	if t.Scheduled() {
		panic("wheel: the timer is scheduled already")
	}
	w.seq++
	w.count++
	t.when, t.seq = when, w.seq
	if when <= w.now {
		w.put(t, late)
		return
	}
	w.place(t)
}

// Remove takes t out and reports whether it was scheduled. A timer belongs to
// the wheel it was added to; no other may remove it.
func (w *Wheel) Remove(t *Timer) bool {
	if !t.Scheduled() {
		return false
	}
	w.take(t)
	return true
}

// Next returns the earliest deadline. It is exact: an owner who sleeps until
// then has a timer to expire when it wakes. Of a deadline that has passed it
// may return a later one that has passed as well. Ok is false when nothing is
// scheduled.
func (w *Wheel) Next() (when int64, ok bool) {
	for _, h := range [...]home{late, ready, w.first()} {
		if t := w.queues[h].min(); t != nil {
			return t.when, true
		}
	}
	return 0, false
}

// Advance sets the time and begins a phase: the calls of Expire that follow
// return the timers which are due by now and were added before Advance. A
// timer added during the phase waits for the next one, so that a chain of
// zero-delay timers leaves the owner time for other work. A phase may be
// given up at any point; what was due stays due.
//
// A time before that of an earlier call changes nothing in the clock.
func (w *Wheel) Advance(now int64) {
	w.now = max(w.now, now)
	w.scatter(late)
}

// Expire takes out the next timer of the phase: the one with the earliest
// deadline, of equal ones the one added first. It returns nil when none is
// left. No timer is returned before its exact deadline.
func (w *Wheel) Expire() *Timer {
	for {
		if t := w.queues[ready].min(); t != nil {
			if t.when > w.now {
				return nil
			}
			w.take(t)
			return t
		}
		if !w.open() {
			return nil
		}
	}
}

// open moves the current tick to the first occupied slot and spreads its
// timers. It returns false when that slot is in the future.
func (w *Wheel) open() bool {
	h, today := w.first(), w.now>>tickBits
	if h == nowhere || w.start(h) > today {
		w.tick = today
		return false
	}
	w.tick = w.start(h)
	w.scatter(h)
	return true
}

// first returns the slot that is due first, or nowhere, whose queue is always
// empty. The digit of every
// timer's level is above that of the current tick, so slots never wrap around.
func (w *Wheel) first() home {
	for level, set := range w.occupied {
		if set != 0 {
			return slot0 + home(level*slots+bits.TrailingZeros64(set))
		}
	}
	return nowhere
}

// start returns the first tick of the slot h: the digits of the current tick
// above the slot's level, then the slot's number, then zeros.
func (w *Wheel) start(h home) int64 {
	level, slot := int(h-slot0)/slots, int64(h-slot0)%slots
	above := w.tick >> ((level + 1) * slotBits)
	return (above<<slotBits | slot) << (level * slotBits)
}

// scatter empties the queue of h and places each of its timers anew.
func (w *Wheel) scatter(h home) {
	q := &w.queues[h]
	for t := q.head; t != nil; t = q.head {
		w.dequeue(t)
		w.place(t)
		w.moved++
	}
}

// place puts t where the current tick says. It looks at the tick and not at
// the time: a timer whose slot is opened belongs to the phase.
func (w *Wheel) place(t *Timer) {
	tick := t.when >> tickBits
	if tick <= w.tick {
		w.put(t, ready)
		return
	}
	level := (bits.Len64(uint64(tick^w.tick)) - 1) / slotBits
	slot := tick >> (level * slotBits) % slots
	w.occupied[level] |= 1 << slot
	w.put(t, slot0+home(level*slots)+home(slot))
}

func (w *Wheel) put(t *Timer, h home) {
	t.home = h
	w.queues[h].push(t)
}

// take ends the scheduling of t.
func (w *Wheel) take(t *Timer) {
	w.dequeue(t)
	t.home = nowhere
	w.count--
}

// dequeue takes t out of its queue and clears the bit of a slot left empty.
func (w *Wheel) dequeue(t *Timer) {
	q := &w.queues[t.home]
	q.remove(t)
	if t.home < slot0 || q.head != nil {
		return
	}
	slot := int(t.home - slot0)
	w.occupied[slot/slots] &^= 1 << (slot % slots)
}
