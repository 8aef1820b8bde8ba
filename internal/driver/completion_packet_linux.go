package driver

import (
	"golang.org/x/sys/unix"

	"github.com/epinet/epi/internal/slab"
	"github.com/epinet/epi/poll"
	"github.com/epinet/epi/uring"
)

// Sockets for datagrams are watched by polls and then read and written by system
// calls: one of those moves a whole batch, which the kernel's own receive does
// not. A poll is for one event and begun again behind what it led to, so that it
// is level triggered and what one batch leaves over is reported again.

func (d *completion) OpenPacket(s *PacketSocket) error {
	d.adoptPacket(s)
	d.watchPacket(s, poll.Readable)
	return nil
}

// watchPacket begins a poll for one condition, unless one is under way. A gate has
// one poll for both.
func (d *completion) watchPacket(s *PacketSocket, want poll.Mask) {
	if s.gate != noGate && s.want|want != s.want && want == poll.Writable {
		// It fails for a socket that was stopped, which has nothing to send.
		_ = d.setGate(s, poll.Readable|poll.Writable)
	}
	s.want |= want
	if s.gate != noGate {
		want = poll.Readable
	}
	if s.armed&want != 0 {
		return
	}
	s.armed |= want
	k, events := kindPacket, uint32(unix.POLLIN)
	if want == poll.Writable {
		k, events = kindRoom, unix.POLLOUT
	}
	d.prepare(k, s.token).PollAdd(s.watched(), events)
}

// packetReady follows up a poll.
func (d *completion) packetReady(k kind, token slab.Token, c uring.CQE) {
	s, ok := d.packets.Get(token)
	if !ok {
		d.counters.Stale.Add(1)
		return
	}
	which := poll.Readable
	if k == kindRoom {
		which = poll.Writable
	}
	s.armed &^= which
	if s.ending {
		d.finishPacket(s)
		return
	}
	if which == poll.Readable {
		defer d.watchPacket(s, poll.Readable) // also when a callback ends its goroutine
	}
	if s.want&poll.Writable != 0 && (which == poll.Writable || s.gate != noGate) {
		d.hasRoom(s)
	}
	if which == poll.Readable {
		d.receivePackets(s)
	}
}

// hasRoom ends a pending SendPackets.
func (d *completion) hasRoom(s *PacketSocket) {
	s.want &^= poll.Writable
	if s.gate != noGate {
		_ = d.setGate(s, poll.Readable)
	}
	s.Stream.Writable()
}

func (d *completion) SendPackets(s *PacketSocket, batch []Datagram) (n int, pending bool, err error) {
	n, pending, err = d.sendPackets(s, batch)
	if pending {
		d.watchPacket(s, poll.Writable)
	}
	return n, pending, err
}

// ClosePacket cancels the polls. The descriptor is closed when they have ended.
func (d *completion) ClosePacket(s *PacketSocket) {
	s.ending = true
	if s.armed&poll.Readable != 0 {
		d.cancel(kindPacket, s.token)
	}
	if s.armed&poll.Writable != 0 {
		d.cancel(kindRoom, s.token)
	}
	d.finishPacket(s)
}

func (d *completion) finishPacket(s *PacketSocket) {
	if s.armed == 0 {
		d.endPacket(s)
	}
}
