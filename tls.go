package epi

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/epinet/epi/internal/seam"
	"github.com/epinet/epi/internal/tlspipe"
)

// TLS returns what was agreed on in the handshake. It is nil on a plain
// connection, and where the handshake has not succeeded: in OnClose after a Dial
// that has failed. Callbacks only; in the function given to Listen, too. It never
// blocks.
func (c *Conn) TLS() *tls.ConnectionState {
	if t := c.extra.tlsPipe(); t != nil {
		return t.State()
	}
	return nil
}

// handshakes are what an engine bounds its TLS handshakes by.
type handshakes struct {
	limit   *tlspipe.Limit // MaxHandshakes
	perIP   addresses      // MaxHandshakesPerIP
	running *seam.Crew     // their goroutines
}

// shareOfSilence is the part of HandshakeTimeout that a peer may be silent for while
// others wait for its place.
const shareOfSilence = 5

func (h *handshakes) init(c *config) {
	h.running = seam.NewCrew(c.Spawn)
	h.perIP.most = c.maxHandshakesPerIP
	h.limit = tlspipe.NewLimit(tlspipe.LimitConfig{
		Places:    c.maxHandshakes,
		Slots:     c.slots,
		MaxInput:  c.maxHandshakeInput,
		Silence:   c.timeouts.handshake / shareOfSilence,
		Time:      c.Clock,
		After:     func(d time.Duration, ring func()) tlspipe.Alarm { return c.After(d, ring) },
		Condition: func(l sync.Locker) tlspipe.Condition { return c.Condition(l) },
		Spawn:     h.running.Go,
	})
}

// tlsHost is how a Pipe sees its Conn.
type tlsHost Conn

func (h *tlsHost) LocalAddr() net.Addr  { return (*Conn)(h).LocalAddr() }
func (h *tlsHost) RemoteAddr() net.Addr { return (*Conn)(h).RemoteAddr() }
func (h *tlsHost) Wake()                { (*Conn)(h).request(doTLS) }
func (h *tlsHost) Panicked(v any) error { return h.loop.panicked("TLS handshake", v) }
func (h *tlsHost) Now() int64           { return h.loop.now() }
func (h *tlsHost) Looked() int64        { return h.loop.looked() }

// Later does nothing when the loop has ended: then nobody waits.
func (h *tlsHost) Later(fn func()) { _ = h.loop.post(fn, unbounded) }

func (h *tlsHost) HandshakeOver() {
	if from := (*Conn)(h).handshakeFrom(); from.IsValid() {
		h.loop.engine.handshakes.perIP.leave(from)
	}
}

// handshakeFrom returns as whose the connection's handshake counts for
// MaxHandshakesPerIP, or the zero Addr. Who is dialled is no client, and a Unix socket
// without a PROXY header has no strangers.
func (c *Conn) handshakeFrom() netip.Addr {
	if c.loop.engine.handshakes.perIP.most == noLimitPerIP || c.origin.dials {
		return netip.Addr{}
	}
	return c.host
}

// newPipe makes the connection's TLS.
func (c *Conn) newPipe(config *tls.Config) *tlspipe.Pipe {
	if c.origin.dials {
		return tlspipe.Client(config, (*tlsHost)(c), &c.loop.pool)
	}
	return tlspipe.Server(config, (*tlsHost)(c), &c.loop.pool)
}

// beginHandshake lets the handshake begin with what has arrived, and reports whether
// it may.
func (c *Conn) beginHandshake() bool {
	all := &c.loop.engine.handshakes
	if from := c.handshakeFrom(); from.IsValid() && !all.perIP.enter(from) {
		c.refuse(aborting, fmt.Errorf("%w: MaxHandshakesPerIP is %d", ErrTooManyHandshakes, all.perIP.most))
		return false
	}
	var arrived []byte
	if c.inbox != nil {
		arrived = c.inbox.Bytes()
	}
	c.extra.tls.Start(all.limit, arrived)
	c.dropInbox()
	c.yieldToHandshakes()
	return true
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

// advanceHandshake goes on where the handshake has ended.
func (c *Conn) advanceHandshake() {
	t := c.extra.tlsPipe()
	if t == nil {
		return
	}
	done, err := t.FinishHandshake()
	switch {
	case !done:
		return
	case err != nil:
		c.handshakeFailed(err)
		return
	}
	c.loop.count.handshakes.Add(1)
	if d := c.extra.dialing; d != nil && !d.end() {
		return // ctx ended first
	}
	c.open()
	c.unseal()
	c.offerEnd()
}

// handshakeFailed closes the connection when the alert, if there is one, is sent.
func (c *Conn) handshakeFailed(err error) {
	if c.state.Load()&(ending&^closing) != 0 {
		return // that was the reason
	}
	how := closing
	switch {
	case errors.Is(err, tlspipe.ErrCut):
		c.loop.count.handshakesCut.Add(1)
		how = aborting // it has kept others waiting for long enough
		err = fmt.Errorf("%w: %w", ErrHandshakeTimeout, err)
	case errors.Is(err, io.EOF): // which would stand for an orderly end
		err = io.ErrUnexpectedEOF
	}
	err = fmt.Errorf("%w: %w", ErrHandshake, err)
	c.failTLS(err)
	c.mu.Lock()
	c.unset(handshaking)
	c.mu.Unlock()
	c.refuse(how, err)
}

// cipherReceived decrypts what has arrived.
func (c *Conn) cipherReceived(p []byte) {
	t := c.extra.tls
	_, before := t.Record()
	t.Feed(p)
	c.unseal()
	unfinished, ended := t.Record()
	c.notePart(partRecord, unfinished, ended != before)
}

// unseal lets the handler have the plain bytes of what was fed.
func (c *Conn) unseal() {
	t := c.extra.tls
	for err := error(nil); err == nil; {
		var n int
		room := c.loop.pool.Get(t.Room())
		n, err = t.Read(room[:cap(room)])
		if n > 0 {
			c.received(room[:n])
		}
		c.loop.pool.Put(room)
		if err != nil {
			c.unsealed(err)
		}
	}
}

// unsealed follows up an error of Read.
func (c *Conn) unsealed(err error) {
	switch err {
	case tlspipe.ErrStarved:
	case io.EOF:
		c.loop.drv.Receive(&c.sock, false)
		c.endReading(io.EOF)
		c.offerEnd()
	default: // the peer gets an alert
		c.giveUpTLS(err)
	}
}

// giveUpTLS closes the connection for an error of its tls.Conn.
func (c *Conn) giveUpTLS(err error) {
	err = fmt.Errorf("tls: %w", err)
	c.failTLS(err)
	_ = c.end(closing, err)
}

// failTLS ends sealing: nothing but what is sealed already, an alert, can be sent. On a
// connection that is closing, too, OnClose gets the reason why the rest is not delivered.
func (c *Conn) failTLS(cause error) {
	lost := c.extra.tls.Fail()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.queue != nil {
		lost += c.queue.Len()
		c.loop.pool.PutQueue(c.queue)
		c.queue = nil
	}
	if lost > 0 && (c.cause == nil || c.cause == io.EOF) {
		c.cause = cause
	}
	c.queued -= lost
}

// seal makes the next of what is queued ciphertext, which is sent next, and returns how
// many bytes less are queued then, mostly a negative number. Sealed bytes count in the
// place of the plain ones; those of a handshake, a few KiB, have not counted before.
func (c *Conn) seal(t *tlspipe.Pipe) (less int) {
	sealed, plain, err := t.Seal(c.loop.cfg.sealBudget)
	if sealed != nil {
		c.sending = sealed
		plain -= sealed.Len()
	}
	if err != nil {
		c.giveUpTLS(err)
	}
	return plain
}

// sealEnd puts close_notify behind everything else, and reports whether it did.
func (c *Conn) sealEnd() (sealed bool) {
	t := c.extra.tlsPipe()
	return t != nil && t.CloseWrite()
}

// hasSealed reports whether something is to be sent that does not count as queued yet.
func (c *Conn) hasSealed() bool {
	t := c.extra.tlsPipe()
	return t != nil && t.Waiting()
}
