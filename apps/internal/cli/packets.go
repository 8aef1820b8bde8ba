package cli

import (
	"errors"
	"sync/atomic"

	"github.com/epinet/epi"
)

// packetSchemes are those of datagrams.
var packetSchemes = map[string]bool{"udp": true, "udp4": true, "udp6": true, "unixgram": true}

// isStream reports whether an address has connections.
func isStream(address string) bool {
	scheme, _ := spokenAt(address)
	return !packetSchemes[scheme]
}

// A packetEcho sends each datagram back to where it came from. One for which the
// queue has no room is dropped, as UDP does; the engine counts it.
type packetEcho struct {
	sockets    atomic.Int64  // open now
	unanswered atomic.Uint64 // datagrams whose sender has no address
}

func (e *packetEcho) open(*epi.PacketConn) epi.PacketHandler {
	e.sockets.Add(1)
	return e
}

func (e *packetEcho) OnPacket(c *epi.PacketConn, p []byte, from epi.PacketAddr) {
	if errors.Is(c.WriteTo(p, from), epi.ErrBadPeer) {
		e.unanswered.Add(1)
	}
}

func (e *packetEcho) OnClose(*epi.PacketConn, error) { e.sockets.Add(-1) }
