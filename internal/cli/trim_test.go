package cli

import (
	"testing"

	"github.com/epinet/epi"
)

func TestTrimmer(t *testing.T) {
	var memory trimmer
	for i, look := range []struct {
		accepted, closed uint64
		due              bool
	}{
		{0, 0, false},                       // nothing has happened
		{trimWave - 1, 0, false},            // they come
		{trimWave - 1, 0, false},            // quiet, and too few
		{trimWave, 0, false},                // one more comes
		{trimWave, 0, true},                 // quiet
		{trimWave, 0, false},                // it is done
		{trimWave, trimWave / 2, false},     // they go
		{2 * trimWave, trimWave / 2, false}, // others come
		{2 * trimWave, trimWave / 2, true},
		{2 * trimWave, 2 * trimWave, false}, // all are gone
		{2 * trimWave, 2 * trimWave, true},
		{2 * trimWave, 2 * trimWave, false},
	} {
		if due := memory.due(epi.Stats{LoopStats: epi.LoopStats{Accepted: look.accepted, Closed: look.closed}}); due != look.due {
			t.Errorf("look %d: due is %v", i, due)
		}
	}
}
