package ringpoll

import (
	"runtime"
	"testing"

	"github.com/epinet/epi/poll"
	"github.com/epinet/epi/uring"
)

// A staleRing always says that work waits, as the kernel may when it sets the
// flag at the same moment as it does that work:
//
//	kernel, adding:   queue the work             set the flag
//	kernel, running:             clear the flag, run the work
type staleRing struct {
	*uring.Ring
	submits int
	t       *testing.T
}

func (r *staleRing) WorkWaits() bool { return true }

func (r *staleRing) Submit() error {
	const endless = 1000
	if r.submits++; r.submits == endless {
		r.t.Fatalf("one Wait made %d calls", endless)
	}
	return r.Ring.Submit()
}

func TestWait_StaleHintDoesNotHoldItUp(t *testing.T) {
	if _, err := uring.Probe(); err != nil {
		t.Skip(err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	p, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	p.ring = &staleRing{Ring: p.ring.(*uring.Ring), t: t}
	if n, err := p.Wait(make([]poll.Event, 1), 0); n != 0 || err != nil {
		t.Errorf("Wait returned %d, %v", n, err)
	}
}
