package driver

import (
	"os"
	"slices"
	"syscall"
)

// datagrams is a socket for datagrams in a World: one of the engine's, or a peer's.
type datagrams struct {
	at      Endpoint
	socket  *PacketSocket // nil while no driver has it
	arrived []Datagram
	pending bool  // SendPackets found no room
	failed  error // waits on the socket
	room    int   // of a Unix one's send buffer
	stopped bool
}

// mostArrived is how many datagrams a simulated socket holds; more are lost.
const mostArrived = 16

// mostUnread is how many datagrams lie unread in a Unix socket, until nobody can send
// to it: few, as the limit is by default (net.unix.max_dgram_qlen).
const mostUnread = 3

// PacketPeer makes a peer that has an address.
func (w *World) PacketPeer(at Endpoint) { w.packetSocket(at) }

func (w *World) packetSocket(at Endpoint) *datagrams {
	if w.packets == nil {
		w.packets = map[Endpoint]*datagrams{}
	}
	p := &datagrams{at: at}
	w.packets[at] = p
	return p
}

// SendPacket sends a datagram of a peer, and reports whether it arrives.
func (w *World) SendPacket(from, to Endpoint, p []byte) bool {
	return w.post(Datagram{Bytes: slices.Clone(p), Peer: from}, to)
}

func (w *World) post(d Datagram, to Endpoint) bool {
	l := w.packets[to]
	if l == nil || l.stopped || len(l.arrived) >= mostArrived || !w.Calm && w.Choose(20) == 0 {
		w.Fault("datagram lost")
		return false
	}
	if l.socket != nil && l.socket.Remote != (Endpoint{}) && l.socket.Remote != d.Peer {
		return false
	}
	l.arrived = append(l.arrived, d)
	return true
}

// TakePacket returns the next datagram that has arrived at a peer.
func (w *World) TakePacket(at Endpoint) (Datagram, bool) {
	l := w.packets[at]
	if l == nil || len(l.arrived) == 0 {
		return Datagram{}, false
	}
	d := l.arrived[0]
	l.arrived = l.arrived[1:]
	return d, true
}

// bindPacket gives a socket of the engine its handle.
func (w *World) bindPacket(at Endpoint) Handle {
	l := w.NewLink(-1)
	l.packet = w.packetSocket(at)
	if at.Path != "" {
		l.packet.room = 1 << (11 + w.Choose(6))
	}
	return w.number(l)
}

func (d *Simulated) datagramsOf(s *PacketSocket) *datagrams {
	w := d.world
	if s.Handle < 0 || int(s.Handle) >= len(w.links) || w.links[s.Handle] == nil || w.links[s.Handle].packet == nil {
		w.Failf("an operation on handle %d, which is no socket for datagrams", s.Handle)
	}
	return w.links[s.Handle].packet
}

func (d *Simulated) canPacket(s *PacketSocket) bool {
	l := d.datagramsOf(s)
	return s.ending || len(l.arrived) > 0 && !l.stopped || l.pending || l.failed != nil
}

func (d *Simulated) possiblePackets() (n int) {
	for _, s := range d.packets.All() {
		if d.canPacket(s) {
			n++
		}
	}
	return n
}

func (d *Simulated) dispatchPackets() {
	var ready []*PacketSocket
	for _, s := range d.packets.All() {
		if d.canPacket(s) && (d.world.Calm || d.world.Choose(4) > 0) {
			ready = append(ready, s)
		}
	}
	for _, s := range ready {
		if !d.world.Calm && !s.ending && d.world.Choose(60) == 0 {
			d.world.Fault("error on a socket for datagrams")
			d.datagramsOf(s).failed = os.NewSyscallError("recvmmsg", syscall.ECONNREFUSED)
		}
		d.completePacket(s)
	}
}

func (d *Simulated) completePacket(s *PacketSocket) {
	l := d.datagramsOf(s)
	switch {
	case s.ending:
		d.packets.Remove(s.token)
		l.socket = nil
		delete(d.world.packets, l.at)
		d.world.release(s.Handle)
		s.Handle = NoHandle
		d.gonePackets = append(d.gonePackets, s)
	case l.failed != nil:
		err := l.failed
		l.failed = nil
		s.Stream.Failed(err)
	case l.pending && d.world.Choose(2) == 0:
		l.pending = false
		s.Stream.Writable()
	case len(l.arrived) > 0 && !l.stopped:
		n := 1 + d.world.Choose(min(len(l.arrived), d.cfg.PacketBatch))
		batch := l.arrived[:n:n]
		l.arrived = l.arrived[n:]
		oversize := 0
		if !d.world.Calm && d.world.Choose(30) == 0 {
			d.world.Fault("datagrams that are too long")
			oversize = 1 + d.world.Choose(3)
			d.world.Oversize += oversize
		}
		s.Stream.Arrived(batch, oversize)
	}
}

// OpenPacket is a method of Packets.
func (d *Simulated) OpenPacket(s *PacketSocket) error {
	if !d.world.Calm && d.world.Choose(50) == 0 {
		d.world.Fault("ENOMEM")
		return os.NewSyscallError("epoll_ctl", syscall.ENOMEM)
	}
	d.datagramsOf(s).socket = s
	s.token = d.packets.Insert(s)
	return nil
}

// SendPackets is a method of Packets.
func (d *Simulated) SendPackets(s *PacketSocket, batch []Datagram) (n int, pending bool, err error) {
	w := d.world
	l := d.datagramsOf(s)
	if s.ending || l.stopped && len(batch) > 0 {
		w.Failf("datagrams are sent on a socket that is closed")
	}
	for n < len(batch) {
		to := batch[n].Peer
		if s.Remote != (Endpoint{}) {
			to = s.Remote
		}
		switch peer := w.packets[to]; {
		case !w.Calm && w.Choose(16) == 0:
			w.Fault("no room for a datagram")
			l.pending = true
			return n, true, nil
		case !w.Calm && w.Choose(30) == 0:
			w.Fault("ECONNREFUSED")
			return n, false, os.NewSyscallError("sendmsg", syscall.ECONNREFUSED)
		case to.Path != "" && peer != nil && len(peer.arrived) >= mostUnread || l.room > 0 && w.unread(l) >= l.room:
			w.Fault("unix peer is full")
			return n, false, ErrBusy
		}
		w.post(Datagram{Bytes: slices.Clone(batch[n].Bytes), Peer: l.at}, to)
		n++
		if !w.Calm && w.Choose(8) == 0 {
			break
		}
	}
	return n, false, nil
}

// SendLast is a method of Packets.
func (d *Simulated) SendLast(s *PacketSocket, batch []Datagram) (count, size int) {
	at := d.datagramsOf(s).at
	for _, b := range batch {
		to := b.Peer
		if s.Remote != (Endpoint{}) {
			to = s.Remote
		}
		d.world.post(Datagram{Bytes: slices.Clone(b.Bytes), Peer: at}, to)
		count++
		size += len(b.Bytes)
	}
	return count, size
}

// UnreadByPeers is a method of Packets.
func (d *Simulated) UnreadByPeers(s *PacketSocket) (unread, room int) {
	l := d.datagramsOf(s)
	return d.world.unread(l), l.room
}

// unread returns how much of a Unix socket's send buffer is taken by what its peers have
// not read.
func (w *World) unread(of *datagrams) (held int) {
	if of.room == 0 {
		return 0
	}
	for _, l := range w.packets {
		for _, p := range l.arrived {
			if l.socket == nil && p.Peer == of.at {
				held += len(p.Bytes) + unreadRecord
			}
		}
	}
	return held
}

// unreadRecord is what a datagram takes of a send buffer besides its bytes.
const unreadRecord = 512

// ClosePacket is a method of Packets.
func (d *Simulated) ClosePacket(s *PacketSocket) {
	if s.ending {
		d.world.Failf("a socket for datagrams is closed twice")
	}
	d.datagramsOf(s)
	s.ending = true
}
