package epi

import (
	"errors"
	"fmt"
	"io"
	"sync"
)

// handshakes bounds the TLS handshakes that are under way. Those that are too
// many wait in order, within Engine.HandshakeTimeout.
type handshakes struct {
	mu      sync.Mutex
	free    int         // guarded by mu; handshakes that may begin
	waiting []*tlsLayer // guarded by mu
	running sync.WaitGroup
}

// begin runs a handshake in a goroutine, now or when another has ended.
func (h *handshakes) begin(t *tlsLayer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.free == 0 {
		h.waiting = append(h.waiting, t)
		return
	}
	h.free--
	h.start(t)
}

func (h *handshakes) start(t *tlsLayer) {
	h.running.Go(func() {
		t.shakeHands()
		h.end()
	})
}

// end lets the next one begin.
func (h *handshakes) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.waiting) == 0 {
		h.waiting = nil
		h.free++
		return
	}
	next := h.waiting[0]
	h.waiting[0] = nil
	h.waiting = h.waiting[1:]
	h.start(next)
}

// maxShakeInput is how much of what has arrived waits for a handshake at most:
// more than any message of one. Beyond it the connection is not read from.
const maxShakeInput = 64 << 10

// A handshake is one under way: a goroutine that may block in the functions of
// the tls.Config, and until the peer has sent what it needs.
type handshake struct {
	mu      sync.Mutex
	arrived sync.Cond
	input   []byte // guarded by mu; what the goroutine has not taken
	started bool   // guarded by mu; it is not waiting for others to end
	closed  error  // guarded by mu; why nothing more arrives
	done    bool   // guarded by mu; the goroutine has ended
	result  error  // guarded by mu; how
}

func newHandshake(input []byte) *handshake {
	s := &handshake{input: append([]byte(nil), input...)}
	s.arrived.L = &s.mu
	return s
}

// shakeHands is the goroutine.
func (t *tlsLayer) shakeHands() {
	s := t.shake
	s.mu.Lock()
	s.started = true
	s.mu.Unlock()
	t.owner.request(doCheck) // it takes input now
	err := t.handshake()
	s.mu.Lock()
	s.done, s.result = true, err
	s.mu.Unlock()
	t.owner.request(doOpen)
}

// handshake is tls.Conn's. A panic in a function of the tls.Config ends this
// connection alone.
func (t *tlsLayer) handshake() (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = t.owner.loop.panicked("TLS handshake", v)
		}
	}()
	return t.conn.Handshake()
}

// read is the transport's Read during the handshake.
func (s *handshake) read(t *tlsLayer, p []byte) (int, error) {
	s.mu.Lock()
	for len(s.input) == 0 && s.closed == nil {
		s.arrived.Wait()
	}
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
		t.owner.request(doCheck)
	}
	return n, nil
}

// feed hands over what has arrived.
func (s *handshake) feed(p []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.input = append(s.input, p...)
	s.arrived.Signal()
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

// full reports whether no more is to be read for now.
func (s *handshake) full() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fullLocked()
}

func (s *handshake) fullLocked() bool {
	return !s.started && len(s.input) > 0 || len(s.input) >= maxShakeInput
}

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
	t.shake = newHandshake(input)
	c.dropInbox()
	c.loop.engine.handshakes.begin(t)
	c.letShake()
}

// letShake makes the loop give way to the handshakes, all at once, before it
// sleeps. Otherwise they might have to wait until the Go scheduler takes the
// processor away from the loop that sleeps: tens of microseconds, in which it
// keeps looking. A worker that waits gives way anyhow.
func (c *Conn) letShake() {
	if c.loop.engine.workers == nil {
		c.loop.shaking = true
	}
}

// shaken follows up the end of a handshake.
func (c *Conn) shaken() {
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
	if d := c.origin.dialing; d != nil && !d.end() {
		return // ctx ended first
	}
	c.begin()
	t.unseal(rest, false) // also what tls.Conn has read already
	c.tellEnd()
}

// handshakeFailed closes the connection when the alert, if there is one, is sent.
func (c *Conn) handshakeFailed(err error) {
	if c.state.Load()&(ending&^draining) != 0 {
		return // that was the reason
	}
	if errors.Is(err, io.EOF) { // which would stand for an orderly end
		err = io.ErrUnexpectedEOF
	}
	err = fmt.Errorf("%w: %w", ErrHandshake, err)
	c.extra.tls.fail(err)
	c.mu.Lock()
	c.unset(handshaking)
	c.mu.Unlock()
	c.refuse(draining, err)
}

// refuse closes a connection that was not worth a handler.
func (c *Conn) refuse(how stateBits, cause error) {
	c.loop.count.refused.Add(1)
	c.loop.cfg.log.Info("a connection is refused", "peer", c.RemoteAddr(), "error", cause)
	_ = c.end(how, cause)
}
