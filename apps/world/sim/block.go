package sim

import (
	"encoding/binary"

	"github.com/epinet/epi/apps/world/proto"
)

// blocks are what was encoded in this tick, all in one arena.
type blocks struct {
	arena []byte
	forms [][1 + MaxBase]span // by cell: the full form, and the delta by its base
	tick  uint64              // counts the ticks; spans of others are stale
}

// A span is a part of the arena.
type span struct {
	tick     uint64
	from, to uint32
}

func (b *blocks) init(cells int) { b.forms = make([][1 + MaxBase]span, cells); b.tick = 1 }

// begin forgets the blocks of the tick before.
func (b *blocks) begin() {
	b.arena = b.arena[:0]
	b.tick++
}

// block returns a cell's block: the full form for base 0, else what has changed since
// so many ticks before; nothing where nothing has. It is valid until the next Step.
func (w *World) block(c uint16, base uint64) []byte {
	b := &w.blocks
	f := &b.forms[c][base]
	if f.tick != b.tick {
		f.tick, f.from = b.tick, uint32(len(b.arena))
		if base == 0 {
			w.encodeFull(c)
		} else {
			w.encodeDelta(c, base)
		}
		f.to = uint32(len(b.arena))
	}
	return b.arena[f.from:f.to:f.to]
}

func (w *World) encodeFull(c uint16) {
	p := append(w.blocks.arena, byte(proto.TypeFull))
	p = binary.LittleEndian.AppendUint16(p, c)
	list := w.cells[c].list
	things := w.cells[c].things
	p = binary.AppendUvarint(p, uint64(len(list)+len(things)))
	for _, s := range list {
		p = w.appendEntity(p, int(s))
	}
	for _, n := range things {
		p = w.appendThing(p, n)
	}
	w.blocks.arena = p
}

func (w *World) appendEntity(p []byte, s int) []byte {
	b := &w.e.body[s]
	p = binary.AppendUvarint(p, uint64(w.idOf(s)))
	p = append(p, w.e.kind[s])
	p = w.appendPlace(p, s)
	p = append(p, b.health, b.level)
	p = binary.AppendUvarint(p, uint64(len(b.name)))
	return append(p, b.name...)
}

// appendPlace packs place and movement: see proto.Entity.
func (w *World) appendPlace(p []byte, s int) []byte {
	v := uint32(w.e.x[s])%Cell | uint32(w.e.y[s])%Cell<<10 | uint32(w.e.direction[s])<<20 | uint32(w.e.speed[s])<<24
	return binary.LittleEndian.AppendUint32(p, v)
}

// encodeDelta encodes what has changed since the end of a tick. What was not here
// then and is not here now is no part of it.
func (w *World) encodeDelta(c uint16, base uint64) {
	since := w.tick - base
	n := w.count(c, since)
	if n == [3]int{} {
		return
	}
	p := append(w.blocks.arena, byte(proto.TypeDelta))
	p = binary.LittleEndian.AppendUint16(p, c)
	p = append(p, byte(base))
	p = binary.AppendUvarint(p, uint64(n[0]))
	for i := range w.cells[c].left {
		d := &w.cells[c].left[i]
		if d.tick > since && d.entered <= since {
			p = binary.AppendUvarint(p, uint64(d.id))
			p = binary.LittleEndian.AppendUint16(p, d.to)
		}
	}
	p = binary.AppendUvarint(p, uint64(n[1]))
	for _, s := range w.cells[c].list {
		if w.e.entered[s] > since {
			p = binary.LittleEndian.AppendUint16(p, w.e.from[s])
			p = w.appendEntity(p, int(s))
		} else if w.e.renewed[s] > since {
			p = binary.LittleEndian.AppendUint16(p, c)
			p = w.appendEntity(p, int(s))
		}
	}
	if w.cells[c].put > since {
		for _, t := range w.cells[c].things {
			if w.things[t].entered > since {
				p = binary.LittleEndian.AppendUint16(p, noCell)
				p = w.appendThing(p, t)
			}
		}
	}
	p = binary.AppendUvarint(p, uint64(n[2]))
	for _, s := range w.cells[c].list {
		if w.e.entered[s] <= since && w.e.renewed[s] <= since && w.e.changed[s] > since {
			p = binary.AppendUvarint(p, uint64(w.idOf(int(s))))
			p = w.appendPlace(p, int(s))
		}
	}
	w.blocks.arena = p
}

// count says how many have left, come and moved since a tick.
func (w *World) count(c uint16, since uint64) (n [3]int) {
	for i := range w.cells[c].left {
		if d := &w.cells[c].left[i]; d.tick > since && d.entered <= since {
			n[0]++
		}
	}
	for _, s := range w.cells[c].list {
		switch {
		case w.e.entered[s] > since || w.e.renewed[s] > since:
			n[1]++
		case w.e.changed[s] > since:
			n[2]++
		}
	}
	if w.cells[c].put > since {
		for _, t := range w.cells[c].things {
			if w.things[t].entered > since {
				n[1]++
			}
		}
	}
	return n
}
