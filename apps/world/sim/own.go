package sim

import "errors"

// ErrKind is for what only works with the kinds of entities that a game puts into the
// world itself.
var ErrKind = errors.New("it is no entity of the game's own")

// Spawn puts an entity of a game's own kind, from FirstOwn on, at a place or at the
// nearest that is free. It stands until Go. Its name is shown with it.
func (w *World) Spawn(kind uint8, name string, x, y int32) (ID, error) {
	w.note(Call{Kind: CallSpawn, Text: name, X: x, Y: y, Amount: uint32(kind)})
	if kind < FirstOwn {
		return 0, ErrKind
	}
	if w.Entities() >= maxEntities {
		return 0, ErrFull
	}
	x, y = w.inside(x, y)
	x, y, ok := w.ground.nearest(x, y)
	if !ok {
		return 0, ErrNowhere
	}
	return w.add(kind, Spot{x, y}, body{name: name, health: MaxHealth, level: 1}), nil
}

// Despawn takes an entity of a game's own kind out of the world.
func (w *World) Despawn(id ID) error {
	w.note(Call{Kind: CallDespawn, ID: id})
	s, err := w.own(id)
	if err != nil {
		return err
	}
	w.remove(s)
	return nil
}

// Go lets an entity of a game's own kind move in a direction, from the next tick on,
// until the next Go: 0 is to stand. speed is an index into Steps, of the first
// of a pair. Where something is in its way it does not go on.
func (w *World) Go(id ID, direction, speed uint8) error {
	w.note(Call{Kind: CallGo, ID: id, Amount: uint32(direction) | uint32(speed)<<8})
	s, err := w.own(id)
	if err != nil {
		return err
	}
	if int(direction) >= len(headings) || int(speed)+1 >= len(w.steps) {
		return ErrDirection
	}
	w.e.body[s].wish, w.e.body[s].pace = direction, speed
	return nil
}

func (w *World) own(id ID) (slot int, err error) {
	s, ok := w.slotOf(id)
	if !ok || w.e.kind[s] < FirstOwn {
		return 0, ErrKind
	}
	return s, nil
}

// Direction is the one that leads nearest to where dx and dy are, 0 when both are 0.
func Direction(dx, dy int32) uint8 {
	if max(dx, -dx) > 2*max(dy, -dy) {
		dy = 0
	} else if max(dy, -dy) > 2*max(dx, -dx) {
		dx = 0
	}
	return directionOf(dx, dy)
}

// Towns returns the middles of the towns: squares of floor whose sides are TownSide
// tiles, with a gate in the middle of each.
func (m *Map) Towns() (all []Spot) {
	for y := townFrom; y+townTo-townFrom < m.height; y += townEvery {
		for x := townFrom; x+townTo-townFrom < m.width; x += townEvery {
			const middle = (townTo - townFrom + 1) / 2
			all = append(all, Spot{int32(x+middle) * Tile, int32(y+middle) * Tile})
		}
	}
	return all
}

// TownSide is how many tiles of floor a town has from wall to wall.
const TownSide = townTo - townFrom - 1
