package driver

import (
	"net"
	"net/netip"
	"os"
	"syscall"

	"github.com/epinet/epi/internal/sock"
)

// simulatedSystem is the System of a World.
type simulatedSystem World

func (s *simulatedSystem) world() *World { return (*World)(s) }

// Bind is a method of System.
func (s *simulatedSystem) Bind(_ string, addr net.Addr, _ sock.StreamOptions) (Handle, net.Addr, error) {
	return s.world().number(s.world().NewLink(-1)), addr, nil
}

// Adopt is a method of System.
func (s *simulatedSystem) Adopt(ln net.Listener, _ sock.StreamOptions) (Handle, error) {
	return s.world().number(s.world().NewLink(-1)), ln.Close()
}

func (s *simulatedSystem) File(Handle) (*os.File, error) { return nil, syscall.ENOTSUP }

func (s *simulatedSystem) Stop(Handle) {}

// Discard is a method of System.
func (s *simulatedSystem) Discard(h Handle) {
	if l := s.world().links[h]; l != nil {
		l.refuse()
		if l.packet != nil {
			delete(s.world().packets, l.packet.at)
		}
	}
	s.world().release(h)
}

func (s *simulatedSystem) Shed(Handle) error {
	w := s.world()
	if len(w.Backlog) == 0 {
		return syscall.EAGAIN
	}
	w.Count("shed")
	w.Backlog[0].refuse()
	w.Backlog = w.Backlog[1:]
	return nil
}

func (s *simulatedSystem) Reclaim(Handle) bool { return false }

func (s *simulatedSystem) PeerName(h Handle) string {
	if w := s.world(); w.Unix {
		return w.links[h].Name
	}
	return ""
}

func (s *simulatedSystem) Unacked(h Handle) int {
	l := s.links[h]
	n := len(l.Out)
	if l.OutEnd && !l.Acked {
		n++
	}
	return n
}

func (s *simulatedSystem) Traffic(h Handle) (received, acked uint64, ok bool) {
	return 0, uint64(s.links[h].Acknowledged), true
}

func (s *simulatedSystem) LocalAddr(Handle) net.Addr {
	return &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 1}
}

func (s *simulatedSystem) PeerCredentials(Handle) (pid int, uid, gid uint32, err error) {
	return 0, 0, 0, syscall.ENOTSUP
}

// BindPacket, AdoptPacket and ConnectPacket are methods of System.
func (s *simulatedSystem) BindPacket(_ string, local Endpoint, _ sock.PacketOptions) (Handle, Endpoint, error) {
	if s.world().packets[local] != nil {
		return NoHandle, Endpoint{}, syscall.EADDRINUSE
	}
	return s.world().bindPacket(local), local, nil
}

func (s *simulatedSystem) AdoptPacket(net.PacketConn, sock.PacketOptions) (Handle, Endpoint, error) {
	return NoHandle, Endpoint{}, syscall.ENOTSUP
}

func (s *simulatedSystem) ConnectPacket(network string, _ Endpoint, _ sock.PacketOptions) (Handle, Endpoint, error) {
	w := s.world()
	for port := uint16(30_000); ; port++ {
		local := Endpoint{AddrPort: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, 1}), port)}
		if network == "unixgram" {
			local = Endpoint{Path: "@" + local.AddrPort.String()}
		}
		if w.packets[local] == nil {
			return w.bindPacket(local), local, nil
		}
	}
}

// StopPacket is a method of System.
func (s *simulatedSystem) StopPacket(h Handle) {
	if l := s.world().links[h]; l != nil && l.packet != nil {
		l.packet.stopped = true
		return
	}
	s.world().Failf("handle %d, which is no socket for datagrams, is stopped", h)
}
