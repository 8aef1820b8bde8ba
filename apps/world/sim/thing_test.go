package sim_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/epinet/epi/apps/world/sim"
)

// crowdOfThings lays so many things anywhere.
func crowdOfThings(t testing.TB, w *sim.World, n int) (all []sim.ID) {
	t.Helper()
	r := rand.New(rand.NewPCG(3, 4))
	side := int32(w.Width() * sim.Cell)
	for range n {
		id, err := w.Put(sim.Chest+uint8(r.IntN(8)), r.Int32N(side), r.Int32N(side))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, id)
	}
	return all
}

// sees reports whether a player's picture has a thing.
func (p *player) sees(id sim.ID) bool { return p.replica.Entities[uint32(id)] != nil }

// Things come and go while players walk, lose their connection, and read too slowly: who
// has a cell as of this tick has the things in it, and no others. The same calls make the
// same world.
func TestThingsAreSeen(t *testing.T) {
	config := sim.Config{Seed: 9, Width: 6, Height: 6, Hz: 20, MaxPlayers: 100, Monsters: 50, FirstTick: 1<<32 - 150}
	w := world(t, config)
	var calls []sim.Call
	w.Record(func(c sim.Call) { calls = append(calls, c) })
	r := rand.New(rand.NewPCG(1, 9))
	var players []*player
	for i := range 10 {
		players = append(players, join(t, w, fmt.Sprint("p", i)))
	}
	var things []sim.ID
	gone := map[sim.ID]bool{}
	for range 600 {
		for range r.IntN(4) {
			id, err := w.Put(sim.Chest+1, r.Int32N(6*sim.Cell), r.Int32N(6*sim.Cell))
			if err != nil {
				t.Fatal(err)
			}
			things = append(things, id)
		}
		for len(things) > 20+r.IntN(40) {
			n := r.IntN(len(things))
			if err := w.Take(things[n]); err != nil {
				t.Fatal(err)
			}
			gone[things[n]] = true
			things = append(things[:n], things[n+1:]...)
		}
		for _, p := range players {
			p.move(t, w, r)
			if r.IntN(300) == 0 {
				p.begin(w)
			}
		}
		w.Step(sim.Alone)
		for _, p := range players {
			if r.IntN(20) == 0 {
				continue // it reads too slowly
			}
			p.look(t, w)
			for id, e := range p.replica.Entities {
				if now := p.replica.Cells[e.Cell] == p.replica.Tick; now && gone[sim.ID(id)] {
					t.Fatalf("tick %d: thing %d is gone and seen", w.Tick(), id)
				}
			}
		}
	}
	for range sim.MaxBase {
		w.Step(sim.Alone)
		for _, p := range players {
			p.look(t, w)
		}
	}
	for _, p := range players {
		for _, id := range things {
			if w.Near(p.id, id, 2*sim.Cell) && !p.sees(id) {
				t.Errorf("thing %d is near %d, and not seen", id, p.id)
			}
		}
	}
	again := world(t, config)
	for _, c := range calls {
		if err := again.Replay(c, parallel(3)); err != nil {
			t.Fatal(err)
		}
	}
	if again.Hash() != w.Hash() {
		t.Error("the same calls made another world")
	}
}

// Numbers of things are not those of entities, nor used again soon; and nobody can strike
// a thing, or take it twice.
func TestNumbersOfThings(t *testing.T) {
	w := world(t, sim.Config{Seed: 9, Width: 2, Height: 2})
	p := join(t, w, "p")
	seen := map[sim.ID]bool{p.id: true}
	for range 10_000 {
		id, err := w.Put(sim.FirstOwn-1, 200, 200)
		if err != nil || seen[id] {
			t.Fatalf("%d again, %v", id, err)
		}
		seen[id] = true
		if blow, err := w.Attack(p.id, id, uint32(w.Tick())); blow != sim.NoTarget || err != nil {
			t.Fatalf("a blow at a thing: %v, %v", blow, err)
		}
		if err := errors.Join(w.Take(id), w.Despawn(id)); !errors.Is(err, sim.ErrKind) || errors.Is(err, sim.ErrThing) {
			t.Fatal(err)
		}
		if err := w.Take(id); !errors.Is(err, sim.ErrThing) {
			t.Fatalf("taken twice: %v", err)
		}
	}
	for _, kind := range []uint8{sim.Player, sim.Slime, sim.Chest - 1, sim.FirstOwn, 255} {
		if _, err := w.Put(kind, 200, 200); !errors.Is(err, sim.ErrKind) {
			t.Errorf("a thing of kind %d: %v", kind, err)
		}
	}
	if n := w.Things(); n != 0 {
		t.Errorf("%d things", n)
	}
}

// A cell that is full takes no more, and its block still fits into a frame.
func TestACellHasRoomForSoManyThings(t *testing.T) {
	w := world(t, sim.Config{Seed: 9})
	p := join(t, w, "p")
	x, y, _ := w.At(p.id)
	var err error
	crowded := 0
	for n := 0; err == nil; n++ {
		if !w.Room(x, y) && crowded == 0 {
			crowded = n
		}
		_, err = w.Put(sim.Chest, x, y)
	}
	if !errors.Is(err, sim.ErrFull) || crowded != sim.Crowded {
		t.Errorf("%v, crowded with %d", err, crowded)
	}
	w.Step(sim.Alone)
	p.look(t, w)
	if n := len(p.frame); n > 1<<20 {
		t.Errorf("a frame of %d bytes", n)
	}
	if len(p.replica.Entities) < sim.Crowded {
		t.Errorf("%d entities are seen", len(p.replica.Entities))
	}
}

// Things that nobody touches cost a tick nothing.
func TestATickAllocatesNothingForThings(t *testing.T) {
	w := world(t, sim.Config{Seed: 1, Width: 64, Height: 64})
	all := crowdOfThings(t, w, 100_000)
	p := join(t, w, "p")
	tick := func() {
		w.Step(sim.Alone)
		p.frame, _ = w.Frame(p.frame[:0], p.id, &p.view, budget)
	}
	for range 100 {
		tick()
	}
	if n := testing.AllocsPerRun(100, tick); n >= 1 {
		t.Errorf("%v allocations a tick", n)
	}
	for _, id := range all {
		if err := w.Take(id); err != nil {
			t.Fatal(err)
		}
	}
}

// Who is felled by a player is told once, and healing has its bounds.
func TestFelledAndHealed(t *testing.T) {
	w := world(t, sim.Config{Seed: 3, Monsters: 40})
	p := join(t, w, "p")
	if err := w.Learn(p.id, 1<<31); err != nil {
		t.Fatal(err)
	}
	for id, at := range w.All() {
		if id == p.id {
			continue
		}
		if err := w.Place(p.id, at.X, at.Y); err != nil {
			t.Fatal(err)
		}
		for range 20 {
			w.Step(sim.Alone)
		}
		if blow, err := w.Attack(p.id, id, uint32(w.Tick())); err != nil || blow != sim.Struck {
			continue
		}
		felled := w.Felled()
		if len(felled) == 0 {
			continue // a ghost, which takes more than one blow
		}
		if len(felled) != 1 || felled[0].By != p.id || felled[0].Kind < sim.Slime || felled[0].Kind > sim.Ghost {
			t.Fatalf("%+v", felled)
		}
		w.Step(sim.Alone)
		if len(w.Felled()) != 0 {
			t.Error("it is told again")
		}
		for health, want := range map[uint8]uint8{30: 80, 90: 100, 100: 100} {
			if err := errors.Join(w.SetHealth(p.id, health), w.Heal(p.id, 50)); err != nil {
				t.Fatal(err)
			}
			if got, _ := w.Life(p.id); got != want {
				t.Errorf("50 more than %d is %d", health, got)
			}
		}
		return
	}
	t.Fatal("nothing was felled")
}

// BenchmarkTickWithThings is a tick of 1,000 players with things that nobody touches.
func BenchmarkTickWithThings(b *testing.B) {
	for _, things := range []int{0, 100_000} {
		b.Run(fmt.Sprintf("things=%d", things), func(b *testing.B) {
			w := world(b, sim.Config{Seed: 1, Width: 64, Height: 64, Monsters: 1000})
			crowdOfThings(b, w, things)
			r := rand.New(rand.NewPCG(1, 1))
			var players []*player
			for i := range 1000 {
				players = append(players, join(b, w, fmt.Sprintf("p%d", i)))
			}
			tick := func() {
				for _, p := range players {
					p.move(b, w, r)
				}
				w.Step(sim.Alone)
				for _, p := range players {
					p.frame, _ = w.Frame(p.frame[:0], p.id, &p.view, budget)
					p.epoch = w.Epoch(p.id)
				}
			}
			for range 40 {
				tick()
			}
			for b.Loop() {
				tick()
			}
		})
	}
}
