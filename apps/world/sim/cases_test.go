package sim_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/epinet/epi/apps/world/proto"
	"github.com/epinet/epi/apps/world/sim"
)

// TestCase13_LogoutUnderAttack: players leave while monsters hunt them, also in the
// tick in which they came.
func TestCase13_LogoutUnderAttack(t *testing.T) {
	w := world(t, sim.Config{Seed: 3, Width: 4, Height: 4, Monsters: 400})
	watcher := join(t, w, "watcher")
	r := rand.New(rand.NewPCG(3, 3))
	for n := range 300 {
		hunted := join(t, w, fmt.Sprint("hunted", n))
		if err := w.Place(hunted.id, int32(r.IntN(4*sim.Cell)), int32(r.IntN(4*sim.Cell))); err != nil {
			t.Fatal(err)
		}
		for range r.IntN(20) { // not at all, too
			w.Step(sim.Alone)
			watcher.look(t, w)
			watcher.check(t, w)
		}
		if err := w.Leave(hunted.id); err != nil {
			t.Fatal(err)
		}
		if err := w.Leave(hunted.id); err == nil {
			t.Fatal("it left twice")
		}
		w.Step(sim.Alone)
		watcher.look(t, w)
		watcher.check(t, w)
	}
}

// TestCase22_TeleportOfTheHunted: a player that monsters hunt is elsewhere at once.
// Those who see where it was, and those who see where it is, see the same.
func TestCase22_TeleportOfTheHunted(t *testing.T) {
	w := world(t, sim.Config{Seed: 11, Width: 16, Height: 16, Monsters: 2000})
	spots := [2][2]int32{{64 * sim.Tile, 64 * sim.Tile}, {192 * sim.Tile, 192 * sim.Tile}}
	var watchers [2]*player
	for i, at := range spots {
		watchers[i] = join(t, w, fmt.Sprint("watcher", i))
		if err := w.Place(watchers[i].id, at[0], at[1]); err != nil {
			t.Fatal(err)
		}
	}
	hunted := join(t, w, "hunted")
	for n := range 200 {
		at := spots[n%2]
		if err := w.Place(hunted.id, at[0]+5*sim.Tile, at[1]); err != nil {
			t.Fatal(err)
		}
		for range 1 + n%4 {
			w.Step(sim.Alone)
			for _, p := range []*player{hunted, watchers[0], watchers[1]} {
				p.look(t, w)
				p.check(t, w)
			}
		}
		for i, p := range watchers {
			if _, seen := p.replica.Entities[uint32(hunted.id)]; seen != (i == n%2) {
				t.Fatalf("turn %d: watcher %d sees it: %v", n, i, seen)
			}
		}
	}
}

// TestCase23_KnockedWhileMovesAreUnderWay: the player is moved by the world while its
// moves need 200 ms to come, and what it receives as long. Its own prediction comes to the
// server's place as soon as it stops.
func TestCase23_KnockedWhileMovesAreUnderWay(t *testing.T) {
	const delay = 4 // ticks, each way
	type sent struct {
		tick int
		move proto.Move
	}
	w := world(t, sim.Config{Seed: 12})
	p := join(t, w, "knocked")
	r := rand.New(rand.NewPCG(4, 4))
	step := w.Steps()[sim.SpeedPlayer]
	x, y, _ := w.At(p.id)
	predicted := sim.Spot{X: x, Y: y}
	var up []sent      // to the server
	var waiting []sent // at the client: not yet acknowledged
	var down [][]byte  // frames, the oldest first
	knocks, epochs := 0, 0
	for tick := range 2000 {
		if tick < 1900 && tick%50 < 40 {
			p.going = uint8(1 + r.IntN(8))
			p.sequence++
			m := sent{tick, proto.Move{Epoch: p.epoch, Sequence: p.sequence, Direction: p.going, Ticks: 1}}
			up, waiting = append(up, m), append(waiting, m)
			predicted.X, predicted.Y = w.Ground().Walk(predicted.X, predicted.Y, p.going, step)
		}
		if tick%50 == 17 || tick%100 == 36 {
			knocks++
			x, y, _ := w.At(p.id)
			if err := w.Place(p.id, x+int32(r.IntN(6*sim.Tile))-3*sim.Tile, y+int32(r.IntN(6*sim.Tile))-3*sim.Tile); err != nil {
				t.Fatal(err)
			}
		}
		for len(up) > 0 && up[0].tick+delay <= tick {
			if _, err := w.Move(p.id, up[0].move); err != nil {
				t.Fatal(err)
			}
			up = up[1:]
		}
		w.Step(sim.Alone)
		frame, err := w.Frame(nil, p.id, &p.view, budget)
		if err != nil {
			t.Fatal(err)
		}
		if down = append(down, frame); len(down) <= delay {
			continue
		}
		if err := p.replica.Frame(down[0], nil); err != nil {
			t.Fatal(err)
		}
		down = down[1:]
		own := &p.replica.Own
		for _, c := range p.replica.Corrections {
			p.epoch, waiting, predicted = c.Epoch, nil, sim.Spot{X: int32(c.X), Y: int32(c.Y)}
			epochs++
		}
		if own.Epoch != p.epoch {
			continue
		}
		for len(waiting) > 0 && waiting[0].move.Sequence <= own.Sequence {
			waiting = waiting[1:]
		}
		predicted = sim.Spot{X: int32(own.X), Y: int32(own.Y)}
		for _, m := range waiting {
			predicted.X, predicted.Y = w.Ground().Walk(predicted.X, predicted.Y, m.move.Direction, step)
		}
		if x, y, _ := w.At(p.id); tick%50 == 49 && (predicted != sim.Spot{X: x, Y: y}) {
			t.Fatalf("tick %d: it stands at %d, %d and thinks %+v", tick, x, y, predicted)
		}
	}
	if epochs != knocks {
		t.Errorf("%d corrections, %d times moved", epochs, knocks)
	}
}

// TestCoarseViewsAreRight: what is shown more seldom is not shown wrongly, while the
// rates change.
func TestCoarseViewsAreRight(t *testing.T) {
	w := world(t, sim.Config{Seed: 13, Monsters: 600})
	r := rand.New(rand.NewPCG(5, 5))
	var players []*player
	for i := range 20 {
		players = append(players, join(t, w, fmt.Sprint("p", i)))
	}
	var bytes [1 + sim.Coarsest]int
	for tick := range 900 {
		level := tick / 100 % (1 + sim.Coarsest)
		w.SetCoarse(level)
		for _, p := range players {
			p.move(t, w, r)
		}
		w.Step(sim.Alone)
		for _, p := range players {
			p.look(t, w)
			p.check(t, w)
			bytes[level] += len(p.frame)
		}
	}
	if !(bytes[0] > bytes[1] && bytes[1] > bytes[2]) {
		t.Errorf("bytes by level: %v", bytes)
	}
}

// TestRestartCountsMovesAnew, and nothing of the connection before is carried out.
func TestRestartCountsMovesAnew(t *testing.T) {
	w := world(t, sim.Config{Seed: 2})
	p := join(t, w, "again")
	move := func(sequence uint32, epoch uint8) sim.Verdict {
		v, err := w.Move(p.id, proto.Move{Epoch: epoch, Sequence: sequence, Direction: 3, Ticks: 1})
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for n := range uint32(5) {
		if v := move(n+1, 0); v != sim.Taken {
			t.Fatalf("move %d: %d", n+1, v)
		}
	}
	x, _, _ := w.At(p.id)
	if err := w.Restart(p.id); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		w.Step(sim.Alone)
	}
	if now, _, _ := w.At(p.id); now != x {
		t.Error("it went on with the moves of the connection before")
	}
	if v := move(6, 0); v != sim.Old {
		t.Errorf("a move of the connection before: %d", v)
	}
	if v := move(1, w.Epoch(p.id)); v != sim.Taken {
		t.Errorf("the first move: %d", v)
	}
	// The count goes through 2^32.
	if v := move(1<<31, w.Epoch(p.id)); v != sim.Taken {
		t.Errorf("move 2^31: %d", v)
	}
	if v := move(1<<32-1, w.Epoch(p.id)); v != sim.Taken {
		t.Errorf("move 2^32 - 1: %d", v)
	}
	if v := move(0, w.Epoch(p.id)); v != sim.Taken {
		t.Errorf("move 2^32: %d", v)
	}
	if v := move(1<<32-1, w.Epoch(p.id)); v != sim.Repeated {
		t.Errorf("move 2^32 - 1 again: %d", v)
	}
}

// TestCase07_PlacesThatAreNone: outside the map, in its walls and its water, at the
// ends of numbers: the player is at a free place near, and walks on from there.
func TestCase07_PlacesThatAreNone(t *testing.T) {
	w := world(t, sim.Config{Seed: 9, Width: 8, Height: 8})
	p := join(t, w, "lost")
	spots := []sim.Spot{
		{X: -1, Y: -1}, {X: math.MinInt32, Y: math.MaxInt32}, {X: math.MaxInt32, Y: math.MinInt32},
		{X: 8 * sim.Cell, Y: 8 * sim.Cell}, {X: 52 * sim.Tile, Y: 55 * sim.Tile}, {}, // outside, a town's wall, the corner
	}
	for ty := range int32(8 * sim.CellSide) { // all that cannot be walked on, in some columns
		for tx := int32(1); tx < 8*sim.CellSide; tx += 17 {
			if !w.Ground().At(int(tx), int(ty)).Walkable() {
				spots = append(spots, sim.Spot{X: tx*sim.Tile + sim.Tile/2, Y: ty*sim.Tile + sim.Tile/2})
			}
		}
	}
	for _, s := range spots {
		if err := w.Place(p.id, s.X, s.Y); err != nil {
			t.Fatalf("%+v: %v", s, err)
		}
		w.Step(sim.Alone)
		p.look(t, w)
		x, y, _ := w.At(p.id)
		for _, corner := range [][2]int32{{-1, -1}, {1, -1}, {-1, 1}, {1, 1}} {
			tx, ty := (x+corner[0]*sim.Reach)/sim.Tile, (y+corner[1]*sim.Reach)/sim.Tile
			if !w.Ground().At(int(tx), int(ty)).Walkable() {
				t.Fatalf("%+v leads to %d, %d, which is not free", s, x, y)
			}
		}
		if w.Ground().At(int(s.X/sim.Tile), int(s.Y/sim.Tile)) != sim.Rock && max(x-s.X, s.X-x, y-s.Y, s.Y-y) > 40*sim.Tile {
			t.Errorf("%+v leads to %d, %d, which is far", s, x, y)
		}
	}
}
