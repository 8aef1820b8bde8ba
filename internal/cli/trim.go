package cli

import (
	"time"

	"github.com/epinet/epi"
)

const (
	// trimPause is how long nobody must have come or gone before memory is given
	// back to the system.
	trimPause = time.Second
	// trimWave is the number of comings and goings that make it worth while.
	trimWave = 1000
)

// A trimmer says when to give memory back. To open a connection takes more than
// to have one, above all a handshake or an upgrade: after a wave of them the heap
// is mostly garbage, which an idle server would keep for minutes.
type trimmer struct {
	last    uint64 // comings and goings at the last look
	trimmed uint64 // those at which memory was given back
}

// due is asked every trimPause.
func (t *trimmer) due(s epi.Stats) bool {
	now := s.Accepted + s.Closed
	quiet := now == t.last
	t.last = now
	if !quiet || now-t.trimmed < trimWave {
		return false
	}
	t.trimmed = now
	return true
}
