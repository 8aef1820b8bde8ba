package driver

import (
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

// watchPacket makes what the poller watches what is wanted. Where that fails, it
// watches what it did.
func (d *readiness) watchPacket(s *PacketSocket) error {
	if s.want == s.armed {
		return nil
	}
	d.counters.Controls.Add(1)
	if err := d.modifyPacket(s); err != nil {
		return err
	}
	s.armed = s.want
	return nil
}

func (d *readiness) modifyPacket(s *PacketSocket) error {
	if s.gate != noGate {
		return d.setGate(s, s.want)
	}
	return d.poller.Modify(int(s.Handle), uint64(s.token|packetBit), s.want, poll.Level)
}

func (d *readiness) dispatchPacket(token slab.Token, ready poll.Mask) {
	s, ok := d.packets.Get(token)
	if !ok {
		d.counters.Stale.Add(1)
		return
	}
	if ready&hasRoom != 0 || s.gate != noGate {
		d.roomForPackets(s)
	}
	if ready&hasInput != 0 {
		d.receivePackets(s)
	}
}

// roomForPackets ends a pending SendPackets. What cannot be changed then is reported for
// nothing, and changed the next time.
func (d *readiness) roomForPackets(s *PacketSocket) {
	pending := s.want&poll.Writable != 0
	s.want = poll.Readable
	_ = d.watchPacket(s)
	if pending {
		s.Stream.Writable()
	}
}

func (d *readiness) SendPackets(s *PacketSocket, batch []Datagram) (n int, pending bool, err error) {
	n, pending, err = d.sendPackets(s, batch)
	if !pending {
		return n, false, err
	}
	s.want = poll.Readable | poll.Writable
	if err := d.watchPacket(s); err != nil {
		s.want = poll.Readable
		return n, false, err
	}
	return n, true, nil
}

// ClosePacket ends the registration before it closes the descriptor, as forget does.
func (d *readiness) ClosePacket(s *PacketSocket) {
	d.counters.Controls.Add(1)
	// It fails only for a handle that is not registered, which is the aim.
	_ = d.poller.Remove(s.watched())
	d.endPacket(s)
}
