package sim

import "github.com/epinet/epi/apps/world/proto"

// A player's moves may wait for half a second: maxQueued ticks at the highest rate.
const (
	maxHz     = 60
	maxQueued = maxHz / 2
)

// maxTicks is how many ticks one Move may say (docs/world-protocol.md).
const maxTicks = 10

// buffered is how many ticks wait before the first of them is carried out, or how
// long it waits for others: networks bring some late.
const buffered = 2

// moves are what a player wants to do, in order. It is a ring of runs of ticks in one
// direction; a run is one Move of the client.
type moves struct {
	runs     [maxQueued]run
	first    uint8
	count    uint8
	queued   uint8  // ticks in all runs
	epoch    uint8  // of the client's moves that count
	done     uint8  // ticks of the first run that were carried out
	received uint32 // the sequence of the last Move that was taken or refused; it wraps around
	finished uint32 // that of the last one carried out whole
	start    uint64 // the tick in which the first of them is carried out at the latest

	corrected bool // the client is to get its place
	reason    uint8
	learned   bool // so, too, of its experience
}

type run struct {
	sequence  uint32
	direction uint8
	ticks     uint8
}

// The reasons of a correction.
const (
	CorrectionByCredit uint8 = 1
	CorrectionByWorld  uint8 = 2
)

// A Verdict is what has become of a Move.
type Verdict uint8

// The verdicts.
const (
	Taken    Verdict = iota
	Old              // of another epoch, or of one that lies: ignored
	Repeated         // it came before: ignored
	Refused          // it asks for more time than has passed: the player is corrected
)

// Move takes what a player has done.
func (w *World) Move(id ID, m proto.Move) (Verdict, error) {
	w.note(Call{Kind: CallMove, ID: id, Move: m})
	s, ok := w.slotOf(id)
	if !ok || w.e.kind[s] != Player {
		return Old, ErrNoPlayer
	}
	if int(m.Direction) >= len(headings) {
		return Old, ErrDirection
	}
	q := w.e.body[s].moves
	switch {
	case m.Epoch != q.epoch || w.e.body[s].health == 0:
		return Old, nil
	case int32(m.Sequence-q.received) <= 0:
		return Repeated, nil
	}
	q.received = m.Sequence
	if m.Ticks > maxTicks || q.queued+m.Ticks > w.credit() {
		q.drop()
		q.corrected, q.reason = true, CorrectionByCredit
		return Refused, nil
	}
	if q.queued == 0 {
		q.start = w.tick + buffered
	}
	q.runs[(q.first+q.count)%maxQueued] = run{m.Sequence, m.Direction, m.Ticks}
	q.count++
	q.queued += m.Ticks
	return Taken, nil
}

// credit is how many ticks of moves may wait.
func (w *World) credit() uint8 { return uint8(max(buffered, w.config.Hz/2)) }

// Restart is the beginning of another connection of a player: what waits is
// forgotten, and its moves are counted from 1 again, in a new epoch.
func (w *World) Restart(id ID) error {
	w.note(Call{Kind: CallRestart, ID: id})
	s, ok := w.slotOf(id)
	if !ok || w.e.kind[s] != Player {
		return ErrNoPlayer
	}
	m := w.e.body[s].moves
	m.drop()
	m.received, m.finished, m.corrected = 0, 0, false
	return nil
}

// drop forgets what waits, and begins a new epoch.
func (q *moves) drop() {
	q.first, q.count, q.queued, q.done = 0, 0, 0, 0
	q.finished = q.received
	q.epoch++
}

// next takes the direction of one tick, 0 when nothing is to be done in this one.
func (q *moves) next(tick uint64) uint8 {
	if q.queued == 0 || q.queued < buffered && tick < q.start {
		return 0
	}
	q.start = tick // once begun, it goes on
	r := &q.runs[q.first]
	q.done++
	q.queued--
	if q.done == r.ticks {
		q.finished, q.done = r.sequence, 0
		q.first = (q.first + 1) % maxQueued
		q.count--
	}
	return r.direction
}

// Epoch returns that of the moves of a player that count.
func (w *World) Epoch(id ID) uint8 {
	s, ok := w.slotOf(id)
	if !ok || w.e.kind[s] != Player {
		return 0
	}
	return w.e.body[s].moves.epoch
}
