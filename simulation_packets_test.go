package epi

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"time"

	"github.com/epinet/epi/internal/driver"
)

// simulatedPackets are the sockets for datagrams of a simulation, and their peers. Each
// datagram has the number of its sender and its own in its bytes.
type simulatedPackets struct {
	s        *simulation
	listener *PacketListener
	peers    []*packetPeer
	conns    []*simulatedPacketHandler
	server   driver.Endpoint
	written  int // datagrams that were accepted, or refused for lack of room
}

// A packetPeer is a peer: what it sent and what it got.
type packetPeer struct {
	at    driver.Endpoint
	sent  int
	got   int // the highest number of those that came back
	stuck bool
}

func (s *simulation) startPackets() {
	p := &simulatedPackets{s: s}
	s.packets = p
	address := "udp://10.0.0.1:7"
	p.server = driver.Endpoint{AddrPort: netip.MustParseAddrPort("10.0.0.1:7")}
	unix := s.Choose(3) == 0
	if unix {
		address, p.server = "unixgram://@simulated", driver.Endpoint{Path: "@simulated"}
	}
	for i := range 1 + s.Choose(4) {
		at := driver.Endpoint{AddrPort: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 2, byte(i)}), 7)}
		if unix {
			at = driver.Endpoint{Path: fmt.Sprintf("@peer%d", i)}
		}
		s.PacketPeer(at)
		p.peers = append(p.peers, &packetPeer{at: at})
	}
	ln, err := s.engine.ListenPacket(address, func(c *PacketConn) PacketHandler {
		if s.chaos && s.Choose(30) == 0 {
			return nil
		}
		return p.handler(c)
	})
	if err != nil {
		s.Failf("listen for datagrams: %v", err)
	}
	p.listener = ln
}

func (p *simulatedPackets) handler(c *PacketConn) *simulatedPacketHandler {
	h := &simulatedPacketHandler{p: p, conn: c, seen: map[PacketAddr]int{}}
	h.sessions = PacketSessions[int]{Loop: c.Loop(), Idle: time.Second, Max: 1 + p.s.Choose(3), Evict: p.s.Choose(2) == 0}
	h.sessions.OnEnd = func(peer PacketAddr, _ int) { delete(h.seen, peer) }
	p.conns = append(p.conns, h)
	return h
}

// peer sends, or reads.
func (p *simulatedPackets) peer() {
	x := p.peers[p.s.Choose(len(p.peers))]
	if p.s.Choose(2) == 0 {
		x.sent++
		p.s.Count("datagram")
		p.s.SendPacket(x.at, p.server, numbered(x.sent, p.s.Choose(300)))
		return
	}
	x.stuck = p.s.options.stalls && p.s.Choose(6) == 0
	p.take(x)
}

// numbered returns a datagram.
func numbered(n, length int) []byte {
	b := []byte{byte(n >> 8), byte(n)}
	for i := range length {
		b = append(b, byte(n+i))
	}
	return b
}

// numberOf returns the number of a datagram whose bytes are as they were.
func numberOf(b []byte) (n int, ok bool) {
	if len(b) < 2 {
		return 0, false
	}
	n = int(b[0])<<8 | int(b[1])
	return n, slices.Equal(b, numbered(n, len(b)-2))
}

func (p *simulatedPackets) take(x *packetPeer) (moved bool) {
	if x.stuck && !p.s.Calm {
		return false
	}
	for {
		d, ok := p.s.TakePacket(x.at)
		if !ok {
			return moved
		}
		moved = true
		n, whole := numberOf(d.Bytes)
		switch {
		case !whole:
			p.s.Failf("a datagram of %d bytes has changed on its way to %v", len(d.Bytes), x.at)
		case n != unasked && n <= x.got:
			p.s.Failf("datagram %d comes behind %d at %v", n, x.got, x.at)
		case n != unasked:
			x.got = n
		}
	}
}

func (p *simulatedPackets) takeAll() (moved bool) {
	for _, x := range p.peers {
		moved = p.take(x) || moved
	}
	return moved
}

// unasked is the number of datagrams that answer none.
const unasked = 0xFFFF

// other is what another goroutine does.
func (p *simulatedPackets) other() {
	s := p.s
	switch n := s.Choose(12); {
	case n == 0 && s.Choose(6) == 0:
		_ = p.listener.Close()
	case n == 1:
		p.dial()
	case n == 2 && len(p.conns) > 0 && s.Choose(4) == 0:
		_ = p.conns[s.Choose(len(p.conns))].conn.Close()
	case len(p.conns) > 0:
		h := p.conns[s.Choose(len(p.conns))]
		to := PacketAddr(p.peers[s.Choose(len(p.peers))].at)
		if h.dials {
			to = h.conn.RemoteAddr()
		}
		h.write(numbered(unasked, s.Choose(300)), to)
		_ = h.conn.Queued()
		if s.Choose(8) == 0 {
			h.misdirect(to)
		}
	}
}

func (p *simulatedPackets) dial() {
	h := &simulatedPacketHandler{p: p, dials: true, seen: map[PacketAddr]int{}}
	address := "udp://10.0.0.1:7"
	if p.server.Path != "" {
		address = "unixgram://" + p.server.Path
	}
	c, err := p.s.engine.DialPacket(context.Background(), address, h)
	if err != nil {
		if !errors.Is(err, ErrTooManyConns) && !errors.Is(err, ErrShutdown) {
			p.s.Failf("dial: %v", err)
		}
		return
	}
	h.conn = c
	h.sessions.Loop = c.Loop()
	p.conns = append(p.conns, h)
}

// A simulatedPacketHandler sends back what it gets, once.
type simulatedPacketHandler struct {
	p        *simulatedPackets
	conn     *PacketConn
	dials    bool
	inside   bool
	closed   int
	seen     map[PacketAddr]int
	sessions PacketSessions[int]
}

func (h *simulatedPacketHandler) enter(what string) func() {
	s := h.p.s
	if h.inside || h.closed > 0 {
		s.Failf("%s inside another callback, or after OnClose", what)
	}
	s.run.Note("datagrams: %s", what)
	h.inside = true
	s.Point()
	return func() { h.inside = false }
}

func (h *simulatedPacketHandler) write(b []byte, to PacketAddr) {
	err := h.conn.WriteTo(b, to)
	clear(b)
	switch {
	case err == nil:
		h.p.written++
	case errors.Is(err, ErrClosed):
	case errors.Is(err, ErrQueueFull):
		h.p.written++
		h.p.s.Count("packet queue full")
	default:
		h.p.s.Failf("a datagram is refused: %v", err)
	}
}

// misdirect sends what cannot be sent.
func (h *simulatedPacketHandler) misdirect(to PacketAddr) {
	s, c := h.p.s, h.conn
	var err, want error
	switch s.Choose(4) {
	case 0:
		err, want = c.WriteTo([]byte("x"), PacketAddr{}), ErrBadPeer
	case 1:
		err, want = c.WriteTo(make([]byte, 401), to), ErrPacketTooLong
	case 2:
		err, want = c.WriteFrom([]byte("x"), netip.MustParseAddr("10.0.0.77"), to), ErrBadPeer
	case 3:
		if !h.dials {
			_, err = c.Write([]byte("x"))
			want = ErrBadPeer
		}
	}
	if !errors.Is(err, want) && !errors.Is(err, ErrClosed) {
		s.Failf("a datagram that cannot be sent is refused by %v, not by %v", err, want)
	}
	_, _ = h.p.listener.Addr(), h.p.listener.String()
}

func (h *simulatedPacketHandler) OnPacket(c *PacketConn, b []byte, from PacketAddr) {
	defer h.enter("OnPacket")()
	s := h.p.s
	n, whole := numberOf(b)
	if !whole {
		s.Failf("a datagram of %d bytes from %v has changed on its way", len(b), from)
	}
	if !h.dials && n != unasked {
		if before, ok := h.sessions.Get(from); ok && before < 0 {
			s.Failf("a session has changed")
		} else if _, err := h.sessions.Open(from, func(PacketAddr) int { return n }); err != nil && !errors.Is(err, ErrTooManySessions) {
			s.Failf("a session is refused: %v", err)
		}
		if n <= h.seen[from] {
			s.Failf("datagram %d of %v comes behind %d", n, from, h.seen[from])
		}
		h.seen[from] = n
		for peer := range h.sessions.All() {
			if peer == from && s.Choose(2) == 0 {
				break
			}
		}
		h.write(append([]byte(nil), b...), from)
	}
	switch k := s.Choose(60); {
	case !s.chaos:
	case k == 0 && s.options.panics:
		panic("a panic of OnPacket")
	case k == 1 && s.options.exits:
		runtime.Goexit()
	case k == 2:
		_ = c.Close()
	case k == 3:
		h.sessions.End(from)
	}
}

func (h *simulatedPacketHandler) OnError(*PacketConn, error) { defer h.enter("OnError")() }

func (h *simulatedPacketHandler) OnClose(*PacketConn, error) {
	defer h.enter("OnClose")()
	h.closed++
	h.sessions.Close()
	if h.sessions.Len() != 0 {
		h.p.s.Failf("%d sessions are left", h.sessions.Len())
	}
}

// checkRest says that nothing waits that could be sent.
func (p *simulatedPackets) checkRest() {
	if p.s.isTimed() {
		return // no time has passed, and a full peer is tried again some time later
	}
	for _, h := range p.conns {
		if n := h.conn.Queued(); n > 0 && h.closed == 0 {
			p.s.Failf("at rest %d bytes of datagrams are queued", n)
		}
	}
}

func (p *simulatedPackets) check() {
	for _, h := range p.conns {
		if h.closed != 1 {
			p.s.Failf("OnClose of a packet socket was called %d times", h.closed)
		}
	}
	var out, dropped uint64
	for _, l := range p.s.engine.loops {
		out += l.count.packetsOut.Load()
		dropped += l.count.packetsDropped.Load()
	}
	if n := uint64(p.written + p.s.Oversize); out+dropped != n {
		p.s.Failf("%d datagrams left and %d were dropped, of %d that were written and %d that were too long", out, dropped, p.written, p.s.Oversize)
	}
	p.s.run.Checked(p.written, "datagrams written: each left or was counted")
}
