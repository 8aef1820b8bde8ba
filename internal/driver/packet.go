package driver

import (
	"net/netip"

	"github.com/epinet/epi/internal/slab"
	"github.com/epinet/epi/poll"
)

// An Endpoint is the address of a socket for datagrams: AddrPort of a UDP one,
// Path of a Unix one, whose name begins with @ when it is in the abstract
// namespace. The zero Endpoint is a socket without a name. Endpoints of one
// socket are the same exactly when they compare equal.
type Endpoint struct {
	AddrPort netip.AddrPort
	Path     string
}

// A Datagram is one message and the socket that sent it or is to have it. Bytes
// may be empty. Local is the address of this machine at which it has arrived, or
// from which it is to leave; it is valid only for UDP sockets that are bound to no
// address, and where the system reports it.
type Datagram struct {
	Bytes []byte
	Peer  Endpoint
	Local netip.Addr
}

// A PacketSocket is what a driver keeps of one socket for datagrams. It belongs
// to the loop, also with lending: workers have no part in it.
type PacketSocket struct {
	Stream PacketStream // gets the completions; set before OpenPacket, never changed
	Handle Handle
	Remote Endpoint // of a socket made by ConnectPacket: whom it speaks to; else zero

	token    slab.Token
	wide     bool      // its addresses are those of IPv6
	internet bool      // it is no Unix socket
	segments int       // longest datagrams that are sent as segments of one; 0: none are
	want     poll.Mask // what is waited for
	armed    poll.Mask // what the kernel was asked for
	ending   bool      // ClosePacket was called
	gate     int       // what is watched in the socket's place; noGate: the socket itself. Linux only
}

// A PacketStream gets what becomes of a PacketSocket. Its methods are called by
// Dispatch.
type PacketStream interface {
	// Arrived hands over datagrams that have arrived, in order. They are the
	// driver's and gone when the method returns. There may be none: oversize is
	// how many came that were longer than Config.MaxDatagram, and were dropped.
	Arrived(batch []Datagram, oversize int)

	// Failed reports an error that waited on the socket, such as that a host
	// has answered that nobody listens at a port (ECONNREFUSED). The socket
	// goes on as before.
	Failed(err error)

	// Writable ends a pending SendPackets: there is room again.
	Writable()

	// PacketClosed is the last call: the driver has forgotten the socket and its
	// handle is closed.
	PacketClosed()
}

// Packets are the methods of a Driver for datagrams. They are for the loop alone, but
// where it is said.
//
// A socket that is open receives without being asked. In one turn it hands over
// at most what Config.PacketBatch messages of the kernel hold, and all of them
// have a share: what is left over is reported again.
type Packets interface {
	// OpenPacket takes over the socket s.Handle and begins to receive. On error
	// the caller keeps the handle, for Discard.
	OpenPacket(s *PacketSocket) error
	// SendPackets sends datagrams and returns at once: the first n left, and
	// the bytes of none are needed any longer. Fewer than all without an error
	// say that the caller may go on with the rest. An error is of batch[n],
	// which did not leave, unless it had waited on the socket like those of
	// PacketStream.Failed: then the same datagram may be sent again.
	// When there is no room, pending is true and Writable follows; ErrBusy says
	// that batch[n] found no room with its peer, which nothing will report.
	// The peer of a datagram counts only where s.Remote is zero.
	SendPackets(s *PacketSocket, batch []Datagram) (n int, pending bool, err error)
	// SendLast sends what leaves at once of the last datagrams of an open socket, and
	// returns how many, and how many bytes, those were. It is for any goroutine, while
	// nobody else sends.
	SendLast(s *PacketSocket, batch []Datagram) (count, size int)
	// UnreadByPeers returns, for a Unix socket, how much its peers have not read of what
	// it sent, and for how much there is room until nobody can be sent to: both in
	// the kernel's own count. The room is 0 where one peer that does not read
	// takes nothing from the others, or where that is not known.
	UnreadByPeers(s *PacketSocket) (unread, room int)
	// ClosePacket closes the socket. What has arrived and was not handed over
	// is lost; what was sent is not. PacketClosed follows.
	ClosePacket(s *PacketSocket)
}
