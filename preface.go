package epi

import (
	"errors"
	"fmt"
	"io"
	"net"
	"slices"

	"github.com/epinet/epi/internal/proxyheader"
	"github.com/epinet/epi/internal/tlsrecord"
)

// beginPreface begins what comes before a connection has a handler: a PROXY header
// and a TLS handshake. HandshakeTimeout is for both together. It reports whether there is anything of the kind.
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
		x.tls = c.newPipe(from.tls)
	}
	x.expires = deadline(c.loop.now(), c.timeouts().handshake)
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

// prefaceReceived takes bytes that arrive before OnOpen.
func (c *Conn) prefaceReceived(p []byte) {
	x, st := c.extra, c.state.Load()
	switch {
	case x.tls != nil && x.tls.InHandshake() && st&(ending&^closing) == 0:
		x.tls.Feed(p) // what is queued leaves after the handshake, also after Close
		c.yieldToHandshakes()
		c.adjustReceiving()
		return
	case st&ending != 0:
		return
	case c.inbox != nil:
		c.inbox.Append(&c.loop.pool, p)
	default:
		c.inbox = c.loop.pool.Inbox(p)
	}
	c.continuePreface()
}

// continuePreface looks whether the next step can be taken with what is there.
func (c *Conn) continuePreface() {
	x := c.extra
	if x.proxy && !c.takeProxyHeader() {
		return
	}
	if x.tls == nil {
		c.open()
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
	switch t.Look(c.inbox.Bytes()) {
	case tlsrecord.HelloAwaited:
	case tlsrecord.HelloWhole:
		c.beginHandshake()
	case tlsrecord.HelloBroken: // crypto/tls knows which alert to send
		if c.beginHandshake() {
			t.EndHandshake(errNoHello)
		}
	case tlsrecord.NotTLS:
		c.refuse(aborting, fmt.Errorf("%w: %w", ErrHandshake, errNoHello))
	}
}

var errNoHello = errors.New("the client does not begin with a ClientHello: it does not speak TLS")

// prefaceEnded follows up the end of the peer's bytes before OnOpen.
func (c *Conn) prefaceEnded(cause error) {
	if x := c.extra; x.proxy && !x.trusted && x.tls == nil && c.state.Load()&ending == 0 {
		x.proxy = false // what has arrived is no header
		c.open()
		c.offerAgain(true)
		return
	}
	if orderly(cause) {
		cause = io.ErrUnexpectedEOF
	}
	if t := c.extra.tls; t != nil && t.InHandshake() {
		if !t.EndHandshake(cause) {
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

// prefaceFull reports whether no more is to be read before the next step.
func (c *Conn) prefaceFull() bool {
	t := c.extra.tls
	return t != nil && t.Full()
}

// dropPreface ends a handshake that is under way.
func (c *Conn) dropPreface() {
	if t := c.extra.tlsPipe(); t != nil {
		t.AbandonHandshake(net.ErrClosed)
	}
}

// fromProxy reports whether the peer may send a PROXY header. The listener's kind of
// socket decides how that is found out; a peer that cannot be identified is not trusted.
func (c *Conn) fromProxy() bool {
	if !c.origin.unix {
		return c.origin.proxies.HasNetwork(c.host)
	}
	user, err := c.credentials()
	return err == nil && slices.Contains(c.origin.proxies.Users, user.UID)
}

// isClient reports whether the peer is a client, and not a proxy that will say who
// is.
func (c *Conn) isClient() bool {
	return !c.origin.unix && (c.origin.proxies == nil || !c.fromProxy())
}

// takeProxyHeader takes the header off the first bytes, and reports whether the
// connection goes on.
func (c *Conn) takeProxyHeader() bool {
	data := c.inbox.Bytes()
	if !c.extra.trusted {
		return c.takesNoProxyHeader(data)
	}
	size, err := proxyheader.Size(data)
	switch {
	case err != nil:
		c.refuse(aborting, fmt.Errorf("%w: %w", ErrProxyHeader, err))
		return false
	case size == 0 || size > len(data):
		return false
	}
	peer, err := proxyheader.Parse(data[:size])
	if err != nil {
		c.refuse(aborting, fmt.Errorf("%w: %w", ErrProxyHeader, err))
		return false
	}
	if peer.IsValid() {
		c.setPeer(peer)
		if !c.enterAddress() {
			_ = c.end(aborting, fmt.Errorf("%w: MaxConnsPerIP is %d", ErrTooManyPerIP, c.loop.cfg.maxConnsPerIP))
			return false
		}
	}
	c.extra.proxy = false
	c.inbox.Keep(len(data) - size)
	if len(data) == size {
		c.dropInbox()
	}
	return true
}

// takesNoProxyHeader sees to it that a peer which may not send a header sends
// none, and reports whether the connection goes on. Of a beginning that could be
// one, nothing is handed on before the next byte.
func (c *Conn) takesNoProxyHeader(data []byte) bool {
	switch proxyheader.Look(data) {
	case proxyheader.Header:
		c.refuse(aborting, ErrProxyUntrusted)
		return false
	case proxyheader.Unclear:
		return false
	}
	c.extra.proxy = false
	return true
}
