package sim

const (
	// thinkEvery is how many ticks lie between two decisions of a monster.
	thinkEvery = 8
	// sight is how far a monster sees a player, and leash how far it goes from its
	// home, in units.
	sight = 8 * Tile
	leash = 24 * Tile
	// close is where it stops.
	close = Tile
)

// addMonster makes the n-th monster, somewhere outside the towns.
func (w *World) addMonster(n uint32) error {
	width, height := uint32(w.ground.width), uint32(w.ground.height)
	for try := range uint32(1000) {
		h := mix(mix(w.config.Seed^0x6d6f6e73+n) + try)
		tx, ty := int(h%width), int(mix(h)%height)
		if w.ground.At(tx, ty) != Grass {
			continue
		}
		at := Spot{int32(tx*Tile + Tile/2), int32(ty*Tile + Tile/2)}
		w.addBeast(Slime+uint8(mix(h+1)%3), at)
		return nil
	}
	return ErrNowhere
}

func (w *World) addBeast(kind uint8, home Spot) {
	w.add(kind, home, body{health: MaxHealth, level: kind, home: home})
}

// think lets a monster decide where to go. It reads the places of others as they
// were at the end of the last tick, and writes its own wish only. That it strikes is
// noted for later.
func (w *World) think(s, part int) {
	if (w.tick+uint64(s))%thinkEvery != 0 {
		return
	}
	b := &w.e.body[s]
	b.target, b.pace = 0, SpeedWander
	hunts := w.e.kind[s] == Wolf || w.e.kind[s] == Ghost && w.night()
	if prey := w.prey(s); hunts && prey >= 0 {
		b.target, b.pace = w.idOf(prey), SpeedHunt
		b.wish = w.towards(s, w.e.x[prey], w.e.y[prey], close)
		if w.tick >= b.ready && far(w.e.x[prey]-w.e.x[s], w.e.y[prey]-w.e.y[s]) <= biteRange {
			w.bites[part] = append(w.bites[part], uint32(s))
		}
		return
	}
	if far(w.e.x[s]-b.home.X, w.e.y[s]-b.home.Y) > leash {
		b.wish = w.towards(s, b.home.X, b.home.Y, close)
		return
	}
	switch r := w.random(uint32(s), 1); {
	case r%4 == 0: // it stands for a while
		b.wish = 0
	case r%4 == 1:
		b.wish = 1 + uint8(r>>8)%8
	}
}

// far is the distance along the longer axis.
func far(dx, dy int32) int32 { return max(dx, -dx, dy, -dy) }

// towards is the direction to a place, 0 when it is close.
func (w *World) towards(s int, x, y, near int32) uint8 {
	dx, dy := x-w.e.x[s], y-w.e.y[s]
	if far(dx, dy) <= near {
		return 0
	}
	if max(dx, -dx) > 2*max(dy, -dy) {
		dy = 0
	} else if max(dy, -dy) > 2*max(dx, -dx) {
		dx = 0
	}
	return directionOf(dx, dy)
}

// prey returns the slot of the nearest player that a monster sees, -1 for none. Of
// two that are as near, the one with the lower slot.
func (w *World) prey(s int) int {
	best, nearest := -1, int32(sight)+1
	cx, cy := int(w.e.x[s])/Cell, int(w.e.y[s])/Cell
	for y := max(cy-1, 0); y <= min(cy+1, w.config.Height-1); y++ {
		for x := max(cx-1, 0); x <= min(cx+1, w.config.Width-1); x++ {
			c := &w.cells[y*w.config.Width+x]
			if c.players == 0 {
				continue
			}
			for _, other := range c.list {
				if w.e.kind[other] != Player || w.e.body[other].health == 0 {
					continue
				}
				d := far(w.e.x[other]-w.e.x[s], w.e.y[other]-w.e.y[s])
				if d < nearest || d == nearest && best >= 0 && int(other) < best {
					best, nearest = int(other), d
				}
			}
		}
	}
	return best
}
