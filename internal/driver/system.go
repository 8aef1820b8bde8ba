package driver

import (
	"net"
	"os"

	"github.com/epinet/epi/internal/sock"
	"github.com/epinet/epi/poll"
)

// Shared is what the loops of one engine have in common.
type Shared struct {
	System
	// Reserve is a descriptor that is given up to accept, and close, one
	// connection more when descriptors are used up.
	Reserve *sock.Reserve
	handles handles // of the portable driver
}

// NewShared opens the reserve. The drivers are to be of the backend.
func NewShared(backend poll.Backend) *Shared {
	s := &Shared{Reserve: sock.NewReserve()}
	s.System = newSystem(s, backend)
	return s
}

// Close gives the reserve back.
func (s *Shared) Close() { s.Reserve.Close() }

// A System is what needs no loop: it makes sockets, asks about those that are open and
// closes those that no driver has. Its methods are for any goroutine; a Handle must stay
// open meanwhile.
type System interface {
	// Bind makes a socket that listens on addr, and returns the address that it
	// got.
	Bind(network string, addr net.Addr, o sock.StreamOptions) (Handle, net.Addr, error)
	// Adopt takes over the socket of ln and closes ln. On error the caller keeps it.
	Adopt(ln net.Listener, o sock.StreamOptions) (Handle, error)
	// File returns a duplicate of a listening socket. Before it is called, Shared
	// is made true for all who listen on it.
	File(h Handle) (*os.File, error)
	// Stop ends listening at once, for all who do so on h, and frees the address.
	// Accepting meets errors from then on; the handle stays until Discard.
	Stop(h Handle)
	// Discard closes a socket that is not open in any driver: one of Bind or
	// Adopt, or one that was accepted.
	Discard(h Handle)

	// Shed accepts one connection of a listening socket and closes it, for lack of
	// descriptors.
	Shed(h Handle) error
	// Reclaim closes an accepted connection if the reserve that Shed needs is
	// spent, to have it back, and reports whether it did.
	Reclaim(h Handle) bool

	// LocalAddr returns the address of this end of a connection.
	LocalAddr(h Handle) net.Addr
	// PeerName returns the name of the client of an accepted connection, which few
	// clients of Unix sockets have.
	PeerName(h Handle) string
	// PeerCredentials returns who is at the other end of a Unix socket.
	PeerCredentials(h Handle) (pid int, uid, gid uint32, err error)
	// Unacked returns how many bytes were sent that the peer's host has not
	// acknowledged, or for a Unix socket that the peer has not read.
	Unacked(h Handle) int
	// Traffic returns how many bytes have arrived and how many the peer's host has
	// acknowledged since the connection was made; false where the system does not
	// count them.
	Traffic(h Handle) (received, acked uint64, ok bool)

	// Of sockets for datagrams network is udp, udp4, udp6 or unixgram.

	// BindPacket makes a socket that is bound to local, and returns it with the
	// address that it got. Without an IP address it has all of this machine's,
	// with port 0 one that is free.
	BindPacket(network string, local Endpoint, o sock.PacketOptions) (Handle, Endpoint, error)
	// AdoptPacket makes a socket of one of package net that is bound already, and
	// returns it with its address. On success conn is the driver's.
	AdoptPacket(conn net.PacketConn, o sock.PacketOptions) (Handle, Endpoint, error)
	// ConnectPacket makes a socket that sends to remote and receives from
	// nobody else, and returns it with the address that it got, also for
	// unixgram: without one the peer could not answer.
	ConnectPacket(network string, remote Endpoint, o sock.PacketOptions) (Handle, Endpoint, error)
	// StopPacket frees the address of a socket that is not connected, at once. Nothing
	// arrives or leaves any more; the handle stays until ClosePacket or Discard. It
	// is for any goroutine.
	StopPacket(h Handle)
}
