package sim_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/epinet/epi/apps/world/sim"
)

// BenchmarkTick is a tick with the frames of all players, without network: 30 % of
// them move. Evenly: about 50 are seen by each in the 5 x 5 cells; towns: they are
// in towns; crowd: all are in one view, and move.
func BenchmarkTick(b *testing.B) {
	for _, c := range []struct {
		players, side int
		where         string
		moving        int // per cent
	}{
		{1000, 22, "evenly", 30}, {4000, 44, "evenly", 30}, {10_000, 64, "evenly", 30},
		{1000, 32, "towns", 30}, {4000, 64, "towns", 30},
		{250, 16, "crowd", 100}, {1000, 16, "crowd", 100}, {2000, 16, "crowd", 100},
	} {
		b.Run(fmt.Sprintf("%s/players=%d", c.where, c.players), func(b *testing.B) {
			w := world(b, sim.Config{Seed: 1, Width: c.side, Height: c.side, Monsters: 1000})
			r := rand.New(rand.NewPCG(1, 1))
			var players []*player
			for i := range c.players {
				p := join(b, w, fmt.Sprintf("p%d", i))
				x, y := int32(r.IntN(c.side*sim.Cell)), int32(r.IntN(c.side*sim.Cell))
				switch c.where {
				case "crowd":
					x, y = (60+int32(r.IntN(8)))*sim.Tile, (60+int32(r.IntN(8)))*sim.Tile
				case "towns":
					x, y, _ = w.At(p.id)
				}
				if err := w.Place(p.id, x, y); err != nil {
					b.Fatal(err)
				}
				players = append(players, p)
			}
			bytes, turn := 0, 0
			tick := func() {
				for i, p := range players {
					if (i*7919+turn/20)%100 < c.moving {
						if r.IntN(10) == 0 {
							p.going = uint8(1 + r.IntN(8))
						}
						p.move(b, w, r)
					}
				}
				turn++
				w.Step(sim.Alone)
				for _, p := range players {
					p.frame, _ = w.Frame(p.frame[:0], p.id, &p.view, budget)
					bytes += len(p.frame)
					p.epoch = w.Epoch(p.id)
				}
			}
			for range 40 {
				tick()
			}
			bytes = 0
			b.ResetTimer()
			for range b.N {
				tick()
			}
			b.ReportMetric(float64(bytes)/float64(b.N)/float64(c.players), "B/player")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(c.players), "ns/player")
		})
	}
}
