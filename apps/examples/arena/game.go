package main

import (
	"fmt"

	"github.com/epinet/epi/apps/world/server"
	"github.com/epinet/epi/apps/world/sim"
)

// What the game adds to a world: a kind of entity, a speed, and its messages.
const (
	kindBall  = sim.FirstOwn
	ballSpeed = sim.SpeedOwn // 30 quarters of a tile a second: players have 18

	actKick    = 1 // no data: whoever is at the ball shoots it
	eventScore = 1 // goals of the left and of the right team, and seconds left: 3 bytes
	eventLobby = 2 // how many wait: 1 byte
)

// The rules.
const (
	matchSize  = 8
	patience   = 5   // seconds until a match begins with fewer
	matchTime  = 120 // seconds
	goalsToWin = 5
	touch      = sim.Tile * 3 / 4 // how near the ball one must be
	rollTicks  = 12               // a ball that was pushed, and one that was shot
	shotTicks  = 40
)

// A world is what the game needs of a server.
type world interface {
	World() *sim.World
	Tell(id sim.ID, kind uint8, data []byte)
	Notice(id sim.ID, text string)
}

// A game is a lobby and a match in each town. It is a server.Game.
type game struct {
	world   world
	waiting []sim.ID // the one that came first in front
	since   uint64   // the tick from which on two or more wait
	matches []*match // one for each town
	at      map[sim.ID]*match
}

// A match has the town around middle as its field. Its goals are the gates in the west
// and in the east.
type match struct {
	middle  sim.Spot
	players []sim.ID // every second one is of the left team
	ball    sim.ID
	rolls   int // ticks that the ball goes on
	last    sim.Spot
	heading uint8
	goals   [2]uint8
	ends    uint64
}

func newGame() *game { return &game{at: map[sim.ID]*match{}} }

// Begin is a method of server.Game.
func (g *game) Begin(s *server.Server) { g.begin(s) }

func (g *game) begin(w world) {
	g.world = w
	for _, middle := range w.World().Ground().Towns() {
		g.matches = append(g.matches, &match{middle: middle})
	}
}

// Joined is a method of server.Game.
func (g *game) Joined(id sim.ID, _ string) { g.wait(id) }

func (g *game) wait(id sim.ID) {
	if g.waiting = append(g.waiting, id); len(g.waiting) == 2 {
		g.since = g.world.World().Tick()
	}
	for _, other := range g.waiting {
		g.world.Tell(other, eventLobby, []byte{byte(min(len(g.waiting), 255))})
	}
	g.world.Notice(id, fmt.Sprintf("%d wait: a match has %d, or those who are there after %d seconds", len(g.waiting), matchSize, patience))
}

// Left is a method of server.Game.
func (g *game) Left(id sim.ID) {
	g.waiting = without(g.waiting, id)
	if m := g.at[id]; m != nil {
		delete(g.at, id)
		if m.players = without(m.players, id); len(m.players) < 2 {
			g.end(m)
		}
	}
}

func without(all []sim.ID, id sim.ID) []sim.ID {
	kept := all[:0]
	for _, other := range all {
		if other != id {
			kept = append(kept, other)
		}
	}
	return kept
}

// Act is a method of server.Game.
func (g *game) Act(id sim.ID, kind uint8, data []byte) error {
	if kind != actKick || len(data) != 0 {
		return fmt.Errorf("act %d with %d bytes: there is only %d, without any", kind, len(data), actKick)
	}
	if m := g.at[id]; m != nil {
		g.push(m, id, shotTicks)
	}
	return nil
}

// Tick is a method of server.Game.
func (g *game) Tick() {
	g.fill()
	for _, m := range g.matches {
		if m.ball != 0 {
			g.play(m)
		}
	}
}

func (g *game) hz() uint64 { return g.world.World().Day() / sim.DaySeconds }

// fill begins a match where there is room, when enough wait.
func (g *game) fill() {
	now := g.world.World().Tick()
	n := min(len(g.waiting), matchSize)
	if n < 2 || n < matchSize && now < g.since+patience*g.hz() {
		return
	}
	for _, m := range g.matches {
		if m.ball == 0 {
			m.players = append([]sim.ID(nil), g.waiting[:n]...)
			g.waiting, g.since = append(g.waiting[:0], g.waiting[n:]...), now
			m.goals, m.ends = [2]uint8{}, now+matchTime*g.hz()
			for _, id := range m.players {
				g.at[id] = m
			}
			g.kickOff(m)
			return
		}
	}
}

// kickOff puts everybody and the ball where they begin.
func (g *game) kickOff(m *match) {
	w := g.world.World()
	for i, id := range m.players {
		x := m.middle.X + int32(4+i/2%2*3)*sim.Tile*int32(i%2*2-1)
		_ = w.Place(id, x, m.middle.Y+int32(i/2*2-3)*sim.Tile) // it is there
	}
	_ = w.Despawn(m.ball) // there may be none yet
	var err error
	if m.ball, err = w.Spawn(kindBall, "", m.middle.X, m.middle.Y); err != nil { // the world is full
		g.end(m)
		return
	}
	m.rolls, m.last = 0, m.middle
	g.score(m)
}

func (g *game) score(m *match) {
	left := (m.ends - min(m.ends, g.world.World().Tick())) / g.hz()
	for i, id := range m.players {
		g.world.Tell(id, eventScore, []byte{m.goals[0], m.goals[1], byte(left)})
		side := [2]string{"from left to right", "from right to left"}[i%2]
		g.world.Notice(id, fmt.Sprintf("%d : %d, you play %s, %d seconds are left", m.goals[0], m.goals[1], side, left))
	}
}

// play is a tick of a match.
func (g *game) play(m *match) {
	w := g.world.World()
	if w.Tick() >= m.ends {
		g.end(m)
		return
	}
	for _, id := range m.players {
		g.push(m, id, rollTicks)
	}
	x, y, _ := w.At(m.ball)
	const half = sim.TownSide / 2 * sim.Tile
	switch dx, dy := x-m.middle.X, y-m.middle.Y; {
	case max(dx, -dx) > half:
		g.goal(m, dx < 0)
		return
	case max(dy, -dy) > half: // through a gate that is no goal
		g.kickOff(m)
		return
	}
	here := sim.Spot{X: x, Y: y}
	if m.rolls--; m.rolls <= 0 {
		m.heading = 0
	} else if here == m.last && m.heading != 0 { // a wall: it comes back
		m.heading = (m.heading+3)%8 + 1
	}
	m.last = here
	_ = w.Go(m.ball, m.heading, ballSpeed) // it is there
}

// push lets the ball go away from a player that is near enough.
func (g *game) push(m *match, id sim.ID, ticks int) {
	w := g.world.World()
	px, py, _ := w.At(id)
	x, y, ok := w.At(m.ball)
	dx, dy := x-px, y-py
	if !ok || max(dx, -dx, dy, -dy) > touch || dx == 0 && dy == 0 || ticks < m.rolls {
		return
	}
	m.heading, m.rolls, m.last = sim.Direction(dx, dy), ticks, sim.Spot{}
	_ = w.Go(m.ball, m.heading, ballSpeed) // it is there
}

func (g *game) goal(m *match, inTheWest bool) {
	team := 0
	if inTheWest {
		team = 1
	}
	if m.goals[team]++; m.goals[team] >= goalsToWin {
		g.end(m)
		return
	}
	g.kickOff(m)
}

// end lets the players of a match wait for another one.
func (g *game) end(m *match) {
	g.score(m)
	_ = g.world.World().Despawn(m.ball) // it is there
	m.ball = 0
	players := m.players
	m.players = nil
	for _, id := range players {
		delete(g.at, id)
		g.wait(id)
	}
}
