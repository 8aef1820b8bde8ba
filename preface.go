package epi

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
)

// An extra is what only some connections have.
type extra struct {
	tls     *tlsLayer        // nil on a plain connection
	proxy   bool             // the holder's; a PROXY header is looked for
	trusted bool             // the holder's; and the peer may send one
	expires int64            // the holder's; when the time for header and handshake is over
	heard   int64            // the holder's; when bytes last arrived; for a ReadTimeout
	stalled int64            // the holder's; a send has been waiting since; 0 when none is
	unacked int              // the holder's; what the peer had not acknowledged when it was last asked
	asked   int64            // the holder's; when that was
	closing closing          // the holder's
	parts   [partKinds]int64 // the holder's; since when each has been unfinished; 0 when it is not there
	held    int              // the holder's; by its handler, as Hold says
	detach  func(net.Conn)   // of Detach
	conn    net.Conn         // which gets it
}

// extras returns c.extra, which it makes when it is not there yet. Of the holder.
func (c *Conn) extras() *extra {
	if c.extra == nil {
		c.extra = &extra{}
	}
	return c.extra
}

// beginPreface begins what comes before the handler hears of a connection: a
// PROXY header and a TLS handshake, for both of which HandshakeTimeout is
// allowed. It reports whether there is anything of the kind.
func (c *Conn) beginPreface() bool {
	from := c.origin
	if from.tls == nil && from.proxies == nil {
		return false
	}
	x := c.extras()
	if from.proxies != nil {
		x.proxy, x.trusted = true, c.fromProxy()
	}
	if from.tls != nil {
		x.tls = newTLSLayer(c, from.tls, from.dials)
	}
	x.expires = deadline(c.loop.now(), c.loop.cfg.handshakeTimeout)
	c.mu.Lock()
	c.unset(opening)
	c.set(handshaking)
	c.mu.Unlock()
	c.wakeAt(x.expires)
	if from.dials {
		c.beginHandshake() // the client speaks first
	}
	return true
}

func newTLSLayer(c *Conn, config *tls.Config, client bool) *tlsLayer {
	t := &tlsLayer{owner: c}
	if client {
		t.conn = tls.Client((*transport)(t), config)
	} else {
		t.conn = tls.Server((*transport)(t), config)
	}
	return t
}

// prefaceReceived takes bytes that arrive before the handler is told.
func (c *Conn) prefaceReceived(p []byte) {
	x, st := c.extra, c.state.Load()
	switch {
	case x.tls != nil && x.tls.shake != nil && st&(ending&^draining) == 0:
		x.tls.shake.feed(p) // what is queued leaves after the handshake, also after Close
		c.letShake()
		c.adjustReceiving()
		return
	case st&ending != 0:
		return
	case c.inbox != nil:
		c.inbox.Append(&c.loop.pool, p)
	default:
		c.inbox = c.loop.pool.Inbox(p)
	}
	c.goOnWithPreface()
}

// goOnWithPreface looks whether the next step can be taken with what is there.
func (c *Conn) goOnWithPreface() {
	x := c.extra
	if x.proxy && !c.takeProxyHeader() {
		return
	}
	if x.tls == nil {
		c.begin()
		c.offerAgain(true)
		return
	}
	if c.inbox != nil {
		c.awaitHello()
	}
}

// awaitHello begins the handshake when the client's first message is there as a
// whole: one that says nothing, or not enough, costs no goroutine.
func (c *Conn) awaitHello() {
	t := c.extra.tls
	if t.hello == nil {
		t.hello = &hello{}
	}
	switch t.hello.look(c.inbox.Bytes()) {
	case helloAwaited:
	case helloWhole:
		c.beginHandshake()
	case helloBroken: // crypto/tls knows which alert to send
		c.beginHandshake()
		if t.shake != nil {
			t.shake.close(errNoHello)
		}
	case notTLS:
		c.refuse(aborting, fmt.Errorf("%w: %w", ErrHandshake, errNoHello))
	}
}

var errNoHello = errors.New("the client does not begin with a ClientHello: it does not speak TLS")

// prefaceEnded follows up the end of the peer's bytes before the handler was told.
func (c *Conn) prefaceEnded(cause error) {
	if x := c.extra; x.proxy && !x.trusted && x.tls == nil && c.state.Load()&ending == 0 {
		x.proxy = false // what has arrived is no header
		c.begin()
		c.offerAgain(true)
		return
	}
	if orderly(cause) {
		cause = io.ErrUnexpectedEOF
	}
	if t := c.extra.tls; t != nil && t.shake != nil {
		t.shake.close(cause) // which may have all that it needs
		if c.loop.engine.handshakes.withdraw(t.shake) {
			t.shake = nil // it would need an answer
			c.handshakeFailed(cause)
		}
		return
	}
	missing := ErrHandshake
	if c.extra.proxy && c.extra.trusted {
		missing = ErrProxyHeader
	}
	_ = c.end(aborting, fmt.Errorf("%w: %w", missing, cause))
}

// checkPreface ends the time for header and handshake.
func (c *Conn) checkPreface(now int64) (next int64) {
	if c.state.Load()&(handshaking|ending) != handshaking {
		return maxTime
	}
	if due := c.extra.expires; due > now {
		return due
	}
	c.refuse(aborting, ErrHandshakeTimeout)
	return maxTime
}

// prefaceFull reports whether no more is to be read before the next step.
func (c *Conn) prefaceFull() bool {
	t := c.extra.tls
	return t != nil && t.shake != nil && t.shake.full()
}

// dropPreface ends a handshake that is under way.
func (c *Conn) dropPreface() {
	if t := c.extra.tls; t != nil && t.shake != nil {
		t.shake.abandon(net.ErrClosed)
		c.loop.engine.handshakes.withdraw(t.shake)
	}
}
