package ws

import (
	"bytes"
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
	inflated int // the callbacks'; bytes decompressed since others had their turn

	heard    atomic.Bool // something has arrived since the last ping
	stalled  atomic.Bool // reading waits for the queue to empty, or for others' turns
	checking atomic.Bool // a timer will look whether it has

	mu        sync.Mutex
	timer     *epi.Timer // guarded by mu; for the upgrade, then for pings, then for closing
	cause     error      // guarded by mu; what OnClose is told, unless nil
	window    uint8      // bits of the compressor's window; 0: no compression. Fixed by the upgrade
	settled   bool       // guarded by mu; the upgrade was accepted, refused or given away
	open      bool       // guarded by mu; frames may be sent
	closeSent bool       // guarded by mu; no frame may follow
	closeRead bool       // guarded by mu; the peer's close frame has arrived
	over      bool       // guarded by mu; OnClose was called
	paused    bool       // guarded by mu; by Pause
}

// settle decides the upgrade, once. What comes second, the decision or the time
// limit, is told so.
func (c *Conn) settle() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.settled || c.over {
		return false
	}
	c.settled = true
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
}

// Defaults of Server and Options.
const (
	defaultMaxMessage   = 1 << 20
	defaultCompressFrom = 128
	defaultOpenTimeout  = 10 * time.Second
	defaultCloseTimeout = 5 * time.Second
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

// Write queues a copy of a message. It takes all or nothing; the errors are
// ErrClosed and epi.ErrQueueFull. Text must be UTF-8, which is not checked.
func (c *Conn) Write(op Opcode, p []byte) error {
	if op != Text && op != Binary {
		return fmt.Errorf("opcode %d is not that of a message: choose Text or Binary", op)
	}
	if c.window != 0 && len(p) >= c.with.compressFrom {
		z := deflate(p, c.window)
		defer buffers.put(z)
		if z.Len() < len(p) {
			return c.writeFrame(op, rsv1, z.Bytes())
		}
	}
	return c.writeFrame(op, 0, p)
}

// Ping sends a ping; the peer's pong is not reported.
func (c *Conn) Ping(p []byte) error {
	if len(p) > maxControl {
		return ErrControlTooLong
	}
	return c.writeFrame(ws.OpPing, 0, p)
}

// Close sends a close frame with a code that the peer may be told, or with none
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
	if err := c.writeLocked(ws.OpClose, 0, p); err != nil {
		return err
	}
	c.closeSent = true
	c.resumeLocked() // for the answer
	c.awaitEnd()
	return nil
}

// Abort closes the connection at once, without a close frame: what is queued is
// thrown away and the peer sees a reset. OnMessage is not called any more, and
// OnClose is told epi.ErrAborted unless the end had another reason before. It
// returns ErrClosed when the connection is closed already.
func (c *Conn) Abort() error {
	c.mu.Lock()
	c.closeSent = true
	c.mu.Unlock()
	return wrapClosed(c.conn.Abort())
}

// Pause stops reading: OnMessage is not called until Resume, also not with
// messages that have arrived. The peer's pings are not answered meanwhile, its
// close is not heard of, and it is not given up for its silence. Called outside a
// callback, one that is under way may still end.
func (c *Conn) Pause() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closeSent || c.over {
		return // what arrives is dropped anyway, but for the answer
	}
	c.paused = true
	c.conn.Pause()
}

// Resume goes on reading.
func (c *Conn) Resume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.resumeLocked()
}

func (c *Conn) resumeLocked() {
	if !c.paused {
		return
	}
	c.paused = false
	c.heard.Store(true) // it has had no time to answer a ping
	if !c.stalled.Load() {
		c.conn.Resume()
	}
}

// awaitEnd bounds the time until the peer ends the connection. The caller holds mu.
func (c *Conn) awaitEnd() {
	c.setTimer(c.with.closeTimeout, func() {
		c.mu.Lock()
		if !c.closeRead && c.cause == nil {
			c.cause = ErrCloseTimeout
		}
		c.mu.Unlock()
		_ = c.conn.Close()
	})
}

// setTimer replaces the connection's timer. The caller holds mu.
func (c *Conn) setTimer(d time.Duration, fn func()) {
	c.stopTimer()
	if !c.over {
		c.timer = c.conn.Loop().After(d, fn)
	}
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
	return c.writeLocked(op, rsv, p)
}

// writeLocked queues a frame unless the close frame was sent. The caller holds mu.
func (c *Conn) writeLocked(op Opcode, rsv byte, p []byte) error {
	if !c.open || c.closeSent || c.over {
		return ErrClosed
	}
	if len(p)+ws.MaxHeaderSize > maxScratch {
		var b bytes.Buffer
		appendFrame(&b, op, rsv, c.with.client, p)
		return wrapClosed(c.conn.Send(b.Bytes()))
	}
	b := buffers.get()
	appendFrame(b, op, rsv, c.with.client, p)
	_, err := c.conn.Write(b.Bytes())
	buffers.put(b)
	return wrapClosed(err)
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
	c.heard.Store(true)
	if c.opening != nil {
		if err := c.opening.advance(c); err != nil || c.handler == nil {
			return err
		}
		if err := c.opened(); err != nil {
			return c.fail(err)
		}
	}
	if err := c.receive(); err != nil {
		return c.fail(err)
	}
	return nil
}

// opened goes over from the upgrade to frames.
func (c *Conn) opened() error {
	o := c.opening
	c.opening = nil
	c.mu.Lock()
	c.open = true
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

// pulse sends a ping, or gives up a peer that has not answered the last one.
// A busy peer is alive without being asked.
func (c *Conn) pulse() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closeSent || c.over {
		return
	}
	// A peer that takes bytes slowly, for which reading may have stopped, is
	// the business of Engine.WriteTimeout.
	if !c.heard.Swap(false) && c.conn.Queued() == 0 && !c.paused {
		if c.cause == nil {
			c.cause = ErrPingTimeout
		}
		_ = c.conn.Abort()
		return
	}
	_ = c.writeLocked(ws.OpPing, 0, nil) // a full queue shows in OnClose, if it matters
	c.setTimer(c.with.pingInterval, c.pulse)
}

// fail tells the peer why the connection ends and returns the reason.
func (c *Conn) fail(err error) error {
	told := &CloseError{Code: InternalError}
	errors.As(err, &told)
	p, perr := closePayload(told.Code, told.Reason)
	if perr != nil {
		p, _ = closePayload(InternalError, "")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.writeLocked(ws.OpClose, 0, p) // what does not fit into the queue is not told
	c.closeSent = true
	if c.cause == nil {
		c.cause = err
	}
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

// OnShutdown tells the peer that the server goes away (RFC 6455, section 7.4.1).
// The engine does not wait for its answer, only until it has the close frame.
func (s *session) OnShutdown(*epi.Conn) {
	_ = (*Conn)(s).Close(GoingAway, "") // ErrClosed: it was told another reason, or is no WebSocket yet
}

func (s *session) OnClose(_ *epi.Conn, err error) {
	c := (*Conn)(s)
	c.mu.Lock()
	c.over = true
	c.stopTimer()
	if c.cause != nil {
		err = c.cause
	} else if (err == io.EOF || err == epi.ErrTruncated) && !c.closeRead {
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
