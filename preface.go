package epi

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"

	"github.com/epinet/epi/internal/driver"
	"github.com/epinet/epi/internal/proxyheader"
	"github.com/epinet/epi/internal/tlspipe"
	"github.com/epinet/epi/internal/tlsrecord"
)

// An extra is what only some connections have.
type extra struct {
	tls       *tlspipe.Pipe    // nil on a plain connection
	proxy     bool             // the holder's; a PROXY header is looked for
	trusted   bool             // the holder's; and the peer may send one
	expires   int64            // the holder's; when the time for header and handshake is over
	heard     int64            // the holder's; when bytes last arrived; for a ReadTimeout
	stalled   int64            // the holder's; a send has been waiting since; 0 when none is
	unacked   int              // the holder's; what the peer had not acknowledged when it was last asked
	asked     int64            // the holder's; when that was
	lingering lingering        // the holder's
	parts     [partKinds]int64 // the holder's; since when each has been unfinished; 0 when it is not there
	held      int              // the holder's; by its handler, as Hold says
	dialing   *dialing         // of the loop, of the holder during a handshake; while Dial is under way
	pipe      *driver.Pipe     // the holder's; bytes to be sent before those in the queues; nil when there are none
	detach    func(net.Conn)   // of Detach
	conn      net.Conn         // which gets it

	drainsWholly bool // the holder's; OnDrain comes when nothing is queued, not at LowWater
}

// extras returns c.extra, which it makes when it is not there yet. Of the holder.
func (c *Conn) extras() *extra {
	if c.extra == nil {
		c.extra = spareExtras.Get().(*extra)
	}
	return c.extra
}

var spareExtras = sync.Pool{New: func() any { return new(extra) }}

// unused reports whether nothing is kept in x but what was last known of the peer's
// acknowledgements.
func (x *extra) unused() bool {
	return x.tls == nil && !x.proxy && !x.trusted && x.expires|x.heard|x.stalled|x.lingering.begun == 0 &&
		x.parts == [partKinds]int64{} && x.held == 0 && x.pipe == nil && x.dialing == nil && x.detach == nil && x.conn == nil && !x.drainsWholly
}

// dropExtra gives extra back when nothing is kept in it. Of the holder.
func (c *Conn) dropExtra() {
	if x := c.extra; x != nil && x.unused() {
		c.extra = nil
		*x = extra{}
		spareExtras.Put(x)
	}
}

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

// prefaceReceived takes bytes that arrive before the handler is told.
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

// prefaceEnded follows up the end of the peer's bytes before the handler was told.
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
	return t != nil && t.Full()
}

// dropPreface ends a handshake that is under way.
func (c *Conn) dropPreface() {
	if t := c.extra.tlsPipe(); t != nil {
		t.AbandonHandshake(net.ErrClosed)
	}
}

// proxies are the peers that send a PROXY header.
type proxies struct {
	networks []netip.Prefix // of internet sockets
	users    []uint32       // of Unix sockets
}

// newProxies returns nil when no header is to be looked for.
func newProxies(o *ListenOptions) (*proxies, error) {
	if o.ProxyFrom == nil && o.ProxyUsers == nil {
		return nil, nil
	}
	p := &proxies{users: o.ProxyUsers}
	if p.users == nil {
		p.users = []uint32{0, uint32(os.Geteuid())}
	}
	for i, prefix := range o.ProxyFrom {
		if !prefix.IsValid() {
			return nil, fmt.Errorf("ListenOptions.ProxyFrom[%d] is no network: make it by netip.ParsePrefix", i)
		}
		p.networks = append(p.networks, prefix)
	}
	return p, nil
}

// fromProxy reports whether the peer may send a PROXY header. What kind of socket
// the listener has decides what is asked: whoever cannot be told is not trusted.
func (c *Conn) fromProxy() bool {
	if !c.origin.unix {
		return c.origin.proxies.hasNetwork(c.host)
	}
	user, err := c.credentials()
	return err == nil && slices.Contains(c.origin.proxies.users, user.UID)
}

// hasNetwork reports whether addr is in one of the networks, in whichever of its
// two forms an IPv4 address or a network is written. A zone does not matter.
func (p *proxies) hasNetwork(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	if !addr.IsValid() {
		return false
	}
	mapped := netip.AddrFrom16(addr.As16())
	return slices.ContainsFunc(p.networks, func(network netip.Prefix) bool {
		return network.Contains(addr) || network.Addr().Is4In6() && network.Contains(mapped)
	})
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
