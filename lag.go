package epi

import (
	"sync"
	"sync/atomic"
	"time"
)

// LagBounds are the upper bounds of the buckets of a Lag, all but the last,
// which has none.
var LagBounds = [...]time.Duration{
	50 * time.Microsecond,
	100 * time.Microsecond,
	250 * time.Microsecond,
	500 * time.Microsecond,
	time.Millisecond,
	2500 * time.Microsecond,
	5 * time.Millisecond,
	10 * time.Millisecond,
	25 * time.Millisecond,
	50 * time.Millisecond,
	100 * time.Millisecond,
	250 * time.Millisecond,
	500 * time.Millisecond,
	time.Second,
	2500 * time.Millisecond,
}

// A Lag is how long the turns of a loop took: each from the moment at which
// waiting had ended, or, when the loop did not sleep in between, at which the
// turn before had ended, to its own end. What arrives while a turn is under way
// waits for its end, so this is how late a loop can be for new events, tasks
// and timers. A callback that blocks the loop shows here. With workers the
// callbacks do not: see Stats.Waiting.
type Lag struct {
	Turns [len(LagBounds) + 1]uint64 // by the first of LagBounds that is not below
	Sum   time.Duration              // of all turns
}

func (g *Lag) add(o Lag) {
	for i, n := range o.Turns {
		g.Turns[i] += n
	}
	g.Sum += o.Sum
}

// A lagMeter measures the turns of its loop: with one look at the clock for
// each turn, and another after a sleep.
type lagMeter struct {
	began int64 // of the loop goroutine; when the turn began
	turns [len(LagBounds) + 1]atomic.Uint64
	sum   atomic.Int64
}

// begin says that waiting has ended, at now, and returns how long it was since the turn
// before ended.
func (m *lagMeter) begin(now int64) (waited int64) {
	waited = now - m.began
	m.began = now
	return waited
}

// end says that the turn is over at now, and that the next one follows if the loop
// does not sleep.
func (m *lagMeter) end(now int64) {
	took := time.Duration(now - m.began)
	m.began = now
	m.turns[lagBucket(took)].Add(1)
	m.sum.Add(int64(took))
}

// lagBucket returns the bucket of a turn. Most turns are in the first.
func lagBucket(took time.Duration) int {
	i := 0
	for i < len(LagBounds) && took > LagBounds[i] {
		i++
	}
	return i
}

func (m *lagMeter) lag() Lag {
	g := Lag{Sum: time.Duration(m.sum.Load())}
	for i := range m.turns {
		g.Turns[i] = m.turns[i].Load()
	}
	return g
}

// A Phase is a part of a loop's turn. They come in the order of the constants.
type Phase uint8

// The phases.
const (
	PhaseWait     Phase = iota // look for events, and sleep while there are none
	PhaseDispatch              // accept, read, and call the handlers; with workers only put connections into their queue
	PhaseTasks                 // run what Loop.Do was given
	PhaseTimers                // run the timers that are due
	PhaseFlush                 // send what connections have queued
	PhaseClose                 // close what is finished

	phaseCount
)

var phaseNames = [phaseCount]string{"wait", "dispatch", "tasks", "timers", "flush", "close"}

// String returns the phase's name, such as dispatch.
func (p Phase) String() string { return nameOf(phaseNames[:], int(p), "Phase") }

// Phases is a time for each phase: index it with a Phase.
type Phases [phaseCount]time.Duration

// A Turn is one turn of a loop, as a Tap has noted it.
type Turn struct {
	Number uint64        // among the turns of this loop that the tap has noted, from 1
	Ended  time.Duration // on the clock of LoopNotes.Now
	Phases Phases        // how long each took; 0 for what had nothing to do
	Events uint32        // that the wait has brought
	Tasks  uint32        // that were run
	Timers uint32        // likewise
}

// LoopNotes are what a Tap has noted of one loop.
type LoopNotes struct {
	Now    time.Duration // since a moment of no meaning, the same for all loops
	Phase  Phase         // that the loop is in now
	Since  time.Duration // when that began; a callback that holds up the loop shows here
	Noted  uint64        // turns
	Phases Phases        // of all of them
	Turns  []Turn        // the last ones, the oldest first
}

// A notebook is the part of a Tap that one loop writes.
type notebook struct {
	clock func() int64
	mark  atomic.Int64 // markOf the phase under way

	// Of the loop goroutine.
	turn   Turn  // the one under way
	before tally // as it was counted when that began

	mu     sync.Mutex
	noted  uint64 // guarded by mu
	phases Phases // guarded by mu
	turns  []Turn // guarded by mu; turn n is at n % len(turns)
}

// A tally is what a turn is counted by: the loop's counters.
type tally struct{ events, tasks, timers uint64 }

func newNotebook(clock func() int64, turns int, count tally) *notebook {
	n := &notebook{clock: clock, turns: make([]Turn, turns), before: count}
	n.mark.Store(markOf(n.clock(), PhaseWait))
	return n
}

// markBits are the low bits of a mark, which say the phase; the others are when it
// began.
const markBits = 3

func markOf(began int64, p Phase) int64 { return began<<markBits | int64(p) }

func phaseOf(mark int64) (began int64, p Phase) {
	return mark >> markBits, Phase(mark & (1<<markBits - 1))
}

// enter ends the phase under way and begins p.
func (n *notebook) enter(p Phase) {
	now := n.clock()
	began, last := phaseOf(n.mark.Load())
	n.turn.Phases[last] += time.Duration(now - began)
	n.mark.Store(markOf(now, p))
}

// note keeps the turn that has ended, at whose end the loop has counted so many.
func (n *notebook) note(count tally) {
	ended, _ := phaseOf(n.mark.Load())
	n.turn.Ended = time.Duration(ended)
	n.turn.Events = uint32(count.events - n.before.events)
	n.turn.Tasks = uint32(count.tasks - n.before.tasks)
	n.turn.Timers = uint32(count.timers - n.before.timers)
	n.before = count

	n.mu.Lock()
	defer n.mu.Unlock()
	n.noted++
	n.turn.Number = n.noted
	n.turns[n.noted%uint64(len(n.turns))] = n.turn
	for p, took := range n.turn.Phases {
		n.phases[p] += took
	}
	n.turn = Turn{}
}

func (n *notebook) read(after uint64, most int) LoopNotes {
	n.mu.Lock()
	defer n.mu.Unlock()
	count := min(n.noted-min(after, n.noted), n.noted, uint64(len(n.turns)), uint64(max(0, most)))
	notes := LoopNotes{Noted: n.noted, Phases: n.phases, Turns: make([]Turn, 0, count)}
	for number := n.noted - count + 1; number <= n.noted; number++ {
		notes.Turns = append(notes.Turns, n.turns[number%uint64(len(n.turns))])
	}
	began, phase := phaseOf(n.mark.Load())
	notes.Now, notes.Phase, notes.Since = time.Duration(n.clock()), phase, time.Duration(began)
	return notes
}
