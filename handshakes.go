package epi

import (
	"container/list"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/epinet/epi/internal/seam"
)

const (
	// slotsPerCPU bounds the handshakes that compute at once. More would gain
	// nothing, and the loops would have to share the CPUs with all of them.
	slotsPerCPU = 4
	// slotTime is how long a handshake has a slot at most: ten times what the
	// slowest keys need. One that needs longer is blocked in a function of the
	// tls.Config, and must not hold up those that could compute.
	slotTime = 50 * time.Millisecond
	// leastPause is between two looks whether the silent are to give way.
	leastPause = time.Millisecond
	// shareOfSilence is the part of HandshakeTimeout that a peer may be silent
	// for while others wait for its place.
	shareOfSilence = 5
)

// handshakes are the TLS handshakes of an engine. At most MaxHandshakes have
// begun, and so have a goroutine; of them a few compute at once:
//
//	fresh ──► computing ◄── ready ◄── silent
//	              └──────────────────────↗ └► cut
//
// A handshake that waits for its peer is silent, and nobody waits for it. When
// all places are taken, the one that has been silent for longest gives way.
// Which way a handshake goes is decided in schedule.
type handshakes struct {
	cfg     *config
	places  int       // MaxHandshakes
	slots   int       // handshakes that may compute at once
	silence int64     // how long a peer may be silent while others wait for its place
	perIP   addresses // handshakes by client, for MaxHandshakesPerIP

	mu        sync.Mutex
	begun     int        // guarded by mu; have begun and not ended, the cut ones left out
	fresh     list.List  // guarded by mu; wait to begin. All lists have the oldest first
	ready     list.List  // guarded by mu; their peers have answered: they wait for a slot
	computing list.List  // guarded by mu; have a slot
	silent    list.List  // guarded by mu; accepted ones that wait for their peers
	timer     seam.Alarm // guarded by mu; calls tick; nil before the first wait
	due       int64      // guarded by mu; when it does, maxTime while it is stopped
	running   *seam.Crew
}

func (h *handshakes) init(c *config) {
	h.cfg = c
	h.running = seam.NewCrew(c.Spawn)
	h.places = c.maxHandshakes
	h.slots = c.slots
	h.silence = int64(c.timeouts.handshake) / shareOfSilence
	h.due = maxTime
	h.perIP.most = c.maxHandshakesPerIP
}

// begin lets a handshake begin when there is room for it. It reports whether that
// may be: it may not when its peer's address has too many.
func (h *handshakes) begin(s *handshake) bool {
	c := s.layer.owner
	// Who is dialled is no client, and a Unix socket without a PROXY header has
	// no strangers.
	if from := c.host; h.perIP.most != noLimitPerIP && !c.origin.dials && from.IsValid() {
		if !h.perIP.enter(from) {
			return false
		}
		s.from = from
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.move(s, &h.fresh)
	s.quiet = s.loop().now()
	h.schedule()
	return true
}

// forget ends the account of a handshake. The caller holds mu.
func (h *handshakes) forget(s *handshake) {
	if s.from.IsValid() {
		h.perIP.leave(s.from)
		s.from = netip.Addr{}
	}
}

// pause gives the slot back because the handshake waits for its peer.
func (h *handshakes) pause(s *handshake) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.layer.owner.origin.dials {
		h.move(s, nil) // nobody makes us dial: it keeps its place
	} else {
		h.move(s, &h.silent)
		s.quiet = s.loop().now()
	}
	h.schedule()
}

// resume waits for a slot because the peer has answered.
func (h *handshakes) resume(s *handshake) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.cut {
		return
	}
	h.move(s, &h.ready)
	h.schedule()
	for s.in == &h.ready {
		s.turn.Wait()
	}
}

// end gives back what the handshake has.
func (h *handshakes) end(s *handshake) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.move(s, nil)
	h.forget(s)
	if !s.cut {
		h.begun--
	}
	h.schedule()
}

// withdraw takes a handshake back that has not begun, and reports whether it had
// not.
func (h *handshakes) withdraw(s *handshake) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.in != &h.fresh {
		return false
	}
	h.move(s, nil)
	h.forget(s)
	return true
}

// move puts a handshake at the end of a list, or in none. The caller holds mu.
func (h *handshakes) move(s *handshake, to *list.List) {
	if s.in != nil {
		s.in.Remove(s.at)
	}
	s.in, s.since = to, h.cfg.Clock()
	if to != nil {
		s.at = to.PushBack(s)
	}
}

// schedule lets those go on for whom there is room. The caller holds mu.
func (h *handshakes) schedule() {
	now := h.cfg.Clock()
	for s := oldest(&h.computing); s != nil && now-s.since >= int64(slotTime); s = oldest(&h.computing) {
		h.move(s, nil) // it goes on without a slot
	}
	for h.computing.Len() < h.slots {
		s := h.next(now)
		if s == nil {
			break
		}
		begins := s.in == &h.fresh
		h.move(s, &h.computing)
		if begins {
			h.begun++
			h.running.Go(s.layer.shakeHands)
		} else {
			s.turn.Signal()
		}
	}
	h.lookAgain()
}

// next returns the handshake that is to have a slot now. Those that are under way
// come first. The caller holds mu.
func (h *handshakes) next(now int64) *handshake {
	if s := oldest(&h.ready); s != nil {
		return s
	}
	s := oldest(&h.fresh)
	if s == nil || h.begun >= h.places && !h.cutOne() {
		return nil
	}
	if s.loop().looked()-s.quiet > h.silence {
		// There are more than can be served. Who waits in order would have gone
		// away when its turn comes, so the newest is the best to serve.
		s = h.fresh.Back().Value.(*handshake)
	}
	return s
}

// cutOne ends the handshake that has waited for its peer for longest, and reports
// whether there was one that had to. The caller holds mu.
func (h *handshakes) cutOne() bool {
	s := oldest(&h.silent)
	if s == nil {
		return false
	}
	quiet := s.loop().looked() - s.quiet
	if quiet < h.silence {
		return false
	}
	h.move(s, nil)
	s.cut = true
	h.begun--
	s.abandon(fmt.Errorf("%w: nothing was received for %v while others waited, MaxHandshakes is %d", errCut, time.Duration(quiet), h.places))
	return true
}

// lookAgain sees to it that tick is called when somebody who waits might go on
// without anybody's doing. The caller holds mu.
func (h *handshakes) lookAgain() {
	due := int64(maxTime)
	switch s, quiet := oldest(&h.computing), oldest(&h.silent); {
	case h.fresh.Len()+h.ready.Len() == 0:
	case h.computing.Len() >= h.slots:
		due = s.since + int64(slotTime)
	case quiet != nil: // it was no slot that was missing, but a place
		left := h.silence - (quiet.loop().now() - quiet.quiet)
		due = h.cfg.Clock() + max(left, int64(leastPause)) // its loop is to look first
	}
	if due >= h.due {
		return
	}
	h.due = due
	pause := time.Duration(due - h.cfg.Clock())
	if h.timer == nil {
		h.timer = h.cfg.After(pause, h.tick)
		return
	}
	h.timer.Reset(pause)
}

// tick goes on where somebody has waited for long enough. Whether a peer is silent
// is for its loop to say, when it has looked.
func (h *handshakes) tick() {
	h.mu.Lock()
	h.due = maxTime
	h.schedule()
	quiet := oldest(&h.silent)
	if h.fresh.Len() == 0 {
		quiet = nil
	}
	h.mu.Unlock()
	if quiet != nil {
		_ = quiet.loop().post(h.reschedule, unbounded) // of one that has ended nobody waits
	}
}

func (h *handshakes) reschedule() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.schedule()
}

func oldest(l *list.List) *handshake {
	if e := l.Front(); e != nil {
		return e.Value.(*handshake)
	}
	return nil
}
