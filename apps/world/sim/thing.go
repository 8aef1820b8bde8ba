package sim

import (
	"encoding/binary"
	"errors"
)

// Things lie in the world: chests, and items on the ground. They are entities to a
// client, but not to a tick, which does not look at them: a thing costs when it comes,
// when it goes, and when a view gets its cell whole.
const (
	// Chest is the kind of chests, and what is above it, below FirstOwn, those of items.
	Chest uint8 = 8
	// MaxThings bounds the things in the world, and Crowded how many may be in a cell
	// when another one is laid down.
	MaxThings = 400_000
	Crowded   = 1000
	// maxCrowd bounds the things of a cell in any case: its block must fit into a frame.
	maxCrowd = 4 * Crowded
)

// firstThing is the slot in an ID from which on it is that of a thing.
const firstThing = 1 << (slotBits - 1)

// maxEntities bounds the entities: with those at rest their slots stay below firstThing.
const maxEntities = firstThing - 2*resting

// ErrThing: there is no such thing.
var ErrThing = errors.New("no such thing")

// A thing is what lies. It is as long as half a cache line.
type thing struct {
	entered    uint64 // the tick in which it came
	x, y       int32
	at         uint32 // its index in the cell's list
	cell       uint16 // noCell: free
	generation uint16
	kind       uint8
}

func (w *World) thingID(n uint32) ID {
	return ID(w.things[n].generation)<<slotBits | ID(n+firstThing)
}

func (w *World) thing(id ID) (n uint32, ok bool) {
	s := id.slot() - firstThing
	if s < 0 || s >= len(w.things) {
		return 0, false
	}
	n = uint32(s)
	return n, w.things[n].cell != noCell && w.thingID(n) == id
}

// Put lays a thing of a kind from Chest on, below FirstOwn, at a place or at the nearest
// that is free.
func (w *World) Put(kind uint8, x, y int32) (ID, error) {
	w.note(Call{Kind: CallPut, X: x, Y: y, Amount: uint32(kind)})
	if kind < Chest || kind >= FirstOwn {
		return 0, ErrKind
	}
	x, y = w.inside(x, y)
	x, y, ok := w.ground.nearest(x, y)
	if !ok {
		return 0, ErrNowhere
	}
	c := w.cellAt(x, y)
	if w.Things() >= MaxThings || len(w.cells[c].things) >= maxCrowd {
		return 0, ErrFull
	}
	n := w.newThing()
	w.things[n] = thing{
		entered: w.tick + 1, x: x, y: y, at: uint32(len(w.cells[c].things)), cell: c,
		generation: w.things[n].generation, kind: kind,
	}
	w.cells[c].things = append(w.cells[c].things, n)
	w.cells[c].put = w.tick + 1
	return w.thingID(n), nil
}

// newThing returns a free number, as newSlot does.
func (w *World) newThing() uint32 {
	if len(w.freeThings) > resting {
		n := w.freeThings[0]
		w.freeThings = w.freeThings[1:]
		return n
	}
	w.things = append(w.things, thing{cell: noCell, generation: 1})
	return uint32(len(w.things) - 1)
}

// Take takes a thing out of the world.
func (w *World) Take(id ID) error {
	w.note(Call{Kind: CallTake, ID: id})
	n, ok := w.thing(id)
	if !ok {
		return ErrThing
	}
	t := &w.things[n]
	c := &w.cells[t.cell]
	last := len(c.things) - 1
	moved := c.things[last]
	c.things[t.at] = moved
	w.things[moved].at = t.at
	c.things = c.things[:last]
	c.left = append(c.left, departure{id, noCell, w.tick + 1, t.entered})
	t.cell = noCell
	if t.generation++; t.generation > maxNumber {
		t.generation = 1
	}
	w.freeThings = append(w.freeThings, n)
	return nil
}

// Things returns how many things there are.
func (w *World) Things() int { return len(w.things) - len(w.freeThings) }

// Room reports whether a thing may be laid down at a place.
func (w *World) Room(x, y int32) bool {
	x, y = w.inside(x, y)
	return w.Things() < MaxThings && len(w.cells[w.cellAt(x, y)].things) < Crowded
}

// Near reports whether a player is at most so many units away from a thing, in a
// straight line, and lives.
func (w *World) Near(id, thing ID, length int32) bool {
	s, ok := w.slotOf(id)
	n, there := w.thing(thing)
	if !ok || !there || w.e.body[s].health == 0 {
		return false
	}
	t := &w.things[n]
	return within(Spot{w.e.x[s], w.e.y[s]}, Spot{t.x, t.y}, length)
}

func within(a, b Spot, length int32) bool {
	dx, dy := int64(a.X-b.X), int64(a.Y-b.Y)
	return dx*dx+dy*dy <= int64(length)*int64(length)
}

// appendThing encodes one as an entity that stands.
func (w *World) appendThing(p []byte, n uint32) []byte {
	t := &w.things[n]
	p = binary.AppendUvarint(p, uint64(w.thingID(n)))
	p = append(p, t.kind)
	p = binary.LittleEndian.AppendUint32(p, uint32(t.x)%Cell|uint32(t.y)%Cell<<10)
	return append(p, 0, 0, 0) // no health, no level, no name
}

// A Felled is a monster that a player has felled.
type Felled struct {
	Kind uint8
	At   Spot
	By   ID
}

// Felled returns the monsters that players have felled since the last Step began. It is
// valid until the next Step.
func (w *World) Felled() []Felled { return w.felled }

// Heal gives a player that lives health, at most as much as it can have.
func (w *World) Heal(id ID, health uint8) error {
	w.note(Call{Kind: CallHeal, ID: id, Amount: uint32(health)})
	s, ok := w.slotOf(id)
	if !ok || w.e.kind[s] != Player {
		return ErrNoPlayer
	}
	b := &w.e.body[s]
	if b.health == 0 {
		return nil
	}
	b.health = uint8(min(uint(b.health)+uint(health), MaxHealth))
	w.e.renewed[s] = w.tick + 1
	return nil
}
