package sim_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/epinet/epi/apps/world/proto"
	"github.com/epinet/epi/apps/world/sim"
)

// meadow returns the upper left of a square of grass, whose side is so many tiles.
func meadow(t testing.TB, w *sim.World, side int) (x, y int32) {
	t.Helper()
	open := func(tx, ty int) bool {
		for dy := range side {
			for dx := range side {
				if w.Ground().At(tx+dx, ty+dy) != sim.Grass {
					return false
				}
			}
		}
		return true
	}
	for ty := range w.Width() * sim.CellSide {
		for tx := range w.Width() * sim.CellSide {
			if open(tx, ty) {
				return int32(tx) * sim.Tile, int32(ty) * sim.Tile
			}
		}
	}
	t.Fatalf("there is no meadow of %d tiles", side)
	return 0, 0
}

// put joins a player at a place that must be free.
func put(t testing.TB, w *sim.World, name string, x, y int32) *player {
	t.Helper()
	p := join(t, w, name)
	move(t, w, p, x, y)
	return p
}

func move(t testing.TB, w *sim.World, p *player, x, y int32) {
	t.Helper()
	if err := w.Place(p.id, x, y); err != nil {
		t.Fatal(err)
	}
	if px, py, _ := w.At(p.id); px != x || py != y {
		t.Fatalf("%d, %d is not free: it is at %d, %d", x, y, px, py)
	}
}

func attack(t testing.TB, w *sim.World, p *player, target sim.ID, seen uint64) sim.Blow {
	t.Helper()
	blow, err := w.Attack(p.id, target, uint32(seen))
	if err != nil {
		t.Fatal(err)
	}
	return blow
}

func want(t testing.TB, what string, got, blow sim.Blow) {
	t.Helper()
	if got != blow {
		t.Errorf("%s: %d, not %d", what, got, blow)
	}
}

// step goes on, and everybody looks.
func step(t testing.TB, w *sim.World, n int, players ...*player) {
	t.Helper()
	for range n {
		w.Step(sim.Alone)
		for _, p := range players {
			p.look(t, w)
			p.check(t, w)
		}
	}
}

// hits are those in the last frame of a player.
func hits(t testing.TB, p *player) (all []proto.Hit) {
	t.Helper()
	var messages proto.ServerMessages
	for rest := p.frame; len(rest) > 0; {
		m, after, err := messages.Next(rest)
		if err != nil {
			t.Fatal(err)
		}
		if hit, ok := m.(*proto.Hit); ok {
			all = append(all, *hit)
		}
		rest = after
	}
	return all
}

// TestCase10_BlowsThatDoNotReach: on one that is a thousand tiles away, a thousand in
// a tick, on nobody, on oneself, through a wall, and in a town.
func TestCase10_BlowsThatDoNotReach(t *testing.T) {
	w := world(t, sim.Config{Seed: 4, Width: 64, Height: 64})
	x, y := meadow(t, w, 6)
	a, b := put(t, w, "anna", x+sim.Tile, y+sim.Tile), put(t, w, "bert", x+2*sim.Tile, y+sim.Tile)
	far := join(t, w, "far")
	if err := w.Place(far.id, 1000*sim.Tile, y); err != nil {
		t.Fatal(err)
	}
	step(t, w, 2, a, b)
	want(t, "a thousand tiles", attack(t, w, a, far.id, w.Tick()), sim.TooFar)
	want(t, "oneself", attack(t, w, a, a.id, w.Tick()), sim.NoTarget)
	want(t, "nobody", attack(t, w, a, b.id+1<<20, w.Tick()), sim.NoTarget)
	want(t, "number 0", attack(t, w, a, 0, w.Tick()), sim.NoTarget)
	if _, err := w.Attack(far.id+1<<20, b.id, 0); err == nil {
		t.Error("nobody may strike")
	}
	count := map[sim.Blow]int{}
	for range 1000 {
		count[attack(t, w, a, b.id, w.Tick())]++
	}
	if count[sim.Struck] != 1 || count[sim.NotReady] != 999 {
		t.Errorf("of a thousand blows in a tick: %v", count)
	}
	step(t, w, 1, a, b)
	for _, p := range []*player{a, b} {
		if h := hits(t, p); len(h) != 1 || h[0].By != uint32(a.id) || h[0].Target != uint32(b.id) || h[0].Health != 100-h[0].Damage || h[0].Damage == 0 {
			t.Errorf("seen: %+v", h)
		}
	}
	if own := b.replica.Own.Health; own != b.replica.Entities[uint32(b.id)].Health || own == 100 {
		t.Errorf("its health is %d, and %d", own, b.replica.Entities[uint32(b.id)].Health)
	}

	// A town: on its floor there is peace, and its wall hides.
	const inside, outside = 53*sim.Tile + sim.Tile/2, 51*sim.Tile + sim.Tile/2
	north := int32(57*sim.Tile + sim.Tile/2)
	move(t, w, b, inside, north)
	move(t, w, a, inside+sim.Tile, north)
	step(t, w, 20, a, b)
	want(t, "in a town", attack(t, w, a, b.id, w.Tick()), sim.Peace)
	for town := range int32(8) {
		if err := w.Place(b.id, outside+town*128*sim.Tile, north); err != nil {
			t.Fatal(err)
		}
		if bx, by, _ := w.At(b.id); bx == outside+town*128*sim.Tile && by == north {
			move(t, w, a, inside+town*128*sim.Tile, north)
			step(t, w, 1, a, b)
			want(t, "through a wall", attack(t, w, a, b.id, w.Tick()), sim.Hidden)
			return
		}
	}
	t.Error("at no town there is a free place outside the wall")
}

// TestCase10_CooldownIsTicks: who strikes must wait for half a second.
func TestCase10_CooldownIsTicks(t *testing.T) {
	w := world(t, sim.Config{Seed: 4})
	x, y := meadow(t, w, 4)
	a, b := put(t, w, "anna", x+sim.Tile, y+sim.Tile), put(t, w, "bert", x+2*sim.Tile, y+sim.Tile)
	struck := 0
	for range 25 {
		w.Step(sim.Alone)
		if attack(t, w, a, b.id, w.Tick()) == sim.Struck {
			struck++
		}
	}
	if struck != 3 {
		t.Errorf("%d blows in 25 ticks", struck)
	}
}

// TestBlowsReachWhatWasSeen: where the target was up to 200 ms ago, and no longer ago.
func TestBlowsReachWhatWasSeen(t *testing.T) {
	for _, c := range []struct {
		ago  uint64
		blow sim.Blow
	}{{0, sim.TooFar}, {1, sim.TooFar}, {4, sim.Struck}, {5, sim.Struck}, {1 << 31, sim.TooFar}} {
		w := world(t, sim.Config{Seed: 4, FirstTick: 1<<32 - 3})
		x, y := meadow(t, w, 8)
		a, b := put(t, w, "anna", x+sim.Tile, y+sim.Tile), put(t, w, "bert", x+3*sim.Tile+sim.Tile/2, y+sim.Tile)
		step(t, w, 10, a, b)
		walked := 0
		for bx, _, _ := w.At(b.id); bx-x-sim.Tile <= 3*sim.Tile+2*14; bx, _, _ = w.At(b.id) { // until it is out of reach for three ticks
			b.sequence++
			if _, err := w.Move(b.id, proto.Move{Epoch: b.epoch, Sequence: b.sequence, Direction: 3, Ticks: 1}); err != nil {
				t.Fatal(err)
			}
			step(t, w, 1, a, b)
			if walked++; walked > 30 {
				t.Fatal("it does not walk")
			}
		}
		want(t, fmt.Sprint("seen ", c.ago, " ticks ago"), attack(t, w, a, b.id, w.Tick()-c.ago), c.blow)
	}
}

// TestCase22_BlowAtWhoIsElsewhere: the target is brought away by the world. The blow
// at where it was does not reach it, and those near and far see the same.
func TestCase22_BlowAtWhoIsElsewhere(t *testing.T) {
	w := world(t, sim.Config{Seed: 4})
	x, y := meadow(t, w, 4)
	a, b := put(t, w, "anna", x+sim.Tile, y+sim.Tile), put(t, w, "bert", x+2*sim.Tile, y+sim.Tile)
	step(t, w, 10, a, b)
	seen := w.Tick()
	if err := w.Place(b.id, 200*sim.Tile, 200*sim.Tile); err != nil {
		t.Fatal(err)
	}
	want(t, "at once", attack(t, w, a, b.id, seen), sim.TooFar)
	step(t, w, 1, a, b)
	want(t, "a tick later", attack(t, w, a, b.id, seen), sim.TooFar)
	step(t, w, 1, a, b)
	if n := len(hits(t, a)) + len(hits(t, b)); n != 0 {
		t.Errorf("%d blows were seen", n)
	}
}

// TestDeathAndReturn: a player falls, lies, cannot move nor strike nor be struck, and
// returns in a town, whole.
func TestDeathAndReturn(t *testing.T) {
	w := world(t, sim.Config{Seed: 4})
	x, y := meadow(t, w, 4)
	a, b := put(t, w, "anna", x+sim.Tile, y+sim.Tile), put(t, w, "bert", x+2*sim.Tile, y+sim.Tile)
	for n := 0; ; n++ {
		step(t, w, 1, a, b)
		if b.replica.Own.Health == 0 {
			break
		}
		if n > 1000 {
			t.Fatal("it does not fall")
		}
		attack(t, w, a, b.id, w.Tick())
	}
	if h := hits(t, a); len(h) != 1 || h[0].Health != 0 {
		t.Errorf("the last blow: %+v", h)
	}
	want(t, "on one that lies", attack(t, w, a, b.id, w.Tick()), sim.NoTarget)
	want(t, "of one that lies", attack(t, w, b, a.id, w.Tick()), sim.NotReady)
	v, err := w.Move(b.id, proto.Move{Epoch: w.Epoch(b.id), Sequence: b.sequence + 1, Direction: 3, Ticks: 1})
	if v != sim.Old || err != nil {
		t.Errorf("it moves: %d, %v", v, err)
	}
	step(t, w, 70, a, b)
	bx, by, _ := w.At(b.id)
	if g := w.Ground().At(int(bx/sim.Tile), int(by/sim.Tile)); b.replica.Own.Health != 100 || g != sim.Floor {
		t.Errorf("it has %d health, on ground %d", b.replica.Own.Health, g)
	}
}

// TestMonstersDieAndComeAgain, at home; who kills learns.
func TestMonstersDieAndComeAgain(t *testing.T) {
	w := world(t, sim.Config{Seed: 4, Monsters: 40})
	a := join(t, w, "anna")
	var beast sim.ID
	for id := range w.All() {
		if id != a.id {
			beast = id
			break
		}
	}
	entities := w.Entities()
	for n := 0; w.Entities() == entities; n++ {
		if n > 5000 {
			t.Fatal("it does not die")
		}
		bx, by, ok := w.At(beast)
		if !ok {
			break
		}
		if err := w.Place(a.id, bx, by); err != nil {
			t.Fatal(err)
		}
		attack(t, w, a, beast, w.Tick())
		step(t, w, 1, a)
	}
	if w.Level(a.id) < 1 || w.Entities() != entities-1 {
		t.Errorf("level %d, %d entities of %d", w.Level(a.id), w.Entities(), entities)
	}
	step(t, w, 21*20, a)
	if _, _, ok := w.At(beast); ok || w.Entities() != entities {
		t.Errorf("after its time there are %d entities of %d", w.Entities(), entities)
	}
}

// TestCase05_ExperienceEnds: it stays at the most there is.
func TestCase05_ExperienceEnds(t *testing.T) {
	w := world(t, sim.Config{Seed: 4})
	p := join(t, w, "old")
	var messages proto.ServerMessages
	var last proto.Standing
	for _, give := range []uint32{0, 49, 1, math.MaxUint32 - 51, 1, 1, math.MaxUint32, 1} {
		if err := w.Learn(p.id, give); err != nil {
			t.Fatal(err)
		}
		m, _, err := messages.Next(w.Standing(nil, p.id))
		now, ok := m.(*proto.Standing)
		if !ok || err != nil || now.Experience < last.Experience || now.Level < last.Level || now.Level != w.Level(p.id) {
			t.Fatalf("%d more: %+v after %+v, %v", give, m, last, err)
		}
		last = *now
	}
	if last.Experience != math.MaxUint32 || last.Level != sim.MaxLevel || last.Next != 0 {
		t.Errorf("%+v", last)
	}
}

// brawl lets players walk and strike who is near, by what they see.
func brawl(t testing.TB, w *sim.World, players []*player, r *rand.Rand) {
	t.Helper()
	for _, p := range players {
		p.move(t, w, r)
		near := make([]uint32, 0, 64)
		for id := range p.replica.Entities {
			near = append(near, id)
		}
		if slices.Sort(near); len(near) > 0 {
			attack(t, w, p, sim.ID(near[r.IntN(len(near))]), w.Tick()-uint64(r.IntN(6)))
		}
	}
}

// TestFightsReplay: a brawl has the same hashes on any number of workers, and all see
// what is there while it goes on.
func TestFightsReplay(t *testing.T) {
	config := sim.Config{Seed: 6, Width: 4, Height: 4, Monsters: 500}
	w := world(t, config)
	var calls []sim.Call
	w.Record(func(c sim.Call) { calls = append(calls, c) })
	r := rand.New(rand.NewPCG(8, 8))
	var players []*player
	for i := range 12 {
		players = append(players, join(t, w, fmt.Sprint("p", i)))
		if err := w.Place(players[i].id, 10*sim.Tile, 10*sim.Tile); err != nil {
			t.Fatal(err)
		}
	}
	struck := 0
	for range 120 {
		brawl(t, w, players, r)
		step(t, w, 1, players...)
		struck += len(hits(t, players[0]))
	}
	if struck == 0 {
		t.Error("nobody has struck")
	}
	for _, workers := range []int{1, 2, 7} {
		again := world(t, config)
		for _, c := range calls {
			if err := again.Replay(c, parallel(workers)); err != nil {
				t.Fatal(err)
			}
		}
		if again.Hash() != w.Hash() {
			t.Errorf("%d workers: another world", workers)
		}
	}
}

// TestFightsAllocateNothing.
func TestFightsAllocateNothing(t *testing.T) {
	w := world(t, sim.Config{Seed: 6, Monsters: 2000})
	x, y := meadow(t, w, 4)
	a, b := put(t, w, "anna", x+sim.Tile, y+sim.Tile), put(t, w, "bert", x+2*sim.Tile, y+sim.Tile)
	tick := func() {
		for _, p := range [][2]*player{{a, b}, {b, a}} {
			if blow, _ := w.Attack(p[0].id, p[1].id, uint32(w.Tick())); blow == sim.Peace || blow == sim.TooFar {
				_ = w.Place(p[0].id, x+sim.Tile, y+sim.Tile)
				_ = w.Place(p[1].id, x+2*sim.Tile, y+sim.Tile)
			}
		}
		w.Step(sim.Alone)
		for _, p := range []*player{a, b} {
			p.frame, _ = w.Frame(p.frame[:0], p.id, &p.view, budget)
		}
	}
	for range 300 {
		tick()
	}
	if n := testing.AllocsPerRun(200, tick); n >= 1 {
		t.Errorf("%v allocations a tick", n)
	}
}
