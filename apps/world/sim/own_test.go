package sim_test

import (
	"errors"
	"testing"

	"github.com/epinet/epi/apps/world/sim"
)

// TestEntitiesOfAGame come, go where they are told, are seen so, and go; a replay makes
// them again.
func TestEntitiesOfAGame(t *testing.T) {
	config := sim.Config{Seed: 4, Speeds: [sim.MaxSpeeds]uint8{40}}
	w := world(t, config)
	var calls []sim.Call
	w.Record(func(c sim.Call) { calls = append(calls, c) })
	middle := w.Ground().Towns()[0]
	p := join(t, w, "watcher")
	if err := w.Place(p.id, middle.X, middle.Y); err != nil {
		t.Fatal(err)
	}
	ball, err := w.Spawn(sim.FirstOwn, "ball", middle.X, middle.Y)
	if err != nil {
		t.Fatal(err)
	}
	step(t, w, 2, p)
	if e := p.replica.Entities[uint32(ball)]; e == nil || e.Kind != sim.FirstOwn || e.Name != "ball" {
		t.Fatalf("it is seen as %+v", e)
	}
	if err := w.Go(ball, 3, sim.SpeedOwn); err != nil {
		t.Fatal(err)
	}
	step(t, w, 5, p)
	if x, _, _ := w.At(ball); x != middle.X+5*w.Steps()[sim.SpeedOwn].Straight {
		t.Errorf("after 5 ticks it is %d away", x-middle.X)
	}
	want(t, "on a ball", attack(t, w, p, ball, w.Tick()), sim.NoTarget)
	for _, err := range []error{w.Go(p.id, 1, sim.SpeedOwn), w.Go(0, 1, sim.SpeedOwn), w.Despawn(p.id)} {
		if !errors.Is(err, sim.ErrKind) {
			t.Error(err)
		}
	}
	if w.Go(ball, 9, sim.SpeedOwn) == nil || w.Go(ball, 1, 200) == nil || w.Go(ball, 1, uint8(len(w.Steps())-1)) == nil {
		t.Error("a direction or a speed that there is not")
	}
	if _, err := w.Spawn(sim.Wolf, "", 0, 0); !errors.Is(err, sim.ErrKind) {
		t.Error(err)
	}
	if err := w.Despawn(ball); err != nil {
		t.Fatal(err)
	}
	step(t, w, 1, p)
	if p.replica.Entities[uint32(ball)] != nil {
		t.Error("it is still seen")
	}
	again := world(t, config)
	for _, c := range calls {
		if err := again.Replay(c, parallel(2)); err != nil {
			t.Fatal(err)
		}
	}
	if again.Hash() != w.Hash() {
		t.Error("a replay makes another world")
	}
}
