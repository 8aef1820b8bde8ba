package sim

import (
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/epinet/epi/apps/world/proto"
)

// A Config is what a world is made from.
type Config struct {
	Seed          uint32
	Width, Height int // cells, at most MaxSide each
	Hz            int // ticks in a second
	Monsters      int
	MaxPlayers    int
	// Peaceful: nobody can be hurt.
	Peaceful bool `json:",omitempty"`
	// Speeds are added to those of players and monsters, for what a game puts into the
	// world: in quarters of a tile a second, at most MaxSpeed; 0 is none, also after it.
	Speeds [MaxSpeeds]uint8
	// FirstTick is the number of the tick before the first.
	FirstTick uint64
}

// DaySeconds is how long a day lasts.
const DaySeconds = 24 * 60

// The kinds of entities.
const (
	Player uint8 = iota
	Slime        // wanders
	Wolf         // hunts
	Ghost        // hunts at night
)

// FirstOwn is the first kind of those that a game puts into the world itself.
const FirstOwn = 16

// The speeds, in pairs: the second of a pair is for one that slides along something,
// whose step along one axis is that of a diagonal.
const (
	SpeedPlayer = 0
	SpeedWander = 2
	SpeedHunt   = 4
	// SpeedOwn is the first of Config.Speeds; the next is two more, and so on.
	SpeedOwn = 6
	// MaxSpeeds is how many there may be.
	MaxSpeeds = 5
	// MaxSpeed is the fastest: a step fits into a byte at any rate from 10 on.
	MaxSpeed = 120
)

// tilesPerSecond are by pair, in quarters of a tile.
var tilesPerSecond = [...]int{18, 6, 15}

// StepsFor returns the steps by speed, at a rate of ticks, with the speeds of a game
// after them.
func StepsFor(hz int, own ...uint8) []Step {
	var steps []Step
	add := func(quarters int) {
		straight := int32(max(1, quarters*Tile/4/hz))
		diagonal := max(1, straight*181>>8) // by the square root of two
		steps = append(steps, Step{straight, diagonal}, Step{diagonal, diagonal})
	}
	for _, quarters := range tilesPerSecond {
		add(quarters)
	}
	for _, quarters := range own {
		if quarters == 0 {
			break
		}
		add(int(quarters))
	}
	return steps
}

// An ID names an entity, and no other for a long time: a slot and its generation.
type ID uint32

const (
	slotBits  = 20
	maxSlots  = 1<<slotBits - 1
	maxNumber = 1<<(32-slotBits) - 1
)

func (id ID) slot() int { return int(id & maxSlots) }

// What can be wrong with a call.
var (
	ErrFull      = errors.New("the world is full")
	ErrNoPlayer  = errors.New("no such player")
	ErrNowhere   = errors.New("there is no free place")
	ErrDirection = errors.New("no such direction")
)

// entities are in several arrays, by their slots. What a tick looks at for all of them
// is together; what it seldom needs is in body.
type entities struct {
	generation []uint16
	kind       []uint8
	x, y       []int32
	direction  []uint8  // published: where it goes
	speed      []uint8  // published
	cell       []uint16 // noCell: free
	at         []uint32 // its index in the cell's list
	changed    []uint64 // the tick in which its movement was otherwise than before
	entered    []uint64 // the tick in which it came into its cell
	renewed    []uint64 // the tick in which something else of it changed
	from       []uint16 // the cell that it came from
	body       []body
}

// A body is what is seldom looked at. It is as long as a cache line.
type body struct {
	name       string
	moves      *moves // of a player
	ready      uint64 // the tick from which on it can strike
	since      uint64 // the tick in which it came to where it is by other means than walking
	home       Spot   // of a monster
	target     ID     // of a monster that hunts; 0 none
	experience uint32
	health     uint8 // 0: it lies
	level      uint8
	wish       uint8 // the direction that it wants
	pace       uint8 // the speed that it wants
}

const noCell = 0xffff

// A cell is the entities and things in it, and those that have just left it.
type cell struct {
	list    []uint32 // slots
	left    []departure
	things  []uint32
	put     uint64 // the tick in which the last thing came
	players int
}

// A departure is kept as long as a block's base can lie back.
type departure struct {
	id      ID
	to      uint16
	tick    uint64
	entered uint64
}

// MaxBase is how many ticks a block's base can lie back.
const MaxBase = 8

// A World is the whole state. One goroutine at a time may use it.
type World struct {
	config Config
	ground *Map
	steps  []Step
	tick   uint64
	day    uint64 // ticks

	e       entities
	free    []uint32 // slots, the one freed last at the end
	cells   []cell
	players int

	things     []thing
	freeThings []uint32 // the one freed last at the end

	blocks blocks
	coarse int        // how far the rates of the outer rings are lowered
	said   []speech   // since the last tick
	heard  []speech   // before it: what frames have
	past   []snapshot // by tick
	hit    proto.Hit  // the one that is announced
	bites  [][]uint32 // slots of those that strike in this tick, by part
	graves []grave    // the first to come back in front
	fallen []fallen   // so, too
	felled []Felled   // since the last Step began
	record func(Call)

	thinkAll, moveAll func(part int) // what the workers do, made once
}

// A speech is something said or done, as all near get it.
type speech struct {
	cell  uint16
	bytes []byte
}

// New makes a world with its monsters. It has no players.
func New(c Config) (*World, error) {
	switch {
	case c.Width < 1 || c.Width > MaxSide || c.Height < 1 || c.Height > MaxSide:
		return nil, fmt.Errorf("a world of %d x %d cells: each side must have 1 to %d", c.Width, c.Height, MaxSide)
	case c.Hz < 1 || c.Hz > maxHz:
		return nil, fmt.Errorf("%d ticks in a second: choose 1 to %d", c.Hz, maxHz)
	case c.Monsters < 0 || c.MaxPlayers < 0 || c.Monsters+c.MaxPlayers > maxEntities:
		return nil, fmt.Errorf("%d monsters and %d players: there is room for %d in all", c.Monsters, c.MaxPlayers, maxEntities)
	}
	if slices.Max(c.Speeds[:]) > MaxSpeed {
		return nil, fmt.Errorf("the speeds %v: each can be at most %d", c.Speeds, MaxSpeed)
	}
	w := &World{
		config: c,
		ground: NewMap(c.Seed, c.Width, c.Height),
		steps:  StepsFor(c.Hz, c.Speeds[:]...),
		past:   make([]snapshot, max(1, c.Hz/memoryPart)+1),
		tick:   c.FirstTick,
		day:    uint64(DaySeconds * c.Hz),
		cells:  make([]cell, c.Width*c.Height),
	}
	w.blocks.init(len(w.cells))
	w.thinkAll, w.moveAll = w.thinkPart, w.movePart
	for n := range c.Monsters {
		if err := w.addMonster(uint32(n)); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// Tick returns the number of the last tick.
func (w *World) Tick() uint64 { return w.tick }

// Day returns how many ticks a day has.
func (w *World) Day() uint64 { return w.day }

// Steps returns the steps by speed.
func (w *World) Steps() []Step { return w.steps }

// Ground returns the map.
func (w *World) Ground() *Map { return w.ground }

// Players returns how many players there are.
func (w *World) Players() int { return w.players }

// Entities returns how many entities there are.
func (w *World) Entities() int { return len(w.e.cell) - len(w.free) }

// random is a number that depends on nothing but what is named.
func (w *World) random(a, b uint32) uint32 {
	return mix(mix(mix(w.config.Seed^a)+uint32(w.tick)) ^ b*0x85ebca6b ^ uint32(w.tick>>32))
}

// night reports whether it is dark: for the last third of a day.
func (w *World) night() bool { return w.tick%w.day >= w.day*2/3 }

// slotOf returns the slot of an entity, and whether it is there.
func (w *World) slotOf(id ID) (int, bool) {
	s := id.slot()
	ok := s < len(w.e.cell) && w.e.cell[s] != noCell && w.idOf(s) == id
	return s, ok
}

func (w *World) idOf(slot int) ID { return ID(w.e.generation[slot])<<slotBits | ID(slot) }

// resting is how many free slots are kept back.
const resting = 1024

// newSlot returns a slot for an entity. The one freed longest ago comes first, and
// some always rest, so that a number is used again after four million others.
func (w *World) newSlot() int {
	if n := len(w.free); n > resting {
		s := int(w.free[0])
		copy(w.free, w.free[1:])
		w.free = w.free[:n-1]
		return s
	}
	e := &w.e
	e.generation = append(e.generation, 1)
	e.kind = append(e.kind, 0)
	e.x, e.y = append(e.x, 0), append(e.y, 0)
	e.direction, e.speed = append(e.direction, 0), append(e.speed, 0)
	e.cell, e.at = append(e.cell, noCell), append(e.at, 0)
	e.changed, e.entered, e.renewed = append(e.changed, 0), append(e.entered, 0), append(e.renewed, 0)
	e.from = append(e.from, noCell)
	e.body = append(e.body, body{})
	return len(e.cell) - 1
}

// add makes an entity at a place, for the tick to come.
func (w *World) add(kind uint8, at Spot, b body) ID {
	s := w.newSlot()
	e := &w.e
	e.kind[s], e.x[s], e.y[s] = kind, at.X, at.Y
	e.direction[s], e.speed[s] = 0, 0
	e.changed[s], e.renewed[s] = w.tick+1, 0
	b.since = w.tick + 1
	e.body[s] = b
	w.enter(s, w.cellAt(at.X, at.Y), noCell)
	return w.idOf(s)
}

// remove takes an entity out of the world.
func (w *World) remove(s int) {
	w.leave(s, noCell)
	w.e.cell[s] = noCell
	w.e.body[s] = body{}
	if w.e.generation[s]++; w.e.generation[s] > maxNumber {
		w.e.generation[s] = 1
	}
	w.free = append(w.free, uint32(s))
}

func (w *World) cellAt(x, y int32) uint16 {
	return uint16(int(y)/Cell*w.config.Width + int(x)/Cell)
}

// enter puts an entity on the list of a cell.
func (w *World) enter(s int, c, from uint16) {
	w.e.cell[s], w.e.from[s] = c, from
	w.e.at[s] = uint32(len(w.cells[c].list))
	w.e.entered[s] = w.tick + 1
	w.cells[c].list = append(w.cells[c].list, uint32(s))
	if w.e.kind[s] == Player {
		w.cells[c].players++
	}
}

// leave takes it off, and notes where it went.
func (w *World) leave(s int, to uint16) {
	c := &w.cells[w.e.cell[s]]
	last := len(c.list) - 1
	moved := c.list[last]
	c.list[w.e.at[s]] = moved
	w.e.at[moved] = w.e.at[s]
	c.list = c.list[:last]
	if w.e.kind[s] == Player {
		c.players--
	}
	c.left = append(c.left, departure{w.idOf(s), to, w.tick + 1, w.e.entered[s]})
}

// forget drops the departures that no block can need any more.
func (c *cell) forget(tick uint64) {
	n := 0
	for _, d := range c.left {
		if d.tick+MaxBase > tick {
			c.left[n] = d
			n++
		}
	}
	c.left = c.left[:n]
}

// Join brings a player into the world, in a town.
func (w *World) Join(name string) (ID, error) {
	w.note(Call{Kind: CallJoin, Text: name})
	if w.players >= w.config.MaxPlayers {
		return 0, fmt.Errorf("%w: it has %d players", ErrFull, w.players)
	}
	at, ok := w.welcomePlace(name)
	if !ok {
		return 0, ErrNowhere
	}
	w.players++
	return w.add(Player, at, body{name: name, health: MaxHealth, level: 1, moves: new(moves)}), nil
}

// welcomePlace is a place in a town that depends on the name.
func (w *World) welcomePlace(name string) (Spot, bool) {
	h := w.config.Seed
	for i := range len(name) {
		h = mix(h ^ uint32(name[i]))
	}
	towns := func(tiles int) uint32 { return uint32(max(1, (tiles+townEvery-townTo)/townEvery)) }
	const inside = townTo - townFrom - 1
	tx := h%towns(w.ground.width)*townEvery + townFrom + 1 + mix(h)%inside
	ty := mix(h+1)%towns(w.ground.height)*townEvery + townFrom + 1 + mix(h+2)%inside
	x, y := w.inside(int32(tx)*Tile+Tile/2, int32(ty)*Tile+Tile/2)
	x, y, ok := w.ground.nearest(x, y)
	return Spot{x, y}, ok
}

// inside returns the place in the world that is nearest to one.
func (w *World) inside(x, y int32) (int32, int32) {
	return min(max(x, 0), int32(w.ground.width*Tile-1)), min(max(y, 0), int32(w.ground.height*Tile-1))
}

// Leave takes a player out of the world.
func (w *World) Leave(id ID) error {
	w.note(Call{Kind: CallLeave, ID: id})
	s, ok := w.slotOf(id)
	if !ok || w.e.kind[s] != Player {
		return ErrNoPlayer
	}
	w.players--
	w.remove(s)
	return nil
}

// Place puts a player at a place, or at the nearest one that is free. What it was
// going to do is forgotten.
func (w *World) Place(id ID, x, y int32) error {
	w.note(Call{Kind: CallPlace, ID: id, X: x, Y: y})
	s, ok := w.slotOf(id)
	if !ok || w.e.kind[s] != Player {
		return ErrNoPlayer
	}
	x, y = w.inside(x, y)
	if x, y, ok = w.ground.nearest(x, y); !ok {
		return ErrNowhere
	}
	w.carry(s, x, y)
	return nil
}

// carry puts a player at a place, and forgets what it was going to do.
func (w *World) carry(s int, x, y int32) {
	m := w.e.body[s].moves
	m.drop()
	m.corrected, m.reason = true, CorrectionByWorld
	w.put(s, x, y)
	w.e.body[s].since = w.tick + 1
	w.publish(s, 0, SpeedPlayer)
}

// put moves an entity to a place, into another cell if need be.
func (w *World) put(s int, x, y int32) {
	w.e.x[s], w.e.y[s] = x, y
	w.e.changed[s] = w.tick + 1
	if c := w.cellAt(x, y); c != w.e.cell[s] {
		from := w.e.cell[s]
		w.leave(s, c)
		w.enter(s, c, from)
	}
}

// publish notes how an entity moves, as those who see it will move it on.
func (w *World) publish(s int, direction, speed uint8) {
	if direction == 0 {
		speed = 0
	}
	if w.e.direction[s] == direction && w.e.speed[s] == speed {
		return
	}
	w.e.direction[s], w.e.speed[s] = direction, speed
	w.e.changed[s] = w.tick + 1
}

// Say lets everybody near read something.
func (w *World) Say(id ID, text string) error {
	w.note(Call{Kind: CallSay, ID: id, Text: text})
	s, ok := w.slotOf(id)
	if !ok || w.e.kind[s] != Player {
		return ErrNoPlayer
	}
	said := proto.Said{ID: uint32(id), Name: w.e.body[s].name, Text: text}
	w.announce(w.e.cell[s], &said)
	return nil
}

// announce lets all near a cell have a message with the next tick. The bytes of the ticks
// before are used again.
func (w *World) announce(c uint16, m proto.Message) {
	n := len(w.said)
	if n < cap(w.said) {
		w.said = w.said[:n+1]
	} else {
		w.said = append(w.said, speech{})
	}
	w.said[n] = speech{c, m.Append(w.said[n].bytes[:0])}
}

// At returns where an entity is.
func (w *World) At(id ID) (x, y int32, ok bool) {
	s, ok := w.slotOf(id)
	if !ok {
		return 0, 0, false
	}
	return w.e.x[s], w.e.y[s], true
}

// Hash is a sum of the whole state: two worlds that have the same are the same.
func (w *World) Hash() uint64 {
	h := uint64(14695981039346656037) // FNV-1a
	add := func(v uint64) { h = (h ^ v) * 1099511628211 }
	add(w.tick)
	add(uint64(len(w.free)))
	for s := range w.e.cell {
		add(uint64(w.e.cell[s])<<32 | uint64(w.e.generation[s])<<16 | uint64(w.e.kind[s]))
		if w.e.cell[s] == noCell {
			continue
		}
		add(uint64(uint32(w.e.x[s]))<<32 | uint64(uint32(w.e.y[s])))
		add(uint64(w.e.direction[s])<<8 | uint64(w.e.speed[s]))
		add(w.e.changed[s])
		add(w.e.entered[s])
		b := &w.e.body[s]
		add(b.ready<<32 ^ b.since)
		add(uint64(b.experience)<<8 | uint64(b.level))
		add(uint64(b.target)<<32 | uint64(b.wish)<<16 | uint64(b.pace)<<8 | uint64(b.health))
		if b.moves != nil {
			add(uint64(b.moves.queued)<<32 | uint64(b.moves.received))
		}
	}
	for n := range w.things {
		t := &w.things[n]
		add(uint64(t.cell)<<32 | uint64(t.generation)<<16 | uint64(t.kind))
		add(uint64(uint32(t.x))<<32 | uint64(uint32(t.y)))
		add(t.entered)
	}
	return h
}

// Width returns how many cells the world has from left to right.
func (w *World) Width() int { return w.config.Width }

// A Spot is a place in the world, in units from its upper left.
type Spot struct{ X, Y int32 }

// All iterates over the entities and where they are.
func (w *World) All() iter.Seq2[ID, Spot] {
	return func(yield func(ID, Spot) bool) {
		for s := range w.e.cell {
			if w.e.cell[s] != noCell && !yield(w.idOf(s), Spot{w.e.x[s], w.e.y[s]}) {
				return
			}
		}
	}
}
