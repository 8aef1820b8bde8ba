package sim_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/epinet/epi/apps/world/proto"
	"github.com/epinet/epi/apps/world/replica"
	"github.com/epinet/epi/apps/world/sim"
)

func world(t testing.TB, c sim.Config) *sim.World {
	t.Helper()
	if c.Width == 0 {
		c.Width, c.Height = 16, 16
	}
	if c.Hz == 0 {
		c.Hz = 20
	}
	if c.MaxPlayers == 0 {
		c.MaxPlayers = 20_000
	}
	w, err := sim.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// A player plays as a client would, and sees the world by frames alone.
type player struct {
	id       sim.ID
	view     sim.View
	replica  replica.Replica
	sequence uint32
	epoch    uint8
	going    uint8
	frame    []byte
}

func join(t testing.TB, w *sim.World, name string) *player {
	t.Helper()
	id, err := w.Join(name)
	if err != nil {
		t.Fatal(err)
	}
	p := &player{id: id}
	p.begin(w)
	return p
}

func (p *player) begin(w *sim.World) {
	welcome := proto.Welcome{Self: uint32(p.id), Tick: uint32(w.Tick()), Width: uint8(w.Width())}
	for _, s := range w.Steps() {
		welcome.Steps = append(welcome.Steps, proto.Step{Straight: uint8(s.Straight), Diagonal: uint8(s.Diagonal)})
	}
	p.replica.Begin(&welcome)
	p.view.Reset()
}

// move sends what people do: they keep a direction for a while.
func (p *player) move(t testing.TB, w *sim.World, r *rand.Rand) {
	t.Helper()
	if r.IntN(10) == 0 {
		p.going = uint8(r.IntN(9))
	}
	if p.going == 0 {
		return
	}
	p.sequence++
	if _, err := w.Move(p.id, proto.Move{Epoch: p.epoch, Sequence: p.sequence, Direction: p.going, Ticks: 1}); err != nil {
		t.Fatal(err)
	}
}

const budget = 16 << 10

func (p *player) look(t testing.TB, w *sim.World) {
	t.Helper()
	var err error
	if p.frame, err = w.Frame(p.frame[:0], p.id, &p.view, budget); err != nil {
		t.Fatal(err)
	}
	if err := p.replica.Frame(p.frame, nil); err != nil {
		t.Fatalf("%v\nframe %x", err, p.frame)
	}
	for _, c := range p.replica.Corrections {
		p.epoch = c.Epoch
	}
}

// check compares what the player sees with what is there. Cells whose last block is
// of this tick must be right to the unit; everything within the circle is seen; and
// nothing is seen that is far away.
func (p *player) check(t testing.TB, w *sim.World) {
	t.Helper()
	const circle = sim.Cell // all that is so near is in the inner ring
	ox, oy, _ := w.At(p.id)
	for id, at := range w.All() {
		x, y := at.X, at.Y
		dx, dy := int64(x-ox), int64(y-oy)
		e := p.replica.Entities[uint32(id)]
		if dx*dx+dy*dy <= circle*circle {
			if e == nil {
				t.Fatalf("tick %d: entity %d is %d, %d away and not seen by %d", w.Tick(), id, dx, dy, p.id)
			}
			if px, py := p.replica.At(e); px != x || py != y {
				t.Fatalf("tick %d: entity %d is at %d, %d and seen at %d, %d (block of tick %d, direction %d, speed %d)",
					w.Tick(), id, x, y, px, py, e.Tick, e.Direction, e.Speed)
			}
		}
		if e != nil {
			cx, cy := int32(e.Cell)%16-ox/sim.Cell, int32(e.Cell)/16-oy/sim.Cell
			if w.Width() == 16 && max(cx, -cx, cy, -cy) >= 5 {
				t.Fatalf("tick %d: entity %d is seen by %d in cell %d, which is too far", w.Tick(), id, p.id, e.Cell)
			}
		}
	}
	for id, e := range p.replica.Entities {
		if _, _, ok := w.At(sim.ID(id)); !ok && p.replica.Cells[e.Cell] == p.replica.Tick {
			t.Fatalf("tick %d: entity %d is gone and seen by %d", w.Tick(), id, p.id)
		}
	}
}

// TestViewsAreRight: players walk, come, go, and are moved; each sees what is there.
func TestViewsAreRight(t *testing.T) {
	for seed := range uint64(3) {
		w := world(t, sim.Config{Seed: uint32(seed), Monsters: 600, FirstTick: 1<<32 - 150})
		r := rand.New(rand.NewPCG(seed, 1))
		var players []*player
		for i := range 30 {
			players = append(players, join(t, w, fmt.Sprintf("p%d", i)))
		}
		for range 400 {
			for i, p := range players {
				p.move(t, w, r)
				switch r.IntN(400) {
				case 0:
					if err := w.Leave(p.id); err != nil {
						t.Fatal(err)
					}
					players[i] = join(t, w, fmt.Sprintf("p%d", r.Int()))
				case 1:
					if err := w.Place(p.id, int32(r.IntN(16*sim.Cell)), int32(r.IntN(16*sim.Cell))); err != nil {
						t.Fatal(err)
					}
				case 2:
					p.begin(w) // a new connection
				}
			}
			w.Step(sim.Alone)
			for _, p := range players {
				if r.IntN(50) == 0 {
					continue // it reads too slowly
				}
				p.look(t, w)
				p.check(t, w)
			}
		}
	}
}

// parallel is a number of goroutines.
func parallel(n int) sim.Workers {
	return func(parts int, do func(int)) {
		var all sync.WaitGroup
		for g := range n {
			all.Go(func() {
				for part := g; part < parts; part += n {
					do(part)
				}
			})
		}
		all.Wait()
	}
}

// TestReplayGivesTheSameHashes: on any number of workers.
func TestReplayGivesTheSameHashes(t *testing.T) {
	config := sim.Config{Seed: 5, Monsters: 3000}
	w := world(t, config)
	var calls []sim.Call
	w.Record(func(c sim.Call) { calls = append(calls, c) })
	r := rand.New(rand.NewPCG(1, 1))
	var players []*player
	var hashes []uint64
	for tick := range 500 {
		if tick%10 == 0 {
			players = append(players, join(t, w, fmt.Sprint(tick)))
		}
		for i, p := range players {
			p.move(t, w, r)
			if r.IntN(300) == 0 {
				_ = w.Say(p.id, "hello")
				_ = w.Place(p.id, int32(r.IntN(10_000)), int32(r.IntN(10_000)))
			}
			if r.IntN(1000) == 0 {
				_ = w.Leave(p.id)
				players[i] = join(t, w, fmt.Sprint("again", tick))
			}
		}
		w.Step(sim.Alone)
		if w.Tick()%100 == 0 {
			hashes = append(hashes, w.Hash())
		}
	}
	for _, workers := range []int{1, 2, 7} {
		again := world(t, config)
		n := 0
		for _, c := range calls {
			if err := again.Replay(c, parallel(workers)); err != nil {
				t.Fatal(err)
			}
			if c.Kind == sim.CallStep && again.Tick()%100 == 0 {
				if again.Hash() != hashes[n] {
					t.Fatalf("%d workers: tick %d has another hash", workers, again.Tick())
				}
				n++
			}
		}
	}
}

func TestATickAllocatesNothing(t *testing.T) {
	w := world(t, sim.Config{Seed: 1, Monsters: 2000})
	r := rand.New(rand.NewPCG(1, 1))
	var players []*player
	for i := range 100 {
		players = append(players, join(t, w, fmt.Sprint(i)))
	}
	tick := func() {
		for _, p := range players {
			p.move(t, w, r)
		}
		w.Step(sim.Alone)
		for _, p := range players {
			p.frame, _ = w.Frame(p.frame[:0], p.id, &p.view, budget)
		}
	}
	for range 400 {
		tick() // everything has grown to its size
	}
	if n := testing.AllocsPerRun(200, tick); n >= 1 {
		t.Errorf("%v allocations a tick", n)
	}
}

// TestCase08_TicksAreCredit: more moves than time, repeated and huge ones.
func TestCase08_TicksAreCredit(t *testing.T) {
	w := world(t, sim.Config{Seed: 2})
	p := join(t, w, "cheat")
	x0, _, _ := w.At(p.id)
	move := func(sequence uint32, ticks, epoch uint8) sim.Verdict {
		v, err := w.Move(p.id, proto.Move{Epoch: epoch, Sequence: sequence, Direction: 3, Ticks: ticks})
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, step := range []struct {
		sequence uint32
		ticks    uint8
		epoch    uint8
		want     sim.Verdict
	}{{1, 5, 0, sim.Taken}, {1, 5, 0, sim.Repeated}, {2, 5, 0, sim.Taken}, {3, 1, 0, sim.Refused}, {4, 1, 0, sim.Old}, {4, 10, 1, sim.Taken}, {5, 255, 1, sim.Refused}} {
		if got := move(step.sequence, step.ticks, step.epoch); got != step.want {
			t.Errorf("move %+v: %d", step, got)
		}
	}
	w.Step(sim.Alone)
	p.look(t, w)
	if len(p.replica.Corrections) != 1 || p.replica.Own.Epoch != 2 || p.replica.Own.Sequence != 5 {
		t.Errorf("the client gets %+v, %+v", p.replica.Corrections, p.replica.Own)
	}
	for n := range uint32(40) {
		move(6+n, 1, 2)
		w.Step(sim.Alone)
	}
	x, _, _ := w.At(p.id)
	if most := 41 * w.Steps()[0].Straight; x-x0 > most {
		t.Errorf("it went %d in 41 ticks, where %d is possible", x-x0, most)
	}
}

// TestCase09_BacklogAfterSilence: ten seconds of moves at once are half a second.
func TestCase09_BacklogAfterSilence(t *testing.T) {
	w := world(t, sim.Config{Seed: 2})
	p := join(t, w, "back")
	taken := 0
	for n := range uint32(200) {
		if v, _ := w.Move(p.id, proto.Move{Sequence: n + 1, Direction: 1, Ticks: 1}); v == sim.Taken {
			taken++
		}
	}
	if taken != 10 {
		t.Errorf("%d ticks were taken", taken)
	}
}

// TestCase14_SlotsUsedAgain: what comes and goes within ticks is never taken for
// something else.
func TestCase14_SlotsUsedAgain(t *testing.T) {
	w := world(t, sim.Config{Seed: 3, Width: 4, Height: 4})
	watcher := join(t, w, "watcher")
	seen := map[sim.ID]bool{}
	for n := range 10_000 {
		guest := join(t, w, fmt.Sprint("guest", n))
		if seen[guest.id] {
			t.Fatalf("the number %d is used again after %d others", guest.id, n)
		}
		if n < 4000 {
			seen[guest.id] = true
		}
		if n%3 == 0 {
			w.Step(sim.Alone)
			watcher.look(t, w)
			watcher.check(t, w)
		}
		if err := w.Leave(guest.id); err != nil {
			t.Fatal(err)
		}
		w.Step(sim.Alone)
		watcher.look(t, w)
		watcher.check(t, w)
	}
}

// TestCase15_IdleOnesGo: a player that goes among others that do nothing is gone.
func TestCase15_IdleOnesGo(t *testing.T) {
	w := world(t, sim.Config{Seed: 3, Width: 4, Height: 4})
	watcher, idle := join(t, w, "watcher"), join(t, w, "idle")
	for range 20 {
		w.Step(sim.Alone)
		watcher.look(t, w)
	}
	if err := w.Leave(idle.id); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		w.Step(sim.Alone)
		watcher.look(t, w)
	}
	if _, ok := watcher.replica.Entities[uint32(idle.id)]; ok {
		t.Error("the player that is gone is seen")
	}
}

// TestCase18_TicksBeginAgain: the numbers on the wire go through 2^31 and 2^32.
func TestCase18_TicksBeginAgain(t *testing.T) {
	for _, first := range []uint64{1<<31 - 100, 1<<32 - 100} {
		w := world(t, sim.Config{Seed: 4, Width: 4, Height: 4, Monsters: 50, FirstTick: first})
		p := join(t, w, "p")
		r := rand.New(rand.NewPCG(2, 2))
		for range 200 {
			p.move(t, w, r)
			w.Step(sim.Alone)
			p.look(t, w)
			p.check(t, w)
		}
	}
}

// TestCase19_ManyAreRevealed: two thousand in one cell come within the budget, and
// whole.
func TestCase19_ManyAreRevealed(t *testing.T) {
	w := world(t, sim.Config{Seed: 6})
	for i := range 2000 {
		p := join(t, w, fmt.Sprintf("crowd%d", i))
		if err := w.Place(p.id, 64*sim.Tile, 64*sim.Tile); err != nil {
			t.Fatal(err)
		}
	}
	far := join(t, w, "far")
	if err := w.Place(far.id, 200*sim.Tile, 200*sim.Tile); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		w.Step(sim.Alone)
		far.look(t, w)
	}
	if err := w.Place(far.id, 64*sim.Tile, 64*sim.Tile); err != nil {
		t.Fatal(err)
	}
	for range 20 { // a second
		w.Step(sim.Alone)
		far.look(t, w)
	}
	far.check(t, w)
	if n := len(far.replica.Entities); n < 2000 {
		t.Errorf("%d are seen", n)
	}
}

// TestCase16_FirstFrameIsComplete: who joins sees at once what is near, also what has
// changed while nobody was there.
func TestCase16_FirstFrameIsComplete(t *testing.T) {
	w := world(t, sim.Config{Seed: 8, Monsters: 2000})
	for range 50 {
		w.Step(sim.Alone)
	}
	for range 10 {
		p := join(t, w, "again")
		w.Step(sim.Alone)
		p.look(t, w)
		p.check(t, w)
		if err := w.Leave(p.id); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTalkIsHeardNear and nowhere else.
func TestTalkIsHeardNear(t *testing.T) {
	w := world(t, sim.Config{Seed: 8})
	speaker, near, away := join(t, w, "speaker"), join(t, w, "near"), join(t, w, "away")
	for p, at := range map[*player][2]int32{speaker: {64, 64}, near: {70, 70}, away: {200, 64}} {
		if err := w.Place(p.id, at[0]*sim.Tile, at[1]*sim.Tile); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Say(speaker.id, "hello"); err != nil {
		t.Fatal(err)
	}
	w.Step(sim.Alone)
	for p, want := range map[*player]int{speaker: 1, near: 1, away: 0} {
		p.look(t, w)
		if n := len(p.replica.Talk); n != want {
			t.Errorf("%d receives %d", p.id, n)
		}
	}
	w.Step(sim.Alone)
	if near.look(t, w); len(near.replica.Talk) != 0 {
		t.Error("it is heard twice")
	}
}

func TestWallsHold(t *testing.T) {
	w := world(t, sim.Config{Seed: 9, Monsters: 3000})
	for range 400 {
		w.Step(sim.Alone)
	}
	for id, at := range w.All() {
		x, y := at.X, at.Y
		for _, d := range [][2]int32{{-sim.Reach, -sim.Reach}, {sim.Reach, sim.Reach}, {-sim.Reach, sim.Reach}, {sim.Reach, -sim.Reach}} {
			if g := w.Ground().At(int(x+d[0])/sim.Tile, int(y+d[1])/sim.Tile); !g.Walkable() {
				t.Fatalf("entity %d is at %d, %d, with a corner on ground %d", id, x, y, g)
			}
		}
	}
}
