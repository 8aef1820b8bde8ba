package ws

import (
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

const (
	// maxBacklog is the number of queued bytes above which no further frame is
	// looked at: a few compressed bytes can ask for a large answer.
	maxBacklog = 1 << 20
	// maxInflated is the number of decompressed bytes after which other connections
	// have their turn: what one turn reads can stand for a thousand times as much.
	maxInflated = 1 << 20
	// firstBacklogCheck and lastBacklogCheck are the pauses, doubling, between
	// looks at the queue meanwhile, besides OnDrain, which does not come where
	// Engine.HighWater is above maxBacklog.
	firstBacklogCheck = 10 * time.Millisecond
	lastBacklogCheck  = 320 * time.Millisecond
)

// trust is how many times what has arrived of a frame there may be room for: the
// peer has only announced the rest.
const trust = 16

// A message is one of which a part has arrived. Frames that lie whole in the
// unread bytes and are messages by themselves need none.
type message struct {
	op         Opcode
	compressed bool
	fin        bool    // of the frame under way
	left       int64   // bytes of the frame that have not arrived
	mask       [4]byte // of the frame
	masked     int     // bytes of the frame that have arrived
	text       textCheck
	buf        []byte
}

var messages = sync.Pool{New: func() any { return new(message) }}

func (c *Conn) dropPart() {
	if c.part == nil {
		return
	}
	m := *c.part
	*c.part = message{}
	if cap(m.buf) <= maxScratch {
		c.part.buf = m.buf[:0]
	}
	messages.Put(c.part)
	c.part = nil
}

// receive takes frames out of the unread bytes.
func (c *Conn) receive() error {
	for {
		c.mu.Lock()
		closed, paused := c.closeRead, c.paused
		c.mu.Unlock()
		p := c.conn.Unread()
		if closed || len(p) == 0 {
			c.conn.Discard(len(p))
			return nil
		}
		if paused {
			return nil
		}
		if c.conn.Queued() > maxBacklog {
			c.stall()
			return nil
		}
		if c.inflated > maxInflated {
			c.yield()
			return nil
		}
		more, err := c.step(p)
		if err != nil || !more {
			return err
		}
	}
}

// stall stops reading until the queue is shorter.
func (c *Conn) stall() {
	c.hold()
	if !c.checking.Swap(true) {
		c.checkBacklogIn(firstBacklogCheck)
	}
}

// yield goes on reading when others have had their turn.
func (c *Conn) yield() {
	c.inflated = 0
	c.hold()
	c.conn.Loop().After(0, c.unstall)
}

func (c *Conn) checkBacklogIn(pause time.Duration) {
	c.conn.Loop().After(pause, func() {
		c.checking.Store(false) // before the look: who stalls from now on begins to check
		switch {
		case !c.stalled.Load():
		case c.conn.Queued() <= maxBacklog/2:
			c.unstall()
		case !c.checking.Swap(true):
			c.checkBacklogIn(min(2*pause, lastBacklogCheck))
		}
	})
}

// hold stops reading until unstall, which another goroutine may call meanwhile.
func (c *Conn) hold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stalled.Store(true)
	c.conn.Pause()
}

func (c *Conn) unstall() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stalled.Swap(false) && !c.paused {
		c.conn.Resume()
	}
}

// step goes one step on with p: a frame, or what has arrived of one. It reports
// false when it needs more bytes.
func (c *Conn) step(p []byte) (more bool, err error) {
	if c.part != nil && c.part.left > 0 {
		return true, c.take(p)
	}
	if len(p) >= ws.MinHeaderSize {
		if err := c.checkStart(p[0], p[1]); err != nil {
			return false, err
		}
		if err := checkLengthBytes(p); err != nil {
			return false, err
		}
	}
	h, size, err := parseHeader(p)
	if err != nil || size == 0 {
		return false, err
	}
	body := p[size:]
	if h.OpCode.IsControl() {
		if int64(len(body)) < h.Length {
			return false, nil
		}
		body = body[:h.Length]
		unmask(h, body)
		err := c.control(h.OpCode, body)
		c.conn.Discard(size + len(body))
		return true, err
	}
	return true, c.data(h, size, body)
}

// checkStart checks what the first two bytes of a frame tell.
func (c *Conn) checkStart(first, second byte) error {
	h := ws.Header{Fin: first&maskBit != 0, Rsv: first >> 4 & 7, OpCode: ws.OpCode(first & 0xf)}
	length := second & lengthBits
	starts := h.OpCode == Text || h.OpCode == Binary
	switch {
	case h.OpCode.IsReserved():
		return violation(ProtocolError, "reserved opcode")
	case h.Rsv != 0 && (h.Rsv != rsv1 || c.window == 0 || !starts):
		return violation(ProtocolError, "reserved bit set")
	case second&maskBit != 0 == c.with.client:
		if c.with.client {
			return violation(ProtocolError, "masked frame from a server")
		}
		return violation(ProtocolError, "unmasked frame from a client")
	case h.OpCode.IsControl() && !h.Fin:
		return violation(ProtocolError, "fragmented control frame")
	case h.OpCode.IsControl() && length > maxControl:
		return violation(ProtocolError, "control frame longer than 125 bytes")
	case h.OpCode == ws.OpContinuation && c.part == nil:
		return violation(ProtocolError, "continuation of no message")
	case starts && c.part != nil:
		return violation(ProtocolError, "new message within another")
	}
	return nil
}

// data handles a data frame whose header has arrived.
func (c *Conn) data(h ws.Header, size int, body []byte) error {
	compressed := h.Rsv == rsv1 || c.part != nil && c.part.compressed
	if err := c.checkLength(h.Length, compressed); err != nil {
		return err
	}
	if c.part == nil && h.Fin && !compressed && int64(len(body)) >= h.Length {
		body = body[:h.Length]
		unmask(h, body)
		if h.OpCode == Text && !utf8.Valid(body) {
			return errNotText
		}
		err := c.deliver(h.OpCode, body)
		c.conn.Discard(size + len(body))
		return err
	}
	if c.part == nil {
		c.part = messages.Get().(*message)
		c.part.op, c.part.compressed = h.OpCode, compressed
	}
	m := c.part
	m.fin, m.left, m.mask, m.masked = h.Fin, h.Length, h.Mask, 0
	c.conn.Discard(size)
	return c.take(c.conn.Unread())
}

var errNotText = violation(InvalidPayload, "text is not UTF-8")

// checkLength checks the message's length so far against the limit. A
// compressed one can be a little longer than what it is made of.
func (c *Conn) checkLength(length int64, compressed bool) error {
	limit := int64(c.with.maxMessage)
	if compressed {
		limit += limit/deflateOverhead + deflateOverhead
	}
	if c.part != nil {
		limit -= int64(len(c.part.buf))
	}
	if length > limit {
		return errTooBig
	}
	return nil
}

var errTooBig = violation(MessageTooBig, "message is too big")

// take consumes what has arrived of the frame under way.
func (c *Conn) take(p []byte) error {
	m := c.part
	p = p[:min(int64(len(p)), m.left)]
	if !c.with.client {
		ws.Cipher(p, m.mask, m.masked)
	}
	if int64(len(p))*trust >= m.left {
		m.buf = slices.Grow(m.buf, int(m.left))
	}
	m.buf = append(m.buf, p...)
	m.left -= int64(len(p))
	m.masked += len(p)
	c.conn.Discard(len(p))
	text := m.op == Text && !m.compressed
	if text && !m.text.accepts(m.buf[len(m.buf)-len(p):]) {
		return errNotText
	}
	if m.left > 0 || !m.fin {
		return nil
	}
	if text && !m.text.complete() {
		return errNotText
	}
	defer c.dropPart()
	if m.compressed {
		return c.inflate(m)
	}
	return c.deliver(m.op, m.buf)
}

// inflate delivers a compressed message.
func (c *Conn) inflate(m *message) error {
	if len(m.buf) == 0 { // no block at all, which no compressor sends and every other peer takes
		return c.deliver(m.op, nil)
	}
	out := buffers.get()
	defer buffers.put(out)
	m.buf = append(m.buf, inflateTail...)
	if err := inflate(out, m.buf, c.with.maxMessage); err != nil {
		return err
	}
	c.inflated += out.Len()
	if m.op == Text && !utf8.Valid(out.Bytes()) {
		return errNotText
	}
	return c.deliver(m.op, out.Bytes())
}

// deliver gives the handler a message, unless it has closed the connection.
func (c *Conn) deliver(op Opcode, p []byte) error {
	c.mu.Lock()
	closing := c.closeSent
	c.mu.Unlock()
	if closing {
		return nil
	}
	if err := c.handler.OnMessage(c, op, slices.Clip(p)); err != ErrClosed {
		return err
	}
	return nil // it has closed the connection itself, and then written
}

// control handles a control frame.
func (c *Conn) control(op Opcode, p []byte) error {
	switch op {
	case ws.OpPing:
		if err := c.writeFrame(ws.OpPong, 0, p); err != ErrClosed {
			return err
		}
		return nil
	case ws.OpClose:
		return c.closed(p)
	}
	return nil
}

// closed answers the peer's close frame, with its own code. The server then
// ends the connection; a client waits for that (RFC 6455, section 7.1.1).
func (c *Conn) closed(p []byte) error {
	received, err := parseClose(p)
	if err != nil {
		return err
	}
	answer, _ := closePayload(received.Code, received.Reason) // it is what was just checked
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closeRead = true
	if c.closeSent {
		c.setCause(errAnswered)
	} else {
		c.setCause(received)
		_ = c.writeLocked(ws.OpClose, 0, answer) // a full queue has no room for more
		c.closeSent = true
	}
	if c.with.client {
		c.awaitEnd()
		return nil
	}
	_ = c.conn.Close()
	return nil
}

// setCause keeps the first reason for OnClose. The caller holds mu.
func (c *Conn) setCause(err error) {
	if c.cause == nil {
		c.cause = err
	}
}

func unmask(h ws.Header, p []byte) {
	if h.Masked {
		ws.Cipher(p, h.Mask, 0)
	}
}
