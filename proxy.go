package epi

import (
	"fmt"
	"net/netip"
	"os"
	"slices"

	"github.com/epinet/epi/internal/proxyheader"
)

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
		return c.origin.proxies.hasNetwork(c.peer.Addr())
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
		c.mu.Lock()
		c.peer = peer
		c.mu.Unlock()
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
