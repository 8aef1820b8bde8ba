package epi

import (
	"container/list"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync"

	"github.com/epinet/epi/internal/seam"
)

// maxShakeInput is how much of what has arrived waits for a handshake at most,
// which takes it record by record. Beyond it the connection is not read from.
const maxShakeInput = 32 << 10

// errCut ends a handshake whose peer was silent while others waited.
var errCut = fmt.Errorf("%w: its place is needed", ErrHandshakeTimeout)

// A handshake is one under way: a goroutine that may block in the functions of
// the tls.Config, and until the peer has sent what it needs.
type handshake struct {
	layer *tlsLayer
	turn  seam.Condition // on handshakes.mu; signalled when it may go on, of handshakes.resume

	// Guarded by handshakes.mu.
	in    *list.List    // where it waits or computes; nil: nowhere
	at    *list.Element // its place there
	since int64         // when it got there
	quiet int64         // while it waits to begin, or for its peer: since when, on the clock of Loop.Watched
	cut   bool          // its place was given to another
	from  netip.Addr    // as whose it counts for MaxHandshakesPerIP; the zero Addr: nobody's

	mu      sync.Mutex
	arrived seam.Condition
	input   []byte // guarded by mu; what the goroutine has not taken
	closed  error  // guarded by mu; why nothing more arrives
	done    bool   // guarded by mu; the goroutine has ended
	result  error  // guarded by mu; how
}

func newHandshake(t *tlsLayer, input []byte) *handshake {
	s := &handshake{layer: t, input: append([]byte(nil), input...)}
	l := s.loop()
	s.arrived = l.cfg.Condition(&s.mu)
	s.turn = l.cfg.Condition(&l.engine.handshakes.mu)
	return s
}

func (s *handshake) loop() *Loop { return s.layer.owner.loop }

// shakeHands is the goroutine.
func (t *tlsLayer) shakeHands() {
	var err error
	returned := false
	defer func() {
		// A function of the tls.Config that panics, or ends the goroutine, ends this
		// connection alone.
		if !returned {
			err = t.owner.loop.panicked("TLS handshake", recover())
		}
		t.shaken(err)
	}()
	err = t.conn.Handshake()
	returned = true
}

// shaken tells the holder how the handshake has ended.
func (t *tlsLayer) shaken(err error) {
	s := t.shake
	t.owner.loop.engine.handshakes.end(s)
	s.mu.Lock()
	s.done, s.result = true, err
	s.mu.Unlock()
	t.owner.request(doHandshake)
}

// read is the transport's Read during the handshake.
func (s *handshake) read(p []byte) (int, error) {
	s.awaitInput()
	s.mu.Lock()
	if len(s.input) == 0 {
		defer s.mu.Unlock()
		return 0, s.closed
	}
	wasFull := s.fullLocked()
	n := copy(p, s.input)
	s.input = s.input[n:]
	readOn := wasFull && !s.fullLocked()
	s.mu.Unlock()
	if readOn {
		s.layer.owner.request(doCheck)
	}
	return n, nil
}

// awaitInput waits for the peer where nothing has arrived. Meanwhile others may
// compute.
func (s *handshake) awaitInput() {
	s.mu.Lock()
	there := len(s.input) > 0 || s.closed != nil
	s.mu.Unlock()
	if there {
		return
	}
	all := &s.layer.owner.loop.engine.handshakes
	all.pause(s)
	if s.sleep() {
		all.resume(s)
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

// feed hands over what has arrived.
func (s *handshake) feed(p []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed == nil {
		s.input = append(s.input, p...)
		s.arrived.Signal()
	}
}

// close says that nothing more arrives.
func (s *handshake) close(cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed == nil {
		s.closed = cause
	}
	s.arrived.Signal()
}

// abandon is close for a handshake that is not to go on with what has arrived.
func (s *handshake) abandon(cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.input, s.closed = nil, cause
	s.arrived.Signal()
}

// full reports whether no more is to be read for now.
func (s *handshake) full() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fullLocked()
}

func (s *handshake) fullLocked() bool { return len(s.input) >= s.loop().cfg.maxShakeInput }

// ended returns how the goroutine has ended, and what it left.
func (s *handshake) ended() (rest []byte, done bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.input, s.done, s.result
}

// beginHandshake lets the handshake begin with what has arrived.
func (c *Conn) beginHandshake() {
	t := c.extra.tls
	var input []byte
	if c.inbox != nil {
		input = c.inbox.Bytes()
	}
	t.shake, t.hello = newHandshake(t, input), nil
	c.dropInbox()
	if !c.loop.engine.handshakes.begin(t.shake) {
		t.shake = nil
		c.refuse(aborting, fmt.Errorf("%w: MaxHandshakesPerIP is %d", ErrTooManyHandshakes, c.loop.cfg.maxHandshakesPerIP))
		return
	}
	c.yieldToHandshakes()
}

// yieldToHandshakes makes the loop yield once before it sleeps, so that handshakes run.
// Otherwise they might have to wait until the Go scheduler takes the
// processor away from the loop that sleeps: tens of microseconds, in which it
// keeps looking. A worker that waits gives way anyhow.
func (c *Conn) yieldToHandshakes() {
	if c.loop.engine.workers == nil {
		c.loop.owesYield = true
	}
}

// finishHandshake follows up the end of a handshake.
func (c *Conn) finishHandshake() {
	t := c.extra.tls
	rest, done, err := t.shake.ended()
	if !done {
		return
	}
	t.shake = nil
	if err != nil {
		c.handshakeFailed(err)
		return
	}
	c.loop.count.handshakes.Add(1)
	if d := c.extra.dialing; d != nil && !d.end() {
		return // ctx ended first
	}
	c.open()
	t.unseal(rest, false) // also what tls.Conn has read already
	c.offerEnd()
}

// handshakeFailed closes the connection when the alert, if there is one, is sent.
func (c *Conn) handshakeFailed(err error) {
	if c.state.Load()&(ending&^closing) != 0 {
		return // that was the reason
	}
	how := closing
	switch {
	case errors.Is(err, errCut):
		c.loop.count.handshakesCut.Add(1)
		how = aborting // it has kept others waiting for long enough
	case errors.Is(err, io.EOF): // which would stand for an orderly end
		err = io.ErrUnexpectedEOF
	}
	err = fmt.Errorf("%w: %w", ErrHandshake, err)
	c.extra.tls.fail(err)
	c.mu.Lock()
	c.unset(handshaking)
	c.mu.Unlock()
	c.refuse(how, err)
}

// refuse closes a connection that was not worth a handler.
func (c *Conn) refuse(how stateBits, cause error) {
	c.loop.count.refused.Add(1)
	c.logRefused("a connection is refused", "error", cause)
	_ = c.end(how, cause)
}
