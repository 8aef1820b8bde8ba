package epi

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"

	"github.com/pires/go-proxyproto"
)

// An extra is what only some connections have.
type extra struct {
	tls     *tlsLayer      // nil on a plain connection
	proxy   bool           // the holder's; a PROXY header is looked for
	unacked int            // the holder's; what the peer had not acknowledged when its progress was last looked at
	expires int64          // the holder's; when the time for header and handshake is over
	detach  func(net.Conn) // of Detach
	conn    net.Conn       // which gets it
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
	x.proxy = from.proxies != nil
	if from.tls != nil {
		x.tls = newTLSLayer(c, from.tls, from.dials)
	}
	x.expires = clock() + int64(c.loop.cfg.handshakeTimeout)
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
		c.offerAgain()
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
		t.shake.close(errNoHello)
	case notTLS:
		c.refuse(aborting, fmt.Errorf("%w: %w", ErrHandshake, errNoHello))
	}
}

var errNoHello = errors.New("the client does not begin with a ClientHello: it does not speak TLS")

// prefaceEnded follows up the end of the peer's bytes before the handler was told.
func (c *Conn) prefaceEnded(cause error) {
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
	if c.extra.proxy {
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

// proxies are the peers that send a PROXY header.
type proxies []netip.Prefix

// trust reports whether a peer is one of them. Those of a Unix socket have no
// address: who may open the file is trusted.
func (p proxies) trust(peer netip.AddrPort) bool {
	if !peer.IsValid() {
		return true
	}
	addr := peer.Addr().Unmap()
	for _, prefix := range p {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// The two forms of a PROXY header (the PROXY protocol, sections 2.1 and 2.2).
var (
	proxyText   = []byte("PROXY ")
	proxyBinary = []byte("\r\n\r\n\x00\r\nQUIT\n")
)

const (
	maxProxyText    = 107 // section 2.1: the longest line
	proxyFixed      = 16  // of the binary form: signature, version, family and length
	maxProxyBinary  = 4 << 10
	proxyLengthByte = 14 // where the length is
)

// proxyUnspecified is how the binary form says PROXY for a connection whose
// address is of a family that the form does not have (section 2.2).
var proxyUnspecified = append(bytes.Clone(proxyBinary), 0x21, 0x00)

// takeProxyHeader takes the header off the first bytes, and reports whether the
// connection goes on.
func (c *Conn) takeProxyHeader() bool {
	data := c.inbox.Bytes()
	if !c.origin.proxies.trust(c.peer) {
		c.extra.proxy = false
		if bytes.HasPrefix(data, proxyText) || bytes.HasPrefix(data, proxyBinary) {
			c.refuse(aborting, ErrProxyUntrusted)
			return false
		}
		return true
	}
	size, err := proxyHeaderSize(data)
	switch {
	case err != nil:
		c.refuse(aborting, err)
		return false
	case size == 0 || size > len(data):
		return false
	}
	peer, err := parseProxyHeader(data[:size])
	if err != nil {
		c.refuse(aborting, fmt.Errorf("%w: %w", ErrProxyHeader, err))
		return false
	}
	if peer.IsValid() {
		c.mu.Lock()
		c.peer = peer
		c.mu.Unlock()
	}
	c.extra.proxy = false
	c.inbox.Keep(len(data) - size)
	if len(data) == size {
		c.dropInbox()
	}
	return true
}

// proxyHeaderSize returns the size of the header that data begins with, 0 when
// it cannot be told yet. The header need not be there as a whole.
func proxyHeaderSize(data []byte) (int, error) {
	switch {
	case bytes.HasPrefix(data, proxyText):
		end := bytes.IndexByte(data[:min(len(data), maxProxyText)], '\n')
		if end < 0 && len(data) >= maxProxyText {
			return 0, fmt.Errorf("%w: its line is longer than %d bytes", ErrProxyHeader, maxProxyText)
		}
		return end + 1, nil
	case bytes.HasPrefix(data, proxyBinary):
		if len(data) < proxyFixed {
			return 0, nil
		}
		size := proxyFixed + int(binary.BigEndian.Uint16(data[proxyLengthByte:]))
		if size > maxProxyBinary {
			return 0, fmt.Errorf("%w: it has %d bytes, at most %d are taken", ErrProxyHeader, size, maxProxyBinary)
		}
		return size, nil
	case bytes.HasPrefix(proxyText, data), bytes.HasPrefix(proxyBinary, data):
		return 0, nil
	}
	return 0, fmt.Errorf("%w: it is missing", ErrProxyHeader)
}

// parseProxyHeader returns the client's address. It is not valid where the
// header says none: for a connection of the proxy's own, or an unknown family.
func parseProxyHeader(header []byte) (netip.AddrPort, error) {
	if bytes.HasPrefix(header, proxyUnspecified) {
		return netip.AddrPort{}, nil // as for PROXY UNKNOWN; go-proxyproto refuses it
	}
	h, err := proxyproto.Read(bufio.NewReader(bytes.NewReader(header)))
	if err != nil {
		return netip.AddrPort{}, err
	}
	source, _, ok := h.TCPAddrs()
	if !ok || h.Command.IsLocal() {
		return netip.AddrPort{}, nil
	}
	peer := source.AddrPort()
	return netip.AddrPortFrom(peer.Addr().Unmap(), peer.Port()), nil
}
