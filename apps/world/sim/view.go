package sim

import (
	"encoding/binary"

	"github.com/epinet/epi/apps/world/proto"
)

// The rings of a view, by their distance in cells: blocks of the inner ones each
// tick, of the next every second, of the outer every fourth. What is new comes into the
// view at outerRing and goes at dropRing.
const (
	innerRing = 1
	nextRing  = 2
	outerRing = 3
	dropRing  = 5
	// talkRing is how far talk is heard.
	talkRing = 2
)

// A View is what one client knows: the cells, and for each the tick up to
// which it knows them. The zero View knows nothing.
type View struct {
	cells  []known // the nearest rings first
	next   []known // room for the cells of the next frame
	column int     // of its own cell
	row    int
	begun  bool
}

// A known is a cell of a view.
type known struct {
	cell uint16
	ring uint8
	tick uint64 // the client knows it as of this tick; 0: not at all
}

// Coarsest is the lowest rate of the outer rings.
const Coarsest = 2

// SetCoarse lowers the rates of a view's outer rings, for a world that costs too much:
// 0 is the usual, Coarsest the least. It is no part of the world's state, and is not
// recorded.
func (w *World) SetCoarse(level int) { w.coarse = min(max(level, 0), Coarsest) }

// periods are how many ticks lie between two turns of the rings from nextRing on, by
// how coarse the view is.
var periods = [1 + Coarsest][2]uint64{{2, 4}, {2, MaxBase}, {4, MaxBase}}

// period is how many ticks lie between two turns of a ring.
func (w *World) period(ring uint8) uint64 {
	switch {
	case ring <= innerRing:
		return 1
	case ring == nextRing:
		return periods[w.coarse][0]
	}
	return periods[w.coarse][1]
}

// Reset makes the client's view unknown, as it is after a new connection.
func (v *View) Reset() { v.cells, v.begun = v.cells[:0], false }

// Frame appends the frame of the last tick for a player to p: Tick, Drop, what was
// said near, and blocks of cells, the nearest first. Blocks that do not fit into
// budget bytes wait for the next tick; one always fits.
func (w *World) Frame(p []byte, id ID, v *View, budget int) ([]byte, error) {
	s, ok := w.slotOf(id)
	if !ok || w.e.kind[s] != Player {
		return p, ErrNoPlayer
	}
	begin := len(p)
	p = w.appendTick(p, s)
	p = w.follow(p, s, v)
	p = w.Talk(p, id)
	body := len(p)
	var turns [dropRing]turn
	for ring := range turns {
		every := w.period(uint8(ring))
		turns[ring] = turn{every, w.tick%every == 0}
	}
	for i := range v.cells {
		if k := &v.cells[i]; turns[k.ring].has(k, w.tick) {
			p = w.appendBlock(p, k, begin+budget, body)
		}
	}
	return p, nil
}

func (w *World) appendTick(p []byte, s int) []byte {
	m := w.e.body[s].moves
	t := proto.Tick{
		Tick: uint32(w.tick), Sequence: m.finished, Done: m.done, Epoch: m.epoch,
		X: uint16(w.e.x[s]), Y: uint16(w.e.y[s]), Health: w.e.body[s].health,
	}
	p = t.Append(p)
	if m.corrected {
		m.corrected = false
		c := proto.Correction{Epoch: m.epoch, X: uint16(w.e.x[s]), Y: uint16(w.e.y[s]), Reason: m.reason}
		p = c.Append(p)
	}
	if m.learned {
		m.learned = false
		p = w.appendStanding(p, s)
	}
	return p
}

// Standing appends the figures of a player to p, for the start of its connection.
func (w *World) Standing(p []byte, id ID) []byte {
	if s, ok := w.slotOf(id); ok && w.e.kind[s] == Player {
		p = w.appendStanding(p, s)
	}
	return p
}

func (w *World) appendStanding(p []byte, s int) []byte {
	b := &w.e.body[s]
	m := proto.Standing{Level: b.level, Experience: b.experience}
	if b.level < MaxLevel {
		m.Next = nextAfter(b.level)
	}
	return m.Append(p)
}

// follow lets the view move with the player: cells that are far go, those that are
// near come.
func (w *World) follow(p []byte, s int, v *View) []byte {
	column, row := int(w.e.cell[s])%w.config.Width, int(w.e.cell[s])/w.config.Width
	if v.begun && column == v.column && row == v.row {
		return p
	}
	v.begun, v.column, v.row = true, column, row
	kept, dropped := v.next[:0], 0
	for _, k := range v.cells {
		if k.ring = w.ring(v, k.cell); k.ring < dropRing {
			kept = append(kept, k)
			continue
		}
		if k.tick != 0 {
			dropped++
		}
	}
	if dropped > 0 {
		p = append(p, byte(proto.TypeDrop))
		p = binary.AppendUvarint(p, uint64(dropped))
		for _, k := range v.cells {
			if k.tick != 0 && w.ring(v, k.cell) >= dropRing {
				p = binary.LittleEndian.AppendUint16(p, k.cell)
			}
		}
	}
	v.cells, v.next = kept, v.cells
	for y := max(row-outerRing, 0); y <= min(row+outerRing, w.config.Height-1); y++ {
		for x := max(column-outerRing, 0); x <= min(column+outerRing, w.config.Width-1); x++ {
			v.add(uint16(y*w.config.Width+x), w)
		}
	}
	v.sort()
	return p
}

// sort puts the nearest rings first. Within a ring the order stays.
func (v *View) sort() {
	sorted := v.next[:0]
	for ring := range uint8(dropRing) {
		for _, k := range v.cells {
			if k.ring == ring {
				sorted = append(sorted, k)
			}
		}
	}
	v.cells, v.next = sorted, v.cells
}

func (v *View) add(c uint16, w *World) {
	for i := range v.cells {
		if v.cells[i].cell == c {
			return
		}
	}
	v.cells = append(v.cells, known{cell: c, ring: w.ring(v, c)})
}

// ring is how far a cell is from the view's own.
func (w *World) ring(v *View, c uint16) uint8 {
	return uint8(far(int32(int(c)%w.config.Width-v.column), int32(int(c)/w.config.Width-v.row)))
}

// A turn is how often a ring is brought up to date, and whether it is now.
type turn struct {
	every uint64
	now   bool
}

// has reports whether it is a cell's turn, or was before and there was no room.
func (t turn) has(k *known, tick uint64) bool {
	if k.tick == 0 {
		return true
	}
	age := tick - k.tick
	return age > 0 && (t.now || age >= t.every)
}

// appendBlock brings a cell up to date, if there is room.
func (w *World) appendBlock(p []byte, k *known, limit, body int) []byte {
	base := w.tick - k.tick
	if k.tick == 0 || base > MaxBase {
		base = 0
	}
	block := w.block(k.cell, base)
	if len(p)+len(block) > limit && len(p) > body {
		return p
	}
	k.tick = w.tick
	return append(p, block...)
}

// Talk appends what was said near a player since the tick before the last.
func (w *World) Talk(p []byte, id ID) []byte {
	s, ok := w.slotOf(id)
	if !ok {
		return p
	}
	column, row := int(w.e.cell[s])%w.config.Width, int(w.e.cell[s])/w.config.Width
	for i := range w.heard {
		c := int(w.heard[i].cell)
		if far(int32(c%w.config.Width-column), int32(c/w.config.Width-row)) <= talkRing {
			p = append(p, w.heard[i].bytes...)
		}
	}
	return p
}

// Knows reports whether a client has been sent a cell, and the tick of what it has.
func (v *View) Knows(cell uint16) (tick uint64, ok bool) {
	for _, k := range v.cells {
		if k.cell == cell && k.tick != 0 {
			return k.tick, true
		}
	}
	return 0, false
}
