package epi

import (
	"errors"
	"fmt"
	"iter"
	"time"
)

// ErrTooManySessions: PacketSessions.Max sessions are alive.
var ErrTooManySessions = errors.New("too many sessions")

// Defaults of PacketSessions.
const (
	defaultSessionIdle = time.Minute
	defaultMaxSessions = 64 << 10
)

// PacketSessions keeps a value for each peer of a packet socket, for as long as
// the peer is active: datagrams have no end of a stream. Set the fields before
// the first call and not afterwards; Loop must be set, and of the others 0
// chooses the default.
//
// It belongs to the loop: its methods are for callbacks, tasks and timers of
// that loop alone, usually for the PacketHandler that holds it. Every operation
// costs the same, however many sessions there are.
type PacketSessions[T any] struct {
	// Loop is the loop of the socket, PacketConn.Loop.
	Loop *Loop
	// Idle is how long a session lives that is not touched. Default: 1 minute.
	Idle time.Duration
	// Max bounds the sessions: Open refuses more with ErrTooManySessions, so
	// that a flood with forged addresses ends no session that is alive.
	// Default: 65,536.
	Max int
	// Evict ends the session that was idle longest instead, to make room.
	Evict bool
	// OnEnd, where it is set, is called for each session that has ended: by its
	// idleness, Evict, End or Close.
	OnEnd func(peer PacketAddr, session T)

	byPeer map[PacketAddr]*packetSession[T]
	oldest *packetSession[T] // the list of all, in the order of their touches
	newest *packetSession[T]
	timer  *Timer // nil when none is under way
}

type packetSession[T any] struct {
	peer       PacketAddr
	value      T
	touched    int64
	prev, next *packetSession[T] // touched before and after this one
}

// Get returns the peer's session and touches it, or false when it has none.
func (s *PacketSessions[T]) Get(peer PacketAddr) (T, bool) {
	p, ok := s.byPeer[peer]
	if !ok {
		var none T
		return none, false
	}
	s.touch(p)
	return p.value, true
}

// Open returns the peer's session and touches it. When it has none, begin makes
// one. The errors are ErrTooManySessions, and ErrBadPeer for the zero PacketAddr: of
// all the Unix sockets without a name it is not known which is which, so that none can
// have a session without sharing it with the others.
func (s *PacketSessions[T]) Open(peer PacketAddr, begin func(peer PacketAddr) T) (T, error) {
	if peer.IsZero() {
		var none T
		return none, fmt.Errorf("%w: a Unix socket without a name has no session", ErrBadPeer)
	}
	if p, ok := s.byPeer[peer]; ok {
		s.touch(p)
		return p.value, nil
	}
	if err := s.makeRoom(); err != nil {
		var none T
		return none, err
	}
	if s.byPeer == nil {
		s.byPeer = map[PacketAddr]*packetSession[T]{}
	}
	p := &packetSession[T]{peer: peer, value: begin(peer), touched: s.Loop.now()}
	s.byPeer[peer] = p
	s.append(p)
	s.watch()
	return p.value, nil
}

func (s *PacketSessions[T]) makeRoom() error {
	most := s.Max
	if most == 0 {
		most = defaultMaxSessions
	}
	if len(s.byPeer) < most {
		return nil
	}
	if !s.Evict {
		return fmt.Errorf("%w: Max is %d", ErrTooManySessions, most)
	}
	s.end(s.oldest)
	return nil
}

// End ends the peer's session and reports whether it had one.
func (s *PacketSessions[T]) End(peer PacketAddr) bool {
	p, ok := s.byPeer[peer]
	if ok {
		s.end(p)
	}
	return ok
}

// Len returns the number of sessions.
func (s *PacketSessions[T]) Len() int { return len(s.byPeer) }

// All iterates over the sessions, the one idle longest first, and touches none.
// The one that is visited may be ended.
func (s *PacketSessions[T]) All() iter.Seq2[PacketAddr, T] {
	return func(yield func(PacketAddr, T) bool) {
		for p := s.oldest; p != nil; {
			next := p.next
			if !yield(p.peer, p.value) {
				return
			}
			p = next
		}
	}
}

// Close ends all sessions. It belongs into OnClose.
func (s *PacketSessions[T]) Close() {
	for s.oldest != nil {
		s.end(s.oldest)
	}
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
}

func (s *PacketSessions[T]) idle() time.Duration {
	if s.Idle == 0 {
		return defaultSessionIdle
	}
	return s.Idle
}

// watch has the sessions looked at when the first of them can have been idle for
// too long. A touch changes nothing of that: one timer serves all.
func (s *PacketSessions[T]) watch() {
	if s.timer == nil && s.oldest != nil {
		left := deadline(s.oldest.touched, s.idle()) - s.Loop.now()
		s.timer = s.Loop.AfterWatched(time.Duration(left), s.expire)
	}
}

func (s *PacketSessions[T]) expire() {
	s.timer = nil
	for now := s.Loop.looked(); s.oldest != nil && deadline(s.oldest.touched, s.idle()) <= now; {
		s.end(s.oldest)
	}
	s.watch()
}

func (s *PacketSessions[T]) touch(p *packetSession[T]) {
	p.touched = s.Loop.now()
	if p != s.newest {
		s.unlink(p)
		s.append(p)
	}
}

// end takes p out before it calls OnEnd, which so finds things as they will be.
func (s *PacketSessions[T]) end(p *packetSession[T]) {
	delete(s.byPeer, p.peer)
	s.unlink(p)
	if s.OnEnd != nil {
		s.OnEnd(p.peer, p.value)
	}
}

func (s *PacketSessions[T]) append(p *packetSession[T]) {
	p.prev = s.newest
	if s.newest == nil {
		s.oldest = p
	} else {
		s.newest.next = p
	}
	s.newest = p
}

func (s *PacketSessions[T]) unlink(p *packetSession[T]) {
	if p.prev == nil {
		s.oldest = p.next
	} else {
		p.prev.next = p.next
	}
	if p.next == nil {
		s.newest = p.prev
	} else {
		p.next.prev = p.prev
	}
	p.prev, p.next = nil, nil
}
