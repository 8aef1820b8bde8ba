package cli

import (
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/epinet/epi"
)

// packetSchemes are those of datagrams.
var packetSchemes = map[string]bool{"udp": true, "udp4": true, "udp6": true, "unixgram": true}

// isStream reports whether an address has connections.
func isStream(address string) bool {
	scheme, _ := spokenAt(address)
	return !packetSchemes[scheme]
}

const (
	// defaultPacketRate is how many datagrams of one peer are answered in a
	// second: far more than a person sends, and far fewer than two servers that
	// answer each other.
	defaultPacketRate = 2000
	// firstUserPort is the first port that is not a system service's (RFC 6335):
	// others answer there, and a datagram that claims to come from one would have
	// this server and that one talk to each other, or ask it for an answer that
	// somebody else gets.
	firstUserPort = 1024
)

// A packetEcho sends each datagram back to where it came from. One for which the
// queue has no room is dropped, as UDP does; the engine counts it.
//
// Who a datagram comes from can be forged. So none goes back to a socket that
// would answer it, as far as that can be known; and what one peer gets in a second
// is bounded, which ends the talk of two servers that could not be known: as soon
// as one datagram is left out.
type packetEcho struct {
	rate    int           // datagrams of one peer answered in a second; 0: all
	sockets atomic.Int64  // open now
	dropped atomic.Uint64 // datagrams that were not answered
}

func (e *packetEcho) open(c *epi.PacketConn) epi.PacketHandler {
	e.sockets.Add(1)
	s := &echoSocket{echo: e, own: ownAddresses()}
	s.peers.Loop, s.peers.Evict = c.Loop(), true
	return s
}

// An echoSocket is one socket of a packetEcho.
type echoSocket struct {
	echo  *packetEcho
	own   map[netip.Addr]bool // of this machine
	peers epi.PacketSessions[*allowance]
}

// An allowance is how many datagrams of a peer may be answered at a moment. It
// grows with time, up to those of a second.
type allowance struct {
	left float64
	at   time.Time
}

func (s *echoSocket) OnPacket(c *epi.PacketConn, p []byte, from epi.PacketAddr) {
	if s.answers(c, from) || !s.allowed(from) || errors.Is(c.WriteTo(p, from), epi.ErrBadPeer) {
		s.echo.dropped.Add(1)
	}
}

// answers reports whether the sender is a socket that would answer an answer: this
// one, or a service of the system.
func (s *echoSocket) answers(c *epi.PacketConn, from epi.PacketAddr) bool {
	local := c.LocalAddr()
	if local.Path != "" {
		return from == local
	}
	if from.AddrPort.Port() < firstUserPort {
		return true
	}
	ip := from.AddrPort.Addr().Unmap()
	return from.AddrPort.Port() == local.AddrPort.Port() &&
		(ip.IsLoopback() || ip == c.ArrivedAt() || s.own[ip.WithZone("")])
}

// allowed takes one datagram of the peer's allowance.
func (s *echoSocket) allowed(from epi.PacketAddr) bool {
	rate := float64(s.echo.rate)
	if rate == 0 {
		return true
	}
	now := time.Now()
	a, err := s.peers.Open(from, func(epi.PacketAddr) *allowance { return &allowance{rate, now} })
	return err == nil && a.take(rate, now)
}

// take reports whether there is one left.
func (a *allowance) take(rate float64, now time.Time) bool {
	a.left = min(rate, a.left+rate*now.Sub(a.at).Seconds())
	a.at = now
	if a.left < 1 {
		return false
	}
	a.left--
	return true
}

func (s *echoSocket) OnClose(*epi.PacketConn, error) {
	s.peers.Close()
	s.echo.sockets.Add(-1)
}

// ownAddresses are the addresses of this machine, as far as it lists them.
func ownAddresses() map[netip.Addr]bool {
	own := map[netip.Addr]bool{}
	addrs, _ := net.InterfaceAddrs() // without them, a bound on the rate remains
	for _, addr := range addrs {
		if network, ok := addr.(*net.IPNet); ok {
			ip, _ := netip.AddrFromSlice(network.IP)
			own[ip.Unmap()] = true
		}
	}
	return own
}

// warnOfForgery says what it means that others can reach a socket that answers
// whoever is named as the sender.
func warnOfForgery(log *slog.Logger, ln *epi.PacketListener) {
	udp, ok := ln.Addr().(*net.UDPAddr)
	if ok && !udp.IP.IsLoopback() {
		log.Warn("other machines can reach this address, and whom they name as the sender of a datagram gets the answer: leave it to a trusted network, or listen on 127.0.0.1",
			"listen", ln.String())
	}
}
