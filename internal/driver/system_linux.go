package driver

import (
	"net"
	"os"

	"github.com/epinet/epi/internal/sock"
	"github.com/epinet/epi/poll"
)

// linuxSystem is the System of the drivers that hold descriptors.
type linuxSystem struct {
	calls   calls
	reserve *sock.Reserve
}

func newSystem(s *Shared, backend poll.Backend) System {
	if backend == Portable {
		return (*portableSystem)(s)
	}
	return &linuxSystem{linux{}, s.Reserve}
}

func (k *linuxSystem) Unacked(h Handle) int { return k.calls.Unacked(int(h)) }
func (k *linuxSystem) Traffic(h Handle) (received, acked uint64, ok bool) {
	return sock.Traffic(int(h))
}
func (k *linuxSystem) LocalAddr(h Handle) net.Addr { return sock.LocalAddr(int(h)) }

func (k *linuxSystem) PeerName(h Handle) string { return sock.PeerName(int(h)) }

func (k *linuxSystem) PeerCredentials(h Handle) (pid int, uid, gid uint32, err error) {
	return sock.PeerCredentials(int(h))
}

func (k *linuxSystem) Discard(h Handle) { k.calls.Close(int(h), false) }

func (k *linuxSystem) Adopt(ln net.Listener, o sock.StreamOptions) (Handle, error) {
	fd, err := sock.Adopt(ln, o)
	if err != nil {
		return NoHandle, err
	}
	return Handle(fd), nil
}

func (k *linuxSystem) File(h Handle) (*os.File, error) { return sock.File(int(h)) }

func (k *linuxSystem) Stop(h Handle) { sock.StopListening(int(h)) }

func (k *linuxSystem) Bind(network string, addr net.Addr, o sock.StreamOptions) (Handle, net.Addr, error) {
	fd, err := sock.Listen(network, addr, o)
	if err != nil {
		return NoHandle, nil, err
	}
	return Handle(fd), sock.LocalAddr(fd), nil
}

func (k *linuxSystem) Shed(h Handle) error {
	return k.reserve.Shed(func() error { return k.calls.AcceptAndClose(int(h)) })
}

func (k *linuxSystem) Reclaim(h Handle) bool {
	return k.reserve.Reclaim(func() { k.calls.Close(int(h), false) })
}

func (k *linuxSystem) BindPacket(network string, local Endpoint, o sock.PacketOptions) (Handle, Endpoint, error) {
	fd, err := sock.BindPacket(network, local.AddrPort, local.Path, o)
	return packetHandle(fd, err)
}

func (k *linuxSystem) AdoptPacket(conn net.PacketConn, o sock.PacketOptions) (Handle, Endpoint, error) {
	fd, err := sock.AdoptPacket(conn, o)
	return packetHandle(fd, err)
}

func (k *linuxSystem) ConnectPacket(network string, remote Endpoint, o sock.PacketOptions) (Handle, Endpoint, error) {
	fd, err := sock.ConnectPacket(network, remote.AddrPort, remote.Path, o)
	return packetHandle(fd, err)
}

func packetHandle(fd int, err error) (Handle, Endpoint, error) {
	if err != nil {
		return NoHandle, Endpoint{}, err
	}
	addr, path := sock.LocalPacket(fd)
	return Handle(fd), Endpoint{addr, path}, nil
}

func (k *linuxSystem) StopPacket(h Handle) { sock.StopPacket(int(h)) }
