package epi

import (
	"math"
	"net/netip"
	"sync"
	"sync/atomic"
)

// clientNetwork is how many bits of an IPv6 address name a client: who has an address
// has its whole network (RFC 4291, section 2.5.1).
const clientNetwork = 64

// noLimitPerIP is MaxConnsPerIP, or MaxHandshakesPerIP, where there is no bound.
const noLimitPerIP = math.MaxInt

// addresses counts the open connections of each client, for MaxConnsPerIP, or its
// handshakes.
type addresses struct {
	most int // noLimitPerIP: they are not counted

	mu   sync.Mutex
	open map[netip.Addr]int // guarded by mu; by what clientOf returns
}

// enter admits a connection from addr, unless there are as many as may be.
func (a *addresses) enter(addr netip.Addr) bool {
	client := clientOf(addr)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open[client] >= a.most {
		return false
	}
	if a.open == nil {
		a.open = map[netip.Addr]int{}
	}
	a.open[client]++
	return true
}

// leave ends what enter began.
func (a *addresses) leave(addr netip.Addr) {
	client := clientOf(addr)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open[client]--; a.open[client] <= 0 {
		delete(a.open, client)
	}
}

// clientOf returns the address that stands for the client.
func clientOf(addr netip.Addr) netip.Addr {
	addr = addr.Unmap().WithZone("")
	if !addr.Is6() {
		return addr
	}
	return netip.PrefixFrom(addr, clientNetwork).Masked().Addr()
}

// An admission counts the open connections of an engine, and bounds them.
type admission struct {
	most  int          // MaxConns
	conns atomic.Int64 // all loops write it for each connection
	perIP addresses    // those of each client, for MaxConnsPerIP
}

// enter admits a connection, unless there are MaxConns.
func (a *admission) enter() bool {
	if a.conns.Add(1) <= int64(a.most) {
		return true
	}
	a.conns.Add(-1)
	return false
}

// leave ends what enter began.
func (a *admission) leave() { a.conns.Add(-1) }

// enterAddress counts the connection for its client, unless that has too many.
func (c *Conn) enterAddress() bool {
	a := &c.loop.engine.admission.perIP
	switch {
	case a.most == noLimitPerIP:
		return true
	case a.enter(c.host):
		c.mu.Lock()
		c.set(counted)
		c.mu.Unlock()
		return true
	}
	c.loop.count.shedPerIP.Add(1)
	c.logRefused("a client has too many connections", "maxConnsPerIP", a.most)
	return false
}

// A place is what one connection takes up among MaxConns and MaxConnsPerIP.
type place struct {
	admission *admission
	client    netip.Addr // the zero Addr for connections that are not counted by client
}

func (c *Conn) place() place {
	p := place{admission: &c.loop.engine.admission}
	if c.state.Load()&counted != 0 {
		p.client = c.host
	}
	return p
}

// leave gives the place back.
func (p place) leave() {
	p.admission.leave()
	if p.client.IsValid() {
		p.admission.perIP.leave(p.client)
	}
}
