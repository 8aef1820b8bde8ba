package driver

import (
	"math"
	"sync"
	"sync/atomic"
)

// handles are the numbers that the portable driver gives to what package net has
// opened: the loops of an engine give them on to each other. It may be used from
// any goroutine.
type handles struct {
	open sync.Map // Handle to *link, *port or *packetLink
	last atomic.Int32
}

// add returns a number that nothing else has.
func (h *handles) add(what any) Handle {
	for {
		n := Handle(h.last.Add(1) & math.MaxInt32)
		if _, taken := h.open.LoadOrStore(n, what); !taken {
			return n
		}
	}
}

func (h *handles) get(n Handle) any {
	what, _ := h.open.Load(n)
	return what
}

func (h *handles) remove(n Handle) { h.open.Delete(n) }
