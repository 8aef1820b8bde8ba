package driver

import (
	"errors"
	"math"
	"os"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/internal/sock"
)

// packetRoom is room for one batch of datagrams each way, which all sockets of a
// loop share.
type packetRoom struct {
	in    *sock.PacketReader
	out   *sock.PacketWriter
	batch []Datagram // handed over together: those of Config.PacketBatch messages
}

// prepare makes the room, when the first socket is opened.
func (p *packetRoom) prepare(cfg Config) {
	if p.in != nil {
		return
	}
	p.in = sock.NewPacketReader(cfg.PacketBatch, cfg.MaxDatagram)
	p.out = new(sock.PacketWriter)
	p.batch = make([]Datagram, 0, sock.MaxPackets)
}

// adoptPacket gives s a token.
func (d *descriptors) adoptPacket(s *PacketSocket) {
	d.room.prepare(d.cfg)
	s.wide, s.internet, s.segments = d.calls.Wide(int(s.Handle)), d.calls.Internet(int(s.Handle)), 0
	if s.internet {
		s.segments = math.MaxUint16
	}
	s.want, s.armed, s.ending = 0, 0, false
	s.gate = d.newGate(s)
	s.token = d.packets.Insert(s)
}

// endPacket closes the descriptor and forgets the socket.
func (d *descriptors) endPacket(s *PacketSocket) {
	d.forgetPacket(s)
	d.calls.Close(int(s.Handle), false)
	s.Handle = NoHandle
	d.gonePackets = append(d.gonePackets, s)
}

// receivePackets takes one batch from the kernel and hands it over, in one call: one
// that does not return takes nothing with it. It does not try for another batch: what
// is left is reported again, and everybody else comes first.
func (d *descriptors) receivePackets(s *PacketSocket) {
	in := d.room.in
	d.counters.Reads.Add(1)
	n, err := d.calls.ReceiveMessages(int(s.Handle), in.Room(s.internet))
	in.Filled(n)
	if err == unix.EAGAIN {
		d.calls.DropNotices(int(s.Handle))
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

// gather adds the datagrams of message i to the batch, and returns how many were too
// long.
func (d *descriptors) gather(s *PacketSocket, i int) (oversize int) {
	p, segment, local, cut := d.room.in.Message(i)
	peer := s.Remote
	if peer == (Endpoint{}) {
		peer.AddrPort, peer.Path = d.room.in.Sender(i)
	}
	if segment == 0 {
		segment = len(p)
	}
	if cut {
		return 1
	}
	for {
		n := min(segment, len(p))
		if n > d.cfg.MaxDatagram {
			oversize++ // the last of several may be shorter
		} else {
			d.room.batch = append(d.room.batch, Datagram{p[:n:n], peer, local})
		}
		p = p[n:]
		if len(p) == 0 {
			return oversize
		}
	}
}

func (d *descriptors) deliverPackets(s *PacketSocket, oversize int) {
	batch := d.room.batch
	d.room.batch = batch[:0]
	if len(batch) > 0 || oversize > 0 {
		s.Stream.Arrived(batch, oversize)
	}
}

// forgetPacket ends what belongs to an open socket besides its descriptor.
func (d *descriptors) forgetPacket(s *PacketSocket) {
	d.packets.Remove(s.token)
	if s.gate != noGate {
		d.calls.Close(s.gate, false)
		s.gate = noGate
	}
}

func (d *descriptors) sendPackets(s *PacketSocket, batch []Datagram) (n int, pending bool, err error) {
	return d.sendWith(d.room.out, s, batch)
}

// SendLast goes on behind a datagram that cannot be sent: an error may be an old
// one, so it is tried twice.
func (d *descriptors) SendLast(s *PacketSocket, batch []Datagram) (count, size int) {
	out := new(sock.PacketWriter)
	for failed := false; len(batch) > 0; {
		n, pending, err := d.sendWith(out, s, batch)
		count += n
		for _, sent := range batch[:n] {
			size += len(sent.Bytes)
		}
		batch = batch[n:]
		switch {
		case pending:
			return count, size
		case err != nil && failed:
			batch = batch[1:]
			failed = false
		default:
			failed = err != nil
		}
	}
	return count, size
}

// sendWith makes one system call. pending says that there is no room on the
// socket itself; an event will report when that ends.
func (d *descriptors) sendWith(out *sock.PacketWriter, s *PacketSocket, batch []Datagram) (n int, pending bool, err error) {
	for {
		if err = fillPackets(out, s, batch); err != nil {
			out.Reset()
			return 0, false, os.NewSyscallError("sendmmsg", err)
		}
		d.counters.Writes.Add(1)
		n, err = d.calls.SendMessages(int(s.Handle), out.Messages())
		n = out.Datagrams(n)
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
	case !s.internet && s.Remote == (Endpoint{}):
		// It is the peer's queue that is full, and this socket is writable all
		// the time (unix(7)).
		return 0, false, ErrBusy
	}
	return 0, true, nil
}

func (d *descriptors) UnreadByPeers(s *PacketSocket) (unread, room int) {
	if s.internet {
		return 0, 0
	}
	return d.calls.Unacked(int(s.Handle)), d.calls.SendRoom(int(s.Handle))
}

// fillPackets gives out as much of the batch as it takes. An error is of the
// first datagram.
func fillPackets(out *sock.PacketWriter, s *PacketSocket, batch []Datagram) error {
	named := s.Remote == (Endpoint{})
	for i := range batch {
		p := &batch[i]
		ok, err := out.Add(p.Bytes, p.Peer.AddrPort, p.Peer.Path, p.Local, named, s.wide, s.segments)
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
