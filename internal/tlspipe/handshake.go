package tlspipe

import (
	"container/list"
	"errors"
	"sync"
)

// ErrCut: the peer was silent during the handshake while others waited.
var ErrCut = errors.New("its place is needed")

// A handshake in progress. Its goroutine may block in the functions of the tls.Config,
// and until the peer has sent what it needs.
type handshake struct {
	pipe  *Pipe
	limit *Limit
	turn  Condition // on limit.mu; signalled when it may go on, of Limit.resume

	// Guarded by limit.mu.
	in    *list.List    // where it waits or computes; nil: nowhere
	at    *list.Element // its place there
	since int64         // when it got there
	quiet int64         // while it waits to begin, or for its peer: since when, on its host's Clock
	cut   bool          // its place was given to another

	mu      sync.Mutex
	arrived Condition
	input   []byte // guarded by mu; what the goroutine has not taken
	closed  error  // guarded by mu; why nothing more arrives
	done    bool   // guarded by mu; the goroutine has ended
	result  error  // guarded by mu; how
}

func (s *handshake) clock() Clock { return s.pipe.host }

// Start begins the handshake with what has arrived, when the limit lets it.
func (p *Pipe) Start(l *Limit, arrived []byte) {
	s := &handshake{pipe: p, limit: l, input: append([]byte(nil), arrived...)}
	s.arrived, s.turn = l.cfg.Condition(&s.mu), l.cfg.Condition(&l.mu)
	p.hello, p.handshake = nil, s
	l.begin(s)
}

// InHandshake reports whether a handshake was started and has not been finished.
func (p *Pipe) InHandshake() bool { return p.handshake != nil }

// FinishHandshake reports whether the handshake that was started has ended, and how.
// After one that has succeeded, Read may have something without Feed.
func (p *Pipe) FinishHandshake() (done bool, err error) {
	s := p.handshake
	if s == nil {
		return false, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.done {
		return false, nil
	}
	p.handshake = nil
	p.input, p.single = s.input, false // tls.Conn may have read more already
	return true, s.result
}

// Full reports whether nothing more is to be fed for now.
func (p *Pipe) Full() bool { return p.handshake != nil && p.handshake.isFull() }

// EndHandshake says that nothing more arrives for the handshake, which may have all
// that it needs. It reports false when the handshake had not begun and never will.
func (p *Pipe) EndHandshake(cause error) bool {
	s := p.handshake
	s.mu.Lock()
	if s.closed == nil {
		s.closed = cause
	}
	s.arrived.Signal()
	s.mu.Unlock()
	if !s.limit.withdraw(s) {
		return true
	}
	p.handshake = nil // it would need an answer
	return false
}

// AbandonHandshake ends a handshake that is under way, whatever it has got.
func (p *Pipe) AbandonHandshake(cause error) {
	if s := p.handshake; s != nil {
		s.abandon(cause)
		s.limit.withdraw(s)
	}
}

// run is the goroutine.
func (s *handshake) run() {
	var err error
	returned := false
	defer func() {
		// A function of the tls.Config that panics, or ends the goroutine, ends this
		// handshake alone.
		if !returned {
			err = s.pipe.host.Panicked(recover())
		}
		s.end(err)
	}()
	err = s.pipe.conn.Handshake()
	returned = true
}

// end is the last of the goroutine: the holder may finish the handshake.
func (s *handshake) end(err error) {
	s.limit.end(s)
	s.mu.Lock()
	s.done, s.result = true, err
	s.mu.Unlock()
	s.pipe.host.Wake()
}

// read is the transport's Read during the handshake.
func (s *handshake) read(p []byte) (int, error) {
	s.awaitInput()
	s.mu.Lock()
	if len(s.input) == 0 {
		defer s.mu.Unlock()
		return 0, s.closed
	}
	wasFull := s.isFullLocked()
	n := copy(p, s.input)
	s.input = s.input[n:]
	readOn := wasFull && !s.isFullLocked()
	s.mu.Unlock()
	if readOn {
		s.pipe.host.Wake()
	}
	return n, nil
}

// awaitInput waits for the peer where nothing has arrived. Meanwhile others may
// compute.
func (s *handshake) awaitInput() {
	if s.canRead() {
		return
	}
	s.limit.pause(s)
	if s.sleep() {
		s.limit.resume(s)
	}
}

// sleep waits for the peer, and reports whether anything has arrived.
func (s *handshake) sleep() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.input) == 0 && s.closed == nil {
		s.arrived.Wait()
	}
	return len(s.input) > 0
}

func (s *handshake) canRead() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.input) > 0 || s.closed != nil
}

func (s *handshake) feed(p []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed == nil {
		s.input = append(s.input, p...)
		s.arrived.Signal()
	}
}

// abandon ends a handshake that is not to go on with what has arrived.
func (s *handshake) abandon(cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.input, s.closed = nil, cause
	s.arrived.Signal()
}

func (s *handshake) isFull() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.isFullLocked()
}

func (s *handshake) isFullLocked() bool { return len(s.input) >= s.limit.cfg.MaxInput }
