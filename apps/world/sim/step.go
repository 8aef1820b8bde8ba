package sim

// Workers run parts of the work of a tick: do(0) to do(parts-1), at the same time or
// one after the other, and return when all have ended.
type Workers func(parts int, do func(part int))

// Alone is one worker.
func Alone(parts int, do func(part int)) {
	for part := range parts {
		do(part)
	}
}

// partSize is how many slots one part of the work has.
const partSize = 1024

// Step goes on by one tick. What entities decide depends on the state before it
// only, and each part writes its own entities, so that the number of workers makes no
// difference.
func (w *World) Step(workers Workers) {
	w.note(Call{Kind: CallStep})
	w.felled = w.felled[:0]
	parts := (len(w.e.cell) + partSize - 1) / partSize
	for len(w.bites) < parts {
		w.bites = append(w.bites, nil)
	}
	workers(parts, w.thinkAll)
	workers(parts, w.moveAll)
	w.change()
	w.bite()
	w.raise()
	w.tick++
	w.remember()
	w.blocks.begin()
	w.heard, w.said = w.said, w.heard[:0]
	if w.tick%MaxBase == 0 {
		for i := range w.cells {
			if len(w.cells[i].left) > 0 {
				w.cells[i].forget(w.tick)
			}
		}
	}
}

func (w *World) slots(part int) (from, to int) {
	return part * partSize, min((part+1)*partSize, len(w.e.cell))
}

// thinkPart lets monsters decide.
func (w *World) thinkPart(part int) {
	from, to := w.slots(part)
	for s := from; s < to; s++ {
		if k := w.e.kind[s]; k != Player && k < FirstOwn && w.e.cell[s] != noCell {
			w.think(s, part)
		}
	}
}

// movePart moves entities, each by itself.
func (w *World) movePart(part int) {
	from, to := w.slots(part)
	for s := from; s < to; s++ {
		if w.e.cell[s] == noCell {
			continue
		}
		if w.e.kind[s] == Player {
			w.advance(s, w.e.body[s].moves.next(w.tick+1), SpeedPlayer)
			w.heal(s)
		} else if b := &w.e.body[s]; b.wish != 0 || w.e.direction[s] != 0 {
			w.advance(s, b.wish, b.pace)
		}
	}
}

// advance moves an entity by one tick, and publishes how it will go on if nothing else
// happens.
func (w *World) advance(s int, direction, speed uint8) {
	if direction == 0 {
		w.publish(s, 0, 0)
		return
	}
	x, y := w.e.x[s], w.e.y[s]
	w.e.x[s], w.e.y[s] = w.ground.Walk(x, y, direction, w.steps[speed])
	dx, dy := w.e.x[s]-x, w.e.y[s]-y
	went := directionOf(dx, dy)
	if went != direction && went != 0 && max(dx, -dx, dy, -dy) != w.steps[speed].Straight {
		speed++ // it slides
	}
	w.publish(s, went, speed)
}

// change moves entities to the cells that they are in now, in the order of the
// slots.
func (w *World) change() {
	for s := range w.e.cell {
		if w.e.cell[s] == noCell {
			continue
		}
		if c := w.cellAt(w.e.x[s], w.e.y[s]); c != w.e.cell[s] {
			from := w.e.cell[s]
			w.leave(s, c)
			w.enter(s, c, from)
		}
	}
}
