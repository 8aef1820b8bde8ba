package ws

import (
	wire "encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"

	"github.com/epinet/epi"
)

// A Conn is one WebSocket. Its methods may be called from any goroutine, also
// inside callbacks, and never block.
type Conn struct {
	conn     *epi.Conn
	with     *settings // shared by all connections of a server
	handler  Handler   // nil until the upgrade is done
	opening  opening   // the callbacks'; nil when the upgrade is done
	part     *message  // the callbacks'; the message under way; nil between messages
	protocol string

	state  atomic.Uint32 // of stateBits
	window uint8         // bits of the compressor's window; 0: no compression. Fixed by the upgrade

	mu      sync.Mutex
	timer   *epi.Timer // guarded by mu; for the upgrade, then for pings, then for closing
	cause   error      // guarded by mu; what OnClose gets, unless nil
	written int64      // guarded by mu; bytes of all frames
	taken   uint64     // guarded by mu; how many the peer had at the last ping
	pinged  int64      // guarded by mu; when the ping was sent that the peer has not answered; 0: it has
	rtt     int64      // guarded by mu; how long it took to answer one
}

// stateBits are what is to be known of a connection at a glance. Those from isSettled
// on are changed under mu.
type stateBits = uint32

const (
	arrived  stateBits = 1 << iota // something has arrived since the last ping
	stalled                        // reading waits for the queue to empty, or for others' turns
	checking                       // a timer will look whether it has
	suspect                        // at the last ping nothing had arrived

	isSettled  // the upgrade was accepted, refused or given away
	isOpen     // frames may be sent
	inParts    // the handler is a PartHandler
	unpacked   // messages are not compressed, by SetCompression
	withinPart // WritePart has begun a message
	closeSent  // no frame may follow
	closeRead  // the peer's close frame has arrived
	isPaused   // by Pause
	isOver     // OnClose was called
)

func (c *Conn) set(bits stateBits)   { c.state.Or(bits) }
func (c *Conn) unset(bits stateBits) { c.state.And(^bits) }

// epoch is the moment from which pings count time.
var epoch = time.Now()

// settle decides the upgrade, once, and reports whether it did: of the decision and the
// time limit the second comes too late.
func (c *Conn) settle() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state.Load()&(isSettled|isOver) != 0 {
		return false
	}
	c.set(isSettled)
	c.stopTimer()
	return true
}

// settings are what the connections of one server, or of one client, share.
type settings struct {
	client       bool
	maxMessage   int
	compressFrom int
	pingInterval time.Duration
	openTimeout  time.Duration
	closeTimeout time.Duration

	pacers *sync.Map // from *epi.Loop to *pacer, for a server
	pacer  *pacer    // for a client, whose settings are those of one connection; the callbacks'
}

// Defaults of Server and Options.
const (
	defaultMaxMessage   = 1 << 20
	defaultCompressFrom = 128
	defaultOpenTimeout  = 10 * time.Second
	defaultCloseTimeout = 5 * time.Second

	// lastLook is how long at most a peer that seems to be late is given before it is.
	lastLook = time.Second
	// pingSize is the size of a ping of PingInterval: a moment.
	pingSize = 8
)

func (s *settings) fillIn() *settings {
	if s.maxMessage == 0 {
		s.maxMessage = defaultMaxMessage
	}
	if s.compressFrom == 0 {
		s.compressFrom = defaultCompressFrom
	}
	if s.openTimeout == 0 {
		s.openTimeout = defaultOpenTimeout
	}
	if s.closeTimeout == 0 {
		s.closeTimeout = defaultCloseTimeout
	}
	return s
}

// An opening is the part of a connection's life before its first frame.
type opening interface {
	// advance looks at the unread bytes. When it has set Conn.handler and
	// consumed its part of them, frames follow.
	advance(c *Conn) error
	// opened is called when frames may be sent.
	opened()
	// failed is called when the connection closes before that.
	failed(err error)
}

// Conn returns the connection underneath, for its addresses, its TLS state, its
// queue and its loop. Bytes must not be written to it, nor read, and it is not for
// pausing and closing either: the Conn has methods of its own for that.
func (c *Conn) Conn() *epi.Conn { return c.conn }

// Subprotocol returns the one agreed on, or "". It is known when Server.Handler is
// called, and to a client in OnOpen and when Dial returns.
func (c *Conn) Subprotocol() string { return c.protocol }

// Compressed reports whether permessage-deflate was agreed on, which is known from
// the same moments.
func (c *Conn) Compressed() bool { return c.window != 0 }

// SetCompression says whether the messages that are written from now on are
// compressed where that was agreed on, which they are by default. It is for what is
// compressed already.
func (c *Conn) SetCompression(on bool) {
	if on {
		c.unset(unpacked)
	} else {
		c.set(unpacked)
	}
}

// packs reports whether a message of a size is to be compressed.
func (c *Conn) packs(size int) bool {
	return c.window != 0 && size >= c.with.compressFrom && c.state.Load()&unpacked == 0
}

// Write queues a copy of a message. It takes all or nothing; the errors are
// ErrClosed, epi.ErrQueueFull, and ErrWithinMessage while WritePart is within a
// message. Text must be UTF-8, which is not checked.
func (c *Conn) Write(op Opcode, p []byte) error {
	if err := checkMessage(op); err != nil {
		return err
	}
	if c.packs(len(p)) {
		z := deflate(p, c.window)
		defer buffers.put(z)
		if z.Len() < len(p) {
			return c.writeFrame(op, rsv1, z.Bytes())
		}
	}
	return c.writeFrame(op, 0, p)
}

func checkMessage(op Opcode) error {
	if op != Text && op != Binary {
		return fmt.Errorf("opcode %d is not that of a message: choose Text or Binary", op)
	}
	return nil
}

// WritePart queues a copy of the next part of a message, which the peer gets as one
// or in parts, as it likes; last says that it ends there. Parts are not compressed.
// op is that of the message, for all its parts. Until the last one is written no
// other message can be (ErrWithinMessage): pings and Close go on. Parts of several
// goroutines are one message. The errors are those of Write.
func (c *Conn) WritePart(op Opcode, p []byte, last bool) error {
	if err := checkMessage(op); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state.Load()&withinPart != 0 {
		op = ws.OpContinuation
	}
	if err := c.writeLocked(op, 0, last, p); err != nil {
		return err
	}
	if last {
		c.unset(withinPart)
	} else {
		c.set(withinPart)
	}
	return nil
}

// Ping sends a ping. The peer's pong is not reported; RTT has what the pings of
// PingInterval have measured.
func (c *Conn) Ping(p []byte) error {
	if len(p) > maxControl {
		return ErrControlTooLong
	}
	return c.writeFrame(ws.OpPing, 0, p)
}

// RTT returns how long the peer took to answer the last ping of PingInterval that
// it has answered, 0 before. Time in which a ping waits in the queue counts, and so
// does that in which the connection is not read from.
func (c *Conn) RTT() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Duration(c.rtt)
}

// Close sends a close frame with a code that may go to a peer, or with none
// for NoStatus, and closes the connection when the peer has answered or the
// time for that is over. Messages that arrive meanwhile are dropped. It returns
// ErrClosed when a close frame was sent already, and epi.ErrQueueFull, having done
// nothing, when there is no room for the frame: then wait, or Abort.
func (c *Conn) Close(code Code, reason string) error {
	p, err := closePayload(code, reason)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.writeLocked(ws.OpClose, 0, true, p); err != nil {
		return err
	}
	c.set(closeSent)
	c.resumeLocked() // for the answer
	c.awaitEnd()
	return nil
}

// Abort closes the connection at once, without a close frame: what is queued is
// thrown away and the peer sees a reset. OnMessage is not called any more, and
// OnClose gets epi.ErrAborted unless the end had another reason before. It
// returns ErrClosed when the connection is closed already.
func (c *Conn) Abort() error {
	c.mu.Lock()
	c.set(closeSent)
	c.mu.Unlock()
	return wrapClosed(c.conn.Abort())
}

// Pause stops reading: OnMessage is not called until Resume, also not with
// messages that have arrived. The peer's pings are not answered meanwhile, its
// close is not seen, and it is not given up for its silence. Called outside a
// callback, one that is under way may still end.
func (c *Conn) Pause() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state.Load()&(closeSent|isOver) != 0 {
		return // what arrives is dropped anyway, but for the answer
	}
	c.set(isPaused)
	c.conn.Pause()
}

// Resume goes on reading.
func (c *Conn) Resume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.resumeLocked()
}

func (c *Conn) resumeLocked() {
	if c.state.Load()&isPaused == 0 {
		return
	}
	c.unset(isPaused)
	c.set(arrived) // it has had no time to answer a ping
	if c.state.Load()&stalled == 0 {
		c.conn.Resume()
	}
}

// awaitEnd bounds the time until the peer ends the connection. The caller holds mu.
func (c *Conn) awaitEnd() {
	c.setTimeout(c.with.closeTimeout, func() {
		c.mu.Lock()
		if c.state.Load()&closeRead == 0 {
			c.setCause(ErrCloseTimeout)
		}
		c.mu.Unlock()
		_ = c.conn.Close()
	})
}

// setTimer replaces the connection's timer. The caller holds mu.
func (c *Conn) setTimer(d time.Duration, fn func()) {
	c.stopTimer()
	if c.state.Load()&isOver == 0 {
		c.timer = c.conn.Loop().After(d, fn)
	}
}

// setTimeout is setTimer for what the peer has to do in time. It may have done it, and
// the program was stopped or its loop held up: so fn comes after one more look. The
// caller holds mu.
func (c *Conn) setTimeout(d time.Duration, fn func()) {
	var first *epi.Timer
	c.setTimer(d, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.timer == first { // else it was stopped at the last moment
			c.setTimer(min(max(d, time.Millisecond), lastLook), fn) // not in the same turn
		}
	})
	first = c.timer
}

func (c *Conn) stopTimer() {
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
}

func (c *Conn) writeFrame(op Opcode, rsv byte, p []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.writeLocked(op, rsv, true, p)
}

// mayWrite reports why a frame cannot be sent, if it cannot; message says that it
// begins one. The caller holds mu.
func (c *Conn) mayWrite(message bool) error {
	switch st := c.state.Load(); {
	case st&(isOpen|closeSent|isOver) != isOpen:
		return ErrClosed
	case message && st&withinPart != 0:
		return ErrWithinMessage
	}
	return nil
}

// writeLocked queues a frame unless the close frame was sent. The caller holds mu.
func (c *Conn) writeLocked(op Opcode, rsv byte, fin bool, p []byte) error {
	if err := c.mayWrite(op == Text || op == Binary); err != nil {
		return err
	}
	n, err := c.writeRaw(op, rsv, fin, p)
	c.written += int64(n)
	return wrapClosed(err)
}

func (c *Conn) writeRaw(op Opcode, rsv byte, fin bool, p []byte) (n int, err error) {
	if !c.with.client {
		var head [ws.MaxHeaderSize]byte
		return c.conn.Writev(appendHeader(head[:0], op, rsv, fin, len(p)), p)
	}
	b := buffers.get()
	defer buffers.put(b)
	appendMasked(b, op, rsv, fin, p)
	return c.conn.Writev(b.Bytes()) // which only queues: mu is held
}

func wrapClosed(err error) error {
	if errors.Is(err, epi.ErrClosed) {
		return ErrClosed
	}
	return err
}

// A session is a Conn as the engine sees it.
type session Conn

// OnOpen begins the upgrade where there is something to begin with.
func (s *session) OnOpen(ec *epi.Conn) error {
	c := (*Conn)(s)
	c.conn = ec
	if o, ok := c.opening.(interface{ begin(*Conn) error }); ok {
		return o.begin(c)
	}
	return nil
}

func (s *session) OnData(ec *epi.Conn) error {
	c := (*Conn)(s)
	if c.state.Load()&arrived == 0 {
		c.set(arrived)
	}
	if c.opening != nil {
		if err := c.opening.advance(c); err != nil || c.handler == nil {
			return err
		}
		if err := c.opened(); err != nil {
			return c.fail(err)
		}
	}
	err := c.receive()
	ec.Hold(c.part.held())
	if err != nil {
		return c.fail(err)
	}
	return nil
}

// opened goes over from the upgrade to frames.
func (c *Conn) opened() error {
	o := c.opening
	c.opening = nil
	c.mu.Lock()
	c.set(isOpen)
	if _, ok := c.handler.(PartHandler); ok {
		c.set(inParts)
	}
	if c.with.pingInterval > 0 {
		c.setTimer(c.with.pingInterval, c.pulse)
	}
	c.mu.Unlock()
	o.opened()
	if h, ok := c.handler.(OpenHandler); ok {
		return h.OnOpen(c)
	}
	return nil
}

// pulse sends a ping, or gives up a peer that has not answered the last one: one
// that for a whole interval has sent nothing, while it was listened to, and has taken
// nothing of what waits for it. A busy peer is alive without being asked.
func (c *Conn) pulse() {
	c.mu.Lock()
	defer c.mu.Unlock()
	st := c.state.Load()
	if st&(closeSent|isOver) != 0 {
		return
	}
	alive := st&arrived != 0
	c.unset(arrived)
	if !alive {
		alive = c.takes(st)
	}
	switch {
	case alive:
		c.unset(suspect)
	case st&suspect == 0:
		c.set(suspect) // what it has sent may wait in the kernel: see setTimeout
		c.setTimer(min(lastLook, c.with.pingInterval), c.pulse)
		return
	default:
		c.setCause(ErrPingTimeout)
		_ = c.conn.Abort()
		return
	}
	c.ping()
	c.setTimer(c.with.pingInterval, c.pulse)
}

// takes reports whether a silent peer has taken something since the last ping, or
// whether its silence means nothing, because it was not listened to or not spoken to.
// The caller holds mu.
func (c *Conn) takes(st stateBits) bool {
	waiting := c.conn.Queued()
	taken, outstanding := c.conn.Delivered()
	if outstanding == 0 { // what waits here is not with the kernel yet
		return waiting > 0 || st&(isPaused|stalled) != 0
	}
	if taken == 0 { // the system does not count: what the kernel has taken must do
		taken = uint64(max(0, c.written-int64(waiting)))
	}
	before := c.taken
	c.taken = taken
	return taken > before
}

// ping sends a ping that says when it was sent. The caller holds mu.
func (c *Conn) ping() {
	now := int64(time.Since(epoch))
	var p [pingSize]byte
	wire.BigEndian.PutUint64(p[:], uint64(now))
	if c.writeLocked(ws.OpPing, 0, true, p[:]) == nil {
		c.pinged = now // a full queue shows in OnClose, if it matters
	}
}

// ponged measures how long the answer to the last ping took.
func (c *Conn) ponged(p []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(p) == pingSize && c.pinged != 0 && wire.BigEndian.Uint64(p) == uint64(c.pinged) {
		c.rtt = int64(time.Since(epoch)) - c.pinged
		c.pinged = 0
	}
}

// fail shows the peer why the connection ends and returns the reason.
func (c *Conn) fail(err error) error {
	shown := &CloseError{Code: InternalError}
	errors.As(err, &shown)
	p, perr := closePayload(shown.Code, fitReason(shown.Reason))
	if perr != nil {
		p, _ = closePayload(InternalError, "")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.writeLocked(ws.OpClose, 0, true, p) // what does not fit into the queue is not sent
	c.set(closeSent)
	c.setCause(err)
	return err
}

// OnDrain goes on reading where the reader stopped for a full queue.
func (s *session) OnDrain(*epi.Conn) {
	c := (*Conn)(s)
	c.unstall()
	if h, ok := c.handler.(DrainHandler); ok {
		h.OnDrain(c)
	}
}

// OnShutdown lets the peer know that the server goes away (RFC 6455, section 7.4.1).
// The engine does not wait for its answer, only until it has the close frame.
func (s *session) OnShutdown(*epi.Conn) {
	_ = (*Conn)(s).Close(GoingAway, "") // ErrClosed: it has another reason already, or is no WebSocket yet
}

// OnTimeout lets the peer know that it was silent for too long.
func (s *session) OnTimeout(_ *epi.Conn, _ error) {
	_ = (*Conn)(s).Close(GoingAway, "idle") // ErrClosed: it has another reason already, or is no WebSocket yet
}

func (s *session) OnClose(_ *epi.Conn, err error) {
	c := (*Conn)(s)
	c.mu.Lock()
	c.set(isOver)
	c.stopTimer()
	if c.cause != nil {
		err = c.cause
	} else if (err == io.EOF || err == epi.ErrTruncated) && c.state.Load()&closeRead == 0 {
		err = io.ErrUnexpectedEOF // over TLS and without it, the stream was cut
	}
	if err == errAnswered {
		err = nil
	}
	c.mu.Unlock()
	c.dropPart()
	if c.opening != nil {
		c.opening.failed(err)
		return
	}
	if c.handler != nil {
		c.handler.OnClose(c, err)
	}
}

// errAnswered is the cause when the peer has answered our close frame.
var errAnswered = errors.New("close frame was answered")
