// Package replica is what a client knows of a world: it applies frames by the rules
// of docs/world-protocol.md, moves entities on by itself, and reports frames that
// break the rules. Tests and bots see the world with it.
package replica

import (
	"errors"
	"fmt"

	"github.com/epinet/epi/apps/world/proto"
)

// The sizes of space (docs/world-protocol.md).
const (
	cellUnits = 1024
	noCell    = 0xffff
)

// ErrRules: a frame breaks the rules. Errors that say how wrap it.
var ErrRules = errors.New("the frame breaks the rules")

// An Entity is one as the client has it.
type Entity struct {
	proto.Entity
	Cell uint16
	// Tick is when it was at X and Y, in units of the whole world.
	Tick uint32
	X, Y int32
}

// A Replica is a client's picture of the world. The zero Replica is before Welcome.
type Replica struct {
	Self     uint32
	Tick     uint32
	Width    int
	Steps    []proto.Step
	Own      proto.Tick // the last one
	Entities map[uint32]*Entity
	Cells    map[uint16]uint32 // of the view, and the tick of the last block
	// Corrections, Talk and Blocks are of the last frame.
	Corrections []proto.Correction
	Talk        []proto.Said
	Blocks      int

	messages proto.ServerMessages
	begun    bool
}

// Begin is what Welcome does.
func (r *Replica) Begin(w *proto.Welcome) {
	*r = Replica{
		Self: w.Self, Tick: w.Tick, Width: int(w.Width), Steps: append([]proto.Step(nil), w.Steps...),
		Entities: map[uint32]*Entity{}, Cells: map[uint16]uint32{},
		messages: r.messages, // w may be one of them
	}
}

// Frame applies a frame. What it does not know, such as Pong, is given to other,
// which may be nil.
func (r *Replica) Frame(p []byte, other func(proto.Message)) error {
	r.Corrections, r.Talk, r.Blocks = r.Corrections[:0], r.Talk[:0], 0
	inTick := false
	for n := 0; len(p) > 0; n++ {
		m, rest, err := r.messages.Next(p)
		if err != nil {
			return err
		}
		if _, ok := m.(*proto.Tick); ok {
			if inTick = true; n > 0 {
				return fmt.Errorf("%w: Tick is message %d of a frame", ErrRules, n+1)
			}
		}
		known, err := r.apply(m, inTick)
		if err != nil {
			return fmt.Errorf("tick %d: %w", r.Tick, err)
		}
		if !known && other != nil {
			other(m)
		}
		p = rest
	}
	if inTick {
		return r.checkOwn()
	}
	return nil
}

// farthest is how far a cell of the view may be from the player's own.
const farthest = 4

// checkCell looks whether the player may see a cell.
func (r *Replica) checkCell(cell uint16) error {
	column, row := int(r.Own.X)/cellUnits, int(r.Own.Y)/cellUnits
	dx, dy := int(cell)%r.Width-column, int(cell)/r.Width-row
	if max(dx, -dx, dy, -dy) > farthest {
		return fmt.Errorf("%w: a block of cell %d, which is %d, %d from the player's", ErrRules, cell, dx, dy)
	}
	return nil
}

// checkOwn compares the player's entity with what Tick says of it.
func (r *Replica) checkOwn() error {
	e := r.Entities[r.Self]
	if e == nil || r.Cells[e.Cell] != r.Tick {
		return nil
	}
	if x, y := r.At(e); x != int32(r.Own.X) || y != int32(r.Own.Y) {
		return fmt.Errorf("%w: tick %d: the player is at %d, %d and its entity at %d, %d", ErrRules, r.Tick, r.Own.X, r.Own.Y, x, y)
	}
	return nil
}

// apply reports whether it knows what the message means.
func (r *Replica) apply(m proto.Message, inTick bool) (known bool, err error) {
	if !inTick {
		switch m.(type) {
		case *proto.Full, *proto.Delta, *proto.Drop, *proto.Correction:
			return true, fmt.Errorf("%w: %T without Tick", ErrRules, m)
		}
	}
	switch m := m.(type) {
	case *proto.Tick:
		return true, r.tick(m)
	case *proto.Full:
		r.Blocks++
		return true, r.full(m)
	case *proto.Delta:
		r.Blocks++
		return true, r.delta(m)
	case *proto.Drop:
		return true, r.drop(m)
	case *proto.Correction:
		r.Corrections = append(r.Corrections, *m)
	case *proto.Said:
		r.Talk = append(r.Talk, *m)
	default:
		return false, nil
	}
	return true, nil
}

func (r *Replica) tick(m *proto.Tick) error {
	if int32(m.Tick-r.Tick) <= 0 && r.begun {
		return fmt.Errorf("%w: tick %d follows %d", ErrRules, m.Tick, r.Tick)
	}
	r.begun, r.Tick, r.Own = true, m.Tick, *m
	return nil
}

// set puts an entity where a block of a cell says it is.
func (r *Replica) set(cell uint16, e *proto.Entity) error {
	have := r.Entities[e.ID]
	if have == nil {
		have = new(Entity)
		r.Entities[e.ID] = have
	} else if have.Kind != e.Kind || have.Name != e.Name {
		return fmt.Errorf("%w: entity %d was %q of kind %d and is %q of kind %d", ErrRules, e.ID, have.Name, have.Kind, e.Name, e.Kind)
	}
	have.Entity = *e
	return r.place(have, cell, e.X, e.Y, e.Direction, e.Speed)
}

func (r *Replica) place(e *Entity, cell, x, y, direction, speed uint16) error {
	if int(speed) >= len(r.Steps) {
		return fmt.Errorf("%w: entity %d has the speed %d, and there are %d", ErrRules, e.ID, speed, len(r.Steps))
	}
	e.Cell, e.Tick = cell, r.Tick
	e.Direction, e.Speed = direction, speed
	e.X = int32(int(cell)%r.Width*cellUnits) + int32(x)
	e.Y = int32(int(cell)/r.Width*cellUnits) + int32(y)
	return nil
}

func (r *Replica) full(m *proto.Full) error {
	if err := r.checkCell(m.Cell); err != nil {
		return err
	}
	r.Cells[m.Cell] = r.Tick
	listed := map[uint32]bool{}
	for i := range m.Entities {
		if listed[m.Entities[i].ID] {
			return fmt.Errorf("%w: entity %d is twice in cell %d", ErrRules, m.Entities[i].ID, m.Cell)
		}
		listed[m.Entities[i].ID] = true
		if err := r.set(m.Cell, &m.Entities[i]); err != nil {
			return err
		}
	}
	for id, e := range r.Entities {
		if e.Cell == m.Cell && !listed[id] {
			delete(r.Entities, id)
		}
	}
	return nil
}

func (r *Replica) delta(m *proto.Delta) error {
	last, ok := r.Cells[m.Cell]
	if !ok {
		return fmt.Errorf("%w: Delta of cell %d, which is not in the view", ErrRules, m.Cell)
	}
	if int32(r.Tick-uint32(m.Base)-last) < 0 && r.Tick == last {
		return fmt.Errorf("%w: cell %d has two blocks", ErrRules, m.Cell)
	}
	if err := r.checkCell(m.Cell); err != nil {
		return err
	}
	r.Cells[m.Cell] = r.Tick
	for _, l := range m.Left {
		r.left(m.Cell, l)
	}
	for i := range m.Came {
		if err := r.set(m.Cell, &m.Came[i].Entity); err != nil {
			return err
		}
	}
	for i := range m.Moved {
		v := &m.Moved[i]
		e := r.Entities[v.ID]
		if e == nil || e.Cell != m.Cell {
			return fmt.Errorf("%w: entity %d moves in cell %d and is not known there", ErrRules, v.ID, m.Cell)
		}
		if err := r.place(e, m.Cell, v.X, v.Y, v.Direction, v.Speed); err != nil {
			return err
		}
	}
	return nil
}

func (r *Replica) left(cell uint16, l proto.Left) {
	e := r.Entities[l.ID]
	if e == nil || e.Cell != cell {
		return
	}
	if _, ok := r.Cells[l.To]; ok && l.To != noCell {
		e.Cell = l.To
		return
	}
	delete(r.Entities, l.ID)
}

func (r *Replica) drop(m *proto.Drop) error {
	for _, c := range m.Cells {
		if _, ok := r.Cells[c]; !ok {
			return fmt.Errorf("%w: Drop of cell %d, which is not in the view", ErrRules, c)
		}
		delete(r.Cells, c)
		for id, e := range r.Entities {
			if e.Cell == c {
				delete(r.Entities, id)
			}
		}
	}
	return nil
}

var headings = [9][2]int32{{0, 0}, {0, -1}, {1, -1}, {1, 0}, {1, 1}, {0, 1}, {-1, 1}, {-1, 0}, {-1, -1}}

// At returns where an entity is at the replica's tick, as far as the client knows.
func (r *Replica) At(e *Entity) (x, y int32) {
	h, step := headings[e.Direction], r.Steps[e.Speed]
	d := int32(step.Straight)
	if h[0] != 0 && h[1] != 0 {
		d = int32(step.Diagonal)
	}
	ticks := int32(r.Tick - e.Tick)
	return e.X + h[0]*d*ticks, e.Y + h[1]*d*ticks
}
