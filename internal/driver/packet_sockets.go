package driver

import (
	"errors"
	"math"
	"os"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/internal/slab"
	"github.com/epinet/epi/internal/sock"
)

// packets is what the drivers have in common for datagrams: the sockets that are
// open, and room for one batch each way, which all of them share.
type packets struct {
	open  slab.Slab[*PacketSocket]
	gone  []*PacketSocket // closed, of which PacketClosed is not yet reported
	in    *sock.PacketReader
	out   *sock.PacketWriter
	batch []Datagram // handed over together
}

// prepare makes the room, when the first socket is opened.
func (p *packets) prepare(cfg Config) {
	if p.in != nil {
		return
	}
	p.in = sock.NewPacketReader(cfg.PacketBatch, cfg.MaxDatagram)
	p.out = new(sock.PacketWriter)
	p.batch = make([]Datagram, 0, sock.MaxPackets)
}

func (p *packets) reportClosed() {
	for i, s := range p.gone {
		p.gone[i] = nil
		s.Stream.PacketClosed()
	}
	p.gone = p.gone[:0]
}

func (d *sockets) BindPacket(network string, local Endpoint, reusePort bool) (Handle, Endpoint, error) {
	fd, err := sock.BindPacket(network, local.AddrPort, local.Path, reusePort)
	return packetHandle(fd, err)
}

func (d *sockets) ConnectPacket(network string, remote Endpoint) (Handle, Endpoint, error) {
	fd, err := sock.ConnectPacket(network, remote.AddrPort, remote.Path)
	return packetHandle(fd, err)
}

func packetHandle(fd int, err error) (Handle, Endpoint, error) {
	if err != nil {
		return NoHandle, Endpoint{}, err
	}
	addr, path := sock.LocalPacket(fd)
	return Handle(fd), Endpoint{addr, path}, nil
}

// adoptPacket gives s a token.
func (d *sockets) adoptPacket(s *PacketSocket) {
	d.packets.prepare(d.cfg)
	s.wide, s.segments = sock.Wide(int(s.Handle)), 0
	if sock.Internet(int(s.Handle)) {
		s.segments = math.MaxUint16
	}
	s.want, s.armed, s.ending = 0, 0, false
	s.token = d.packets.open.Insert(s)
}

// endPacket closes the descriptor and forgets the socket.
func (d *sockets) endPacket(s *PacketSocket) {
	d.packets.open.Remove(s.token)
	sock.Close(int(s.Handle), false)
	s.Handle = NoHandle
	d.packets.gone = append(d.packets.gone, s)
}

// receivePackets takes one batch from the kernel and hands it over. It does not
// try for another: what is left is reported again, and everybody else comes
// first.
func (d *sockets) receivePackets(s *PacketSocket) {
	in := d.packets.in
	d.counters.Reads.Add(1)
	n, err := in.Read(int(s.Handle))
	if err == unix.EAGAIN {
		return
	}
	if err != nil {
		s.Stream.Failed(os.NewSyscallError("recvmmsg", err))
		return
	}
	oversize := 0
	for i := range n {
		oversize += d.gather(s, i)
	}
	d.deliverPackets(s, oversize)
}

// gather adds the datagrams of message i to the batch, which it hands over when
// it is full, and returns how many were too long.
func (d *sockets) gather(s *PacketSocket, i int) (oversize int) {
	p, segment, cut := d.packets.in.Message(i)
	peer := s.Remote
	if peer == (Endpoint{}) {
		peer.AddrPort, peer.Path = d.packets.in.Sender(i)
	}
	if segment == 0 {
		segment = len(p)
	}
	if cut || segment > d.cfg.MaxDatagram {
		return 1
	}
	for {
		n := min(segment, len(p))
		d.packets.batch = append(d.packets.batch, Datagram{p[:n:n], peer})
		if len(d.packets.batch) == cap(d.packets.batch) {
			d.deliverPackets(s, 0)
		}
		p = p[n:]
		if len(p) == 0 {
			return 0
		}
	}
}

func (d *sockets) deliverPackets(s *PacketSocket, oversize int) {
	batch := d.packets.batch
	d.packets.batch = batch[:0]
	if len(batch) > 0 || oversize > 0 {
		s.Stream.Arrived(batch, oversize)
	}
}

// sendPackets makes one system call. pending says that there is no room on the
// socket itself, of which an event will tell when that ends.
func (d *sockets) sendPackets(s *PacketSocket, batch []Datagram) (n int, pending bool, err error) {
	out := d.packets.out
	for {
		if err = fillPackets(out, s, batch); err != nil {
			out.Reset()
			return 0, false, os.NewSyscallError("sendmmsg", err)
		}
		d.counters.Writes.Add(1)
		n, err = out.Write(int(s.Handle))
		segmented := out.Segmented()
		out.Reset()
		if segmented == 0 || !refusesSegments(err) {
			break
		}
		// They do not fit into the network's packets, or the device cannot cut
		// them: from now on datagrams of this size leave one by one.
		s.segments = segmented - 1
	}
	switch {
	case err == nil:
		return n, false, nil
	case err != unix.EAGAIN:
		return 0, false, os.NewSyscallError("sendmmsg", err)
	case !sock.Internet(int(s.Handle)) && s.Remote == (Endpoint{}):
		// It is the peer's queue that is full, and this socket is writable all
		// the time (unix(7)).
		return 0, false, ErrBusy
	}
	return 0, true, nil
}

// fillPackets gives out as much of the batch as it takes. An error is of the
// first datagram.
func fillPackets(out *sock.PacketWriter, s *PacketSocket, batch []Datagram) error {
	named := s.Remote == (Endpoint{})
	for i := range batch {
		p := &batch[i]
		ok, err := out.Add(p.Bytes, p.Peer.AddrPort, p.Peer.Path, named, s.wide, s.segments)
		if err != nil && i == 0 {
			return err
		}
		if !ok {
			return nil
		}
	}
	return nil
}

// refusesSegments reports whether the kernel refused a message that is to be cut
// (UDP_SEGMENT, udp(7)).
func refusesSegments(err error) bool {
	return errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EMSGSIZE) || errors.Is(err, unix.EIO) || errors.Is(err, unix.EOPNOTSUPP)
}
