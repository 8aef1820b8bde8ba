package ws

import (
	"math"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

const (
	// maxQueued is the number of queued bytes above which no further frame is
	// looked at: a few compressed bytes can ask for a large answer.
	maxQueued = 1 << 20
	// framesPerLook is how many frames are handled between looks at the queue.
	framesPerLook = 16
	// firstBacklogCheck and lastBacklogCheck are the pauses, doubling, between
	// looks at the queue meanwhile, besides OnDrain, which does not come where
	// Engine.HighWater is above maxQueued.
	firstBacklogCheck = 10 * time.Millisecond
	lastBacklogCheck  = 320 * time.Millisecond
)

// trust is how many times what has arrived of a frame there may be room for: the
// peer has only announced the rest.
const trust = 4

// A message is one that has arrived in part. Frames that lie whole in the
// unread bytes and are messages by themselves need none.
type message struct {
	op         Opcode
	compressed bool
	fin        bool    // of the frame under way
	kept       bool    // of a compressed message: the byte that was read last is still unread
	tailed     bool    // of a compressed message: inflateTail is behind it
	left       int64   // bytes of the frame that have not arrived
	size       int64   // bytes of all its frames so far, with all of the one under way
	mask       [4]byte // of the frame
	masked     int     // bytes of the frame that have arrived
	text       textCheck
	buf        []byte     // pooled; what was not handed over, or not decompressed
	used       int        // bytes of buf that were decompressed
	z          *inflation // nil unless decompressing has begun
}

// whole reports whether the last byte of the last frame has arrived.
func (m *message) whole() bool { return m.fin && m.left == 0 }

// held returns how many bytes a message holds that is under way, if one is.
func (m *message) held() int {
	if m == nil {
		return 0
	}
	n := cap(m.buf)
	if m.z != nil {
		n += cap(m.z.out) + inflationSize
	}
	return n
}

var messages = sync.Pool{New: func() any { return new(message) }}

func (c *Conn) dropPart() {
	m := c.part
	if m == nil {
		return
	}
	c.part = nil
	if m.z != nil {
		m.z.free()
	}
	parts.Put(m.buf)
	*m = message{}
	messages.Put(m)
}

// receive takes frames out of the unread bytes.
func (c *Conn) receive() error {
	for n := 0; ; n++ {
		p := c.conn.Unread()
		st := c.state.Load()
		if st&closeRead != 0 || len(p) == 0 {
			c.conn.Discard(len(p))
			return nil
		}
		if st&isPaused != 0 {
			return nil
		}
		if n%framesPerLook == 0 && c.conn.Queued() > maxQueued {
			c.stall()
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
	if c.state.Or(checking)&checking == 0 {
		c.checkBacklogIn(firstBacklogCheck)
	}
}

func (c *Conn) checkBacklogIn(pause time.Duration) {
	c.conn.Loop().After(pause, func() {
		c.unset(checking) // before the look: who stalls from now on begins to check
		switch {
		case c.state.Load()&stalled == 0:
		case c.conn.Queued() <= maxQueued/2:
			c.unstall()
		case c.state.Or(checking)&checking == 0:
			c.checkBacklogIn(min(2*pause, lastBacklogCheck))
		}
	})
}

// hold stops reading until unstall, which another goroutine may call meanwhile.
func (c *Conn) hold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.set(stalled)
	c.conn.Pause()
}

func (c *Conn) unstall() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state.And(^stalled)&(stalled|isPaused) == stalled {
		c.conn.Resume()
	}
}

// step goes one step on with p: a frame, or what has arrived of one. It reports
// false when it needs more bytes, or has to wait.
func (c *Conn) step(p []byte) (more bool, err error) {
	if m := c.part; m != nil && (m.kept || m.left > 0) {
		return c.take(p)
	}
	if len(p) < ws.MinHeaderSize {
		return false, nil
	}
	h := startOf(p[0], p[1])
	if err := c.checkStart(&h); err != nil {
		return false, err
	}
	if h.Length >= length16 {
		if err := checkLengthBytes(p); err != nil {
			return false, err
		}
	}
	size := parseHeader(&h, p)
	if size == 0 {
		return false, nil
	}
	body := p[size:]
	if h.OpCode.IsControl() {
		if int64(len(body)) < h.Length {
			return false, nil
		}
		body = body[:h.Length]
		unmask(&h, body)
		err := c.control(h.OpCode, body)
		c.conn.Discard(size + len(body))
		c.framed()
		return true, err
	}
	return c.data(&h, size, body)
}

// framed calls the handler for a frame that is no message and ends none.
func (c *Conn) framed() {
	if h, ok := c.handler.(FrameHandler); ok && c.state.Load()&closeSent == 0 {
		h.OnFrame(c)
	}
}

// checkStart checks the first two bytes of a frame.
func (c *Conn) checkStart(h *ws.Header) error {
	starts := h.OpCode == Text || h.OpCode == Binary
	switch {
	case h.OpCode.IsReserved():
		return violation(ProtocolError, "reserved opcode")
	case h.Rsv != 0 && (h.Rsv != rsv1 || c.window == 0 || !starts):
		return violation(ProtocolError, "reserved bit set")
	case h.Masked == c.with.client:
		if c.with.client {
			return violation(ProtocolError, "masked frame from a server")
		}
		return violation(ProtocolError, "unmasked frame from a client")
	case h.OpCode.IsControl() && !h.Fin:
		return violation(ProtocolError, "fragmented control frame")
	case h.OpCode.IsControl() && h.Length > maxControl:
		return violation(ProtocolError, "control frame longer than 125 bytes")
	case h.OpCode == ws.OpContinuation && c.part == nil:
		return violation(ProtocolError, "continuation of no message")
	case starts && c.part != nil:
		return violation(ProtocolError, "new message within another")
	}
	return nil
}

// data handles a data frame whose header has arrived.
func (c *Conn) data(h *ws.Header, size int, body []byte) (more bool, err error) {
	compressed := h.Rsv == rsv1 || c.part != nil && c.part.compressed
	if err := c.checkLength(h.Length, compressed); err != nil {
		return false, err
	}
	if c.part == nil && h.Fin && !compressed && int64(len(body)) >= h.Length {
		body = body[:h.Length]
		unmask(h, body)
		if h.OpCode == Text && !utf8.Valid(body) {
			return false, errNotText
		}
		err := c.deliver(h.OpCode, body, true)
		c.conn.Discard(size + len(body))
		return true, err
	}
	if c.part == nil {
		c.part = messages.Get().(*message)
		c.part.op, c.part.compressed = h.OpCode, compressed
	}
	m := c.part
	m.fin, m.left, m.mask, m.masked = h.Fin, h.Length, h.Mask, 0
	m.size += h.Length
	if m.compressed {
		size-- // the last byte of what was read stays until there is nothing to decompress
		m.kept = true
	}
	c.conn.Discard(size)
	if !h.Fin {
		c.framed()
	}
	return c.take(c.conn.Unread())
}

var errNotText = violation(InvalidPayload, "text is not UTF-8")

// checkLength checks the message's length so far against the limit. A
// compressed one can be a little longer than what it is made of.
func (c *Conn) checkLength(length int64, compressed bool) error {
	limit := int64(c.with.maxMessage)
	if compressed {
		limit = min(limit, math.MaxInt64-limit/deflateOverhead-deflateOverhead) + limit/deflateOverhead + deflateOverhead
	}
	if c.part != nil {
		limit -= c.part.size
	}
	if length > limit {
		return errTooBig
	}
	return nil
}

var errTooBig = violation(MessageTooBig, "message is too big")

// take goes on with the frame under way, of whose payload p is what has arrived,
// behind the byte that is kept.
func (c *Conn) take(p []byte) (more bool, err error) {
	m := c.part
	kept := 0
	if m.kept {
		kept = 1
	}
	p = p[kept:]
	p = p[:min(int64(len(p)), m.left)]
	if !c.with.client {
		ws.Cipher(p, m.mask, m.masked)
	}
	m.left -= int64(len(p))
	m.masked += len(p)
	if m.compressed {
		return c.takeCompressed(kept, p)
	}
	if m.op == Text && (!m.text.accepts(p) || m.whole() && !m.text.complete()) {
		return false, errNotText
	}
	if c.state.Load()&inParts != 0 {
		whole := m.whole()
		if whole {
			defer c.dropPart()
		}
		err := c.deliver(m.op, p, whole)
		c.conn.Discard(len(p))
		return true, err
	}
	m.keep(p)
	c.conn.Discard(len(p))
	if !m.whole() {
		return true, nil
	}
	defer c.dropPart()
	return true, c.deliver(m.op, m.buf, true)
}

// keep adds a copy of p to what has arrived, of a frame whose rest is to come.
func (m *message) keep(p []byte) {
	room := int64(len(p))
	if room*trust >= m.left {
		room += m.left
	}
	m.buf = append(grow(m.buf, int(room)), p...)
}

// takeCompressed is take for a message that has to be decompressed. The engine calls
// again for unread bytes only: so one of those that were read stays unread until all
// of them are decompressed.
func (c *Conn) takeCompressed(kept int, p []byte) (more bool, err error) {
	m := c.part
	m.keep(p)
	c.conn.Discard(kept + len(p) - 1)
	m.kept = true
	waits, err := c.inflate()
	if err != nil || waits {
		return false, err
	}
	if c.part == m {
		m.kept = false
	}
	c.conn.Discard(1)
	return true, nil
}

// inflate goes on decompressing the message under way, with what has arrived of it,
// and reports whether it has to wait.
func (c *Conn) inflate() (waits bool, err error) {
	m := c.part
	if m.whole() && m.size == 0 { // no block at all, which no compressor sends and every other peer takes
		defer c.dropPart()
		return false, c.deliver(m.op, nil, true)
	}
	if m.whole() && !m.tailed {
		m.buf = append(grow(m.buf, len(inflateTail)), inflateTail...)
		m.tailed = true
	}
	for served := false; m.whole() || len(m.buf)-m.used >= maxStepInput; served = true {
		st := c.state.Load()
		if st&closeSent != 0 { // no callback gets what is in it
			m.use(len(m.buf) - m.used)
			if m.whole() {
				c.dropPart()
			}
			return false, nil
		}
		if st&isPaused != 0 {
			return true, nil
		}
		if served && c.conn.Queued() > maxQueued {
			c.stall()
			return true, nil
		}
		if !c.pacer().enter(c, served) {
			return true, nil
		}
		over, err := c.inflateStep()
		if err != nil || over {
			return false, err
		}
	}
	return false, nil
}

// inflateStep takes one step and hands over what is to be handed over. It reports
// whether that was the end of the message.
func (c *Conn) inflateStep() (over bool, err error) {
	m := c.part
	if m.z == nil {
		m.z = newInflation()
	}
	before := m.z.total
	used, over, err := m.z.step(m.buf[m.used:], m.whole(), c.with.maxMessage)
	n := m.z.total - before
	c.pacer().spend(used, n)
	m.use(used)
	if err != nil {
		return false, err
	}
	out := m.z.fresh()
	if m.op == Text && (!m.text.accepts(out[len(out)-n:]) || over && !m.text.complete()) {
		return false, errNotText
	}
	if over {
		defer c.dropPart()
		return true, c.deliver(m.op, out, true)
	}
	if c.state.Load()&inParts != 0 {
		err = c.deliver(m.op, out, false)
		m.z.delivered()
	}
	return false, err
}

// use drops the first n bytes of what has arrived.
func (m *message) use(n int) {
	m.used += n
	if m.used > len(m.buf)/2 { // moving fewer bytes than were used keeps the cost linear
		m.buf = m.buf[:copy(m.buf, m.buf[m.used:])]
		m.used = 0
	}
}

// deliver gives the handler a message, or a part of one, unless it has closed the
// connection.
func (c *Conn) deliver(op Opcode, p []byte, last bool) (err error) {
	st := c.state.Load()
	switch {
	case st&closeSent != 0 || !last && len(p) == 0:
		return nil
	case st&inParts != 0:
		err = c.handler.(PartHandler).OnPart(c, op, slices.Clip(p), last)
	default:
		err = c.handler.OnMessage(c, op, slices.Clip(p))
	}
	if err == ErrClosed { // it has closed the connection itself, and then written
		return nil
	}
	return err
}

// control handles a control frame.
func (c *Conn) control(op Opcode, p []byte) error {
	switch op {
	case ws.OpPing:
		if err := c.writeFrame(ws.OpPong, 0, p); err != ErrClosed {
			return err
		}
		return nil
	case ws.OpPong:
		c.ponged(p)
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
	if c.state.Load()&closeSent != 0 {
		c.setCause(errAnswered)
	} else {
		c.setCause(received)
		_ = c.writeLocked(ws.OpClose, 0, true, answer) // a full queue has no room for more
	}
	c.set(closeSent | closeRead)
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

func unmask(h *ws.Header, p []byte) {
	if h.Masked {
		ws.Cipher(p, h.Mask, 0)
	}
}
