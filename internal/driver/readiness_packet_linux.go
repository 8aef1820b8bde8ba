package driver

import (
	"golang.org/x/sys/unix"

	"github.com/epinet/epi/internal/slab"
	"github.com/epinet/epi/poll"
)

// packetBit marks the tokens of sockets for datagrams.
const packetBit = 1 << 30 & slab.FreeBits

// OpenPacket watches the socket level triggered, as listening sockets are: what
// one batch leaves over is reported again, and one short batch needs no second
// call that would only say EAGAIN.
func (d *readiness) OpenPacket(s *PacketSocket) error {
	d.adoptPacket(s)
	s.want, s.armed = poll.Readable, poll.Readable
	d.counters.Controls.Add(1)
	if err := d.poller.Add(s.watched(), uint64(s.token|packetBit), s.want, poll.Level); err != nil {
		d.forgetPacket(s)
		return err
	}
	return nil
}

// watchPacket changes what the poller watches.
func (d *readiness) watchPacket(s *PacketSocket, want poll.Mask) error {
	s.want = want
	if s.want == s.armed {
		return nil
	}
	s.armed = want
	d.counters.Controls.Add(1)
	if s.gate != noGate {
		return setGate(s.gate, s, unix.EPOLL_CTL_MOD, want)
	}
	return d.poller.Modify(int(s.Handle), uint64(s.token|packetBit), want, poll.Level)
}

func (d *readiness) dispatchPacket(token slab.Token, ready poll.Mask) {
	s, ok := d.packets.Get(token)
	if !ok {
		d.counters.Stale.Add(1)
		return
	}
	if (ready&hasRoom != 0 || s.gate != noGate) && s.want&poll.Writable != 0 {
		// What cannot be changed here would be heard as an event for nothing.
		_ = d.watchPacket(s, poll.Readable)
		s.Stream.Writable()
	}
	if ready&hasInput != 0 {
		d.receivePackets(s)
	}
}

func (d *readiness) SendPackets(s *PacketSocket, batch []Datagram) (n int, pending bool, err error) {
	n, pending, err = d.sendPackets(s, batch)
	if pending {
		err = d.watchPacket(s, poll.Readable|poll.Writable)
	}
	return n, pending && err == nil, err
}

// ClosePacket ends the registration before it closes the descriptor, as forget does.
func (d *readiness) ClosePacket(s *PacketSocket) {
	d.counters.Controls.Add(1)
	// It fails only for a handle that is not registered, which is the aim.
	_ = d.poller.Remove(s.watched())
	d.endPacket(s)
}
