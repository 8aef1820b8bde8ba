package sim

import (
	"math"

	"github.com/epinet/epi/apps/world/proto"
)

const (
	// strikeRange is how far a player reaches, and biteRange how far a monster does,
	// in units.
	strikeRange = 3 * Tile
	biteRange   = Tile + Tile/2
	// cooldown is the time between two strikes of one entity, memory how far back
	// those who are struck may be seen, fallenFor how long a player lies before it
	// returns to a town, and graveFor how long a monster is gone. All are in parts of
	// a second, or seconds.
	cooldownPart = 2 // half a second
	memoryPart   = 5 // 200 ms
	fallenFor    = 3
	graveFor     = 20
	// healed is the health that comes back, each healEvery seconds.
	healed    = 10
	healEvery = 5
	// MaxHealth is that of everybody: it is per cent.
	MaxHealth = 100
	// MaxLevel is the highest level.
	MaxLevel = 100
	// experiencePer is what the square of a level is multiplied by.
	experiencePer = 50
)

// A breed is what the entities of one kind are like in a fight.
type breed struct {
	strength   uint32 // per cent of the health of one that is not tough at all
	toughness  uint32 // divides, in quarters
	experience uint32 // for who kills it
}

// breeds are by kind. Levels add to strength and toughness.
var breeds = [...]breed{
	Player: {25, 4, 20},
	Slime:  {6, 4, 10},
	Wolf:   {12, 5, 25},
	Ghost:  {15, 6, 40},
}

// A Blow is what has become of an Attack.
type Blow uint8

// The blows.
const (
	Struck   Blow = iota
	NoTarget      // nobody of that number is there, it lies, or it is the attacker
	NotReady      // the attacker has struck a moment ago, or lies
	TooFar
	Hidden // something is between the two
	Peace  // the target is in a town, or the world knows no fights
)

// Blows is how many there are.
const Blows = int(Peace) + 1

// Attack lets a player strike another entity, where the player saw it: at the end of
// the tick seen, at most 200 ms ago.
func (w *World) Attack(id, target ID, seen uint32) (Blow, error) {
	w.note(Call{Kind: CallAttack, ID: id, Target: target, Seen: seen})
	s, ok := w.slotOf(id)
	if !ok || w.e.kind[s] != Player {
		return NoTarget, ErrNoPlayer
	}
	t, ok := w.slotOf(target)
	if !ok || t == s || int(w.e.kind[t]) >= len(breeds) || w.e.body[t].health == 0 {
		return NoTarget, nil
	}
	if b := &w.e.body[s]; b.health == 0 || w.tick < b.ready {
		return NotReady, nil
	}
	at := w.seenAt(t, seen)
	blow := w.reaches(Spot{w.e.x[s], w.e.y[s]}, at, strikeRange)
	if blow == Struck {
		w.strike(s, t)
	}
	return blow, nil
}

// reaches says whether a blow from one place reaches another.
func (w *World) reaches(from, to Spot, length int32) Blow {
	switch {
	case !within(from, to, length):
		return TooFar
	case w.config.Peaceful || w.ground.At(int(to.X)/Tile, int(to.Y)/Tile) == Floor:
		return Peace
	case !w.ground.sees(from, to):
		return Hidden
	}
	return Struck
}

// sees reports whether nothing is between two places that are near each other.
func (m *Map) sees(from, to Spot) bool {
	const stride = Tile / 4
	dx, dy := to.X-from.X, to.Y-from.Y
	n := far(dx, dy)/stride + 1
	for i := range n {
		x, y := int(from.X+dx*i/n)/Tile, int(from.Y+dy*i/n)/Tile
		if g := m.At(x, y); g == Rock || g == Tree {
			return false
		}
	}
	return true
}

// remember keeps where everybody is at the end of a tick.
func (w *World) remember() {
	p := &w.past[w.tick%uint64(len(w.past))]
	p.x, p.y = append(p.x[:0], w.e.x...), append(p.y[:0], w.e.y...)
}

// A snapshot is where the entities were at the end of a tick, by slot.
type snapshot struct{ x, y []int32 }

// seenAt is where an entity was at the end of a tick: not longer ago than is
// remembered, and not before it came to where it is by other means than walking.
func (w *World) seenAt(s int, seen uint32) Spot {
	age := uint64(max(0, int32(uint32(w.tick)-seen)))
	age = min(age, uint64(len(w.past)-1), w.tick-min(w.e.body[s].since, w.tick))
	p := &w.past[(w.tick-age)%uint64(len(w.past))]
	if age == 0 || s >= len(p.x) {
		return Spot{w.e.x[s], w.e.y[s]}
	}
	return Spot{p.x[s], p.y[s]}
}

// strike hurts t, and everybody near sees it.
func (w *World) strike(s, t int) {
	by, b := &w.e.body[s], &w.e.body[t]
	by.ready = w.tick + uint64(max(1, w.config.Hz/cooldownPart))
	power := (breeds[w.e.kind[s]].strength + uint32(by.level)) * 4 / (breeds[w.e.kind[t]].toughness + uint32(b.level)/10)
	damage := uint8(min(max(power, 1), uint32(b.health)))
	b.health -= damage
	w.e.renewed[t] = w.tick + 1
	w.hit = proto.Hit{By: uint32(w.idOf(s)), Target: uint32(w.idOf(t)), Damage: damage, Health: b.health}
	w.announce(w.e.cell[t], &w.hit)
	if b.health > 0 {
		return
	}
	if w.e.kind[s] == Player {
		w.learn(s, breeds[w.e.kind[t]].experience+uint32(b.level))
	}
	if w.e.kind[t] == Player {
		w.fall(t)
		return
	}
	w.felled = append(w.felled, Felled{w.e.kind[t], Spot{w.e.x[t], w.e.y[t]}, w.idOf(s)})
	w.graves = append(w.graves, grave{due: w.tick + uint64(graveFor*w.config.Hz), kind: w.e.kind[t], home: b.home})
	w.remove(t)
}

// learn adds to what a player has seen of the world, up to the most there is.
func (w *World) learn(s int, experience uint32) {
	b := &w.e.body[s]
	if experience > math.MaxUint32-b.experience {
		experience = math.MaxUint32 - b.experience
	}
	b.experience += experience
	b.moves.learned = experience > 0
	level := levelOf(b.experience)
	if level <= b.level {
		return
	}
	b.level = level
	w.e.renewed[s] = w.tick + 1
}

// levelOf is the level of so much experience: the next after n needs 50·n².
func levelOf(experience uint32) uint8 {
	level := uint8(1)
	for level < MaxLevel && experience >= nextAfter(level) {
		level++
	}
	return level
}

// Learn gives a player experience, which is never more than 2^32 - 1.
func (w *World) Learn(id ID, experience uint32) error {
	w.note(Call{Kind: CallLearn, ID: id, Amount: experience})
	s, ok := w.slotOf(id)
	if !ok || w.e.kind[s] != Player {
		return ErrNoPlayer
	}
	w.learn(s, experience)
	return nil
}

// fall lets a player lie where it is, until it returns.
func (w *World) fall(s int) {
	b := &w.e.body[s]
	m := b.moves
	m.drop()
	m.corrected, m.reason = true, CorrectionByWorld
	w.publish(s, 0, 0)
	w.fallen = append(w.fallen, fallen{id: w.idOf(s), due: w.tick + uint64(fallenFor*w.config.Hz)})
}

// A fallen player lies until a tick. All lie for as long, so the first goes first.
type fallen struct {
	id  ID
	due uint64
}

// A grave is where a monster comes from again.
type grave struct {
	due  uint64
	kind uint8
	home Spot
}

// raise brings back who has been gone for long enough.
func (w *World) raise() {
	n := 0
	for n < len(w.fallen) && w.fallen[n].due <= w.tick {
		if s, ok := w.slotOf(w.fallen[n].id); ok {
			w.revive(s)
		}
		n++
	}
	w.fallen = append(w.fallen[:0], w.fallen[n:]...)
	n = 0
	for n < len(w.graves) && w.graves[n].due <= w.tick {
		g := &w.graves[n]
		w.addBeast(g.kind, g.home)
		n++
	}
	w.graves = append(w.graves[:0], w.graves[n:]...)
}

func (w *World) revive(s int) {
	b := &w.e.body[s]
	b.health = MaxHealth
	w.e.renewed[s] = w.tick + 1
	if at, ok := w.welcomePlace(b.name); ok {
		w.carry(s, at.X, at.Y)
	}
}

// heal gives back health, some at a time, as each time is sent to all who see it. It
// writes its own entity only.
func (w *World) heal(s int) {
	b := &w.e.body[s]
	if b.health == 0 || b.health >= MaxHealth || (w.tick+uint64(s))%uint64(healEvery*w.config.Hz) != 0 {
		return
	}
	b.health = min(MaxHealth, b.health+healed)
	w.e.renewed[s] = w.tick + 1
}

// bite is what monsters have decided to do in this tick, in the order of their slots.
func (w *World) bite() {
	for part := range w.bites {
		for _, s := range w.bites[part] {
			if t, ok := w.slotOf(w.e.body[s].target); ok && w.e.body[t].health > 0 {
				if w.reaches(Spot{w.e.x[s], w.e.y[s]}, Spot{w.e.x[t], w.e.y[t]}, biteRange) == Struck {
					w.strike(int(s), t)
				}
			}
		}
		w.bites[part] = w.bites[part][:0]
	}
}

// nextAfter is the experience that the level after one needs.
func nextAfter(level uint8) uint32 { return experiencePer * uint32(level) * uint32(level) }

// SetHealth is for a player that comes back: it has as much as it had, at least 1 and at
// most MaxHealth.
func (w *World) SetHealth(id ID, health uint8) error {
	w.note(Call{Kind: CallHealth, ID: id, Amount: uint32(health)})
	s, ok := w.slotOf(id)
	if !ok || w.e.kind[s] != Player {
		return ErrNoPlayer
	}
	w.e.body[s].health = min(max(health, 1), MaxHealth)
	w.e.renewed[s] = w.tick + 1
	return nil
}

// Life returns the health and the experience of a player, 0 of one that is not there.
func (w *World) Life(id ID) (health uint8, experience uint32) {
	if s, ok := w.slotOf(id); ok {
		return w.e.body[s].health, w.e.body[s].experience
	}
	return 0, 0
}

// Level returns that of a player, 0 for one that is not there.
func (w *World) Level(id ID) uint8 {
	if s, ok := w.slotOf(id); ok {
		return w.e.body[s].level
	}
	return 0
}
