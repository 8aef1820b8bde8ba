package cli

import (
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/epinet/epi"
)

const (
	// waveSize is the number of new connections that make it worth while to give
	// memory back.
	waveSize = 1000
	// wavePause is how long nobody must have come for a wave to be over.
	wavePause = time.Second
	// waveShare is the part of the most that connections held in a wave which they may still
	// hold at its end: one in so many. Below waveRest it is of no account.
	waveShare = 8
	waveRest  = 1 << 20
)

// A wave is many connections that open one soon after the other. To open one
// takes more memory than to have it, above all a handshake or an upgrade, and what is
// queued for all of them, such as the list of a channel's members: after a wave the heap
// is mostly garbage, which an idle server would keep for minutes.
type wave struct {
	opened atomic.Uint64
	grown  chan struct{} // filled at every waveSize-th connection
	ended  *time.Timer   // of the one who calls follow; runs while there is a wave
	last   uint64        // of the same; opened when ended was set
	most   int64         // of the same; the most bytes that connections held in this wave
}

func newWave() wave {
	ended := time.NewTimer(wavePause)
	ended.Stop()
	return wave{grown: make(chan struct{}, 1), ended: ended}
}

// count counts the connections that handler is called for.
func (w *wave) count(handler func(*epi.Conn) epi.Handler) func(*epi.Conn) epi.Handler {
	return func(c *epi.Conn) epi.Handler {
		if w.opened.Add(1)%waveSize == 0 {
			select {
			case w.grown <- struct{}{}:
			default: // it is known
			}
		}
		return handler(c)
	}
}

// follow is called when something comes out of grown or ended, with what connections hold.
// It reports whether the wave is over.
func (w *wave) follow(held int64) bool {
	now := w.opened.Load()
	w.most = max(w.most, held)
	over := now == w.last && held <= max(w.most/waveShare, waveRest)
	w.last = now
	if over {
		w.most = 0
	} else {
		w.ended.Reset(wavePause)
	}
	return over
}

// A thrift has the collector look sooner during a wave, whose garbage would otherwise
// lie between what stays, and keep its pages.
type thrift struct {
	percent int // as in debug.SetGCPercent; 0: none
	before  int // what was set when it began
	on      bool
}

func (t *thrift) begin() {
	if t.percent == 0 || t.on {
		return
	}
	t.before, t.on = debug.SetGCPercent(t.percent), true
	if t.before < t.percent { // somebody wants less, or none
		debug.SetGCPercent(t.before)
	}
}

func (t *thrift) end() {
	if t.on {
		debug.SetGCPercent(t.before)
		t.on = false
	}
}
