package epitest

import "github.com/epinet/epi"

// PacketFuncs is a PacketHandler made of functions; those that are nil do nothing.
type PacketFuncs struct {
	Packet func(c *epi.PacketConn, p []byte, from epi.PacketAddr)
	Failed func(c *epi.PacketConn, err error)
	Closed func(c *epi.PacketConn, err error)
}

// OnPacket calls Packet.
func (f *PacketFuncs) OnPacket(c *epi.PacketConn, p []byte, from epi.PacketAddr) {
	if f.Packet != nil {
		f.Packet(c, p, from)
	}
}

// OnError calls Failed.
func (f *PacketFuncs) OnError(c *epi.PacketConn, err error) {
	if f.Failed != nil {
		f.Failed(c, err)
	}
}

// OnClose calls Closed.
func (f *PacketFuncs) OnClose(c *epi.PacketConn, err error) {
	if f.Closed != nil {
		f.Closed(c, err)
	}
}

// EchoPacket sends a datagram back.
func EchoPacket(c *epi.PacketConn, p []byte, from epi.PacketAddr) { _ = c.WriteTo(p, from) }

// PacketEcho makes handlers that echo.
func PacketEcho(*epi.PacketConn) epi.PacketHandler { return &PacketFuncs{Packet: EchoPacket} }
