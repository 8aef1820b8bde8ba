package times_test

import (
	"slices"
	"testing"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// A task that blocks its loop makes one long turn; an idle loop makes none.
func TestLag_ShowsABlockedLoop(t *testing.T) {
	const blocked = 30 * time.Millisecond
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Serial()
		epitest.Start(t, e, epitest.EchoHandler)
		l, err := e.Loop(0)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Do(func() { time.Sleep(blocked) }); err != nil {
			t.Fatal(err)
		}
		first := slices.IndexFunc(epi.LagBounds[:], func(d time.Duration) bool { return d >= blocked })
		epitest.WaitUntil(t, "the long turn is counted", func() bool {
			lag, long := e.Stats().Lag, uint64(0)
			for _, n := range lag.Turns[first:] {
				long += n
			}
			return long > 0 && lag.Sum >= blocked
		})
	})
}

func TestLagBoundsAscend(t *testing.T) {
	if !slices.IsSorted(epi.LagBounds[:]) {
		t.Errorf("the bounds are %v", epi.LagBounds)
	}
}
