package driver

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/epinet/epi/internal/sock"
)

const (
	// sendTime is how long a datagram may wait for room while the loop waits
	// for it: long enough to be tried once.
	sendTime = 100 * time.Microsecond
	// lastSendTime is how long the last datagram may wait for room when its
	// socket is closed.
	lastSendTime = time.Second
)

// A packetLink is a socket for datagrams of package net, with what a goroutine
// has received on it. One goroutine receives at a time, and one sends what found
// no room.
type packetLink struct {
	conn    net.PacketConn
	remote  Endpoint // of a socket that is connected
	working sync.WaitGroup
	writing sync.WaitGroup // for room; one of working, too
	leaving bool           // of the loop; ClosePacket was called
	sending bool           // of the loop; a datagram waits for room
	space   []byte         // of the receiver, and of the loop while that has ended
	control []byte         // likewise; nil where there are no control messages

	// Of the receiver, and of the loop while that has ended.
	length int
	peer   Endpoint
	local  netip.Addr
	err    error
}

// Close closes a socket for which no goroutine works.
func (l *packetLink) Close() error { return l.conn.Close() }

func (d *portable) packetLink(s *PacketSocket) *packetLink {
	return d.cfg.Shared.handles.get(s.Handle).(*packetLink)
}

func endpointOf(addr net.Addr) Endpoint {
	switch addr := addr.(type) {
	case *net.UDPAddr:
		return Endpoint{AddrPort: unmapped(addr.AddrPort())}
	case *net.UnixAddr:
		if addr != nil {
			return Endpoint{Path: addr.Name}
		}
	}
	return Endpoint{}
}

func unmapped(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

func (d *portable) OpenPacket(s *PacketSocket) error {
	s.ending = false
	s.token = d.packets.Insert(s)
	l := d.packetLink(s)
	l.space = make([]byte, d.cfg.MaxDatagram+1) // with room for one byte too many
	l.control = make([]byte, sock.LocalControlSize)
	d.receivePacket(s, l)
	return nil
}

// receivePacket has a goroutine receive one datagram.
func (d *portable) receivePacket(s *PacketSocket, l *packetLink) {
	d.counters.Reads.Add(1)
	l.working.Add(1)
	d.waiters.Go(func() {
		defer l.working.Done()
		l.receive()
		d.mail.post(note{kind: notePacket, packet: s})
	})
}

func (l *packetLink) receive() {
	var err error
	switch conn := l.conn.(type) {
	case *net.UDPConn:
		var from netip.AddrPort
		n := 0
		l.length, n, _, from, err = conn.ReadMsgUDPAddrPort(l.space, l.control)
		l.peer, l.local = Endpoint{AddrPort: unmapped(from)}, sock.ParseLocal(l.control[:n])
	default:
		var from net.Addr
		l.length, from, err = conn.ReadFrom(l.space)
		l.peer = endpointOf(from)
	}
	if l.remote != (Endpoint{}) {
		l.peer = l.remote
	}
	l.err = nil
	if err != nil {
		l.err = plain(err)
	}
	if errors.Is(l.err, syscall.EMSGSIZE) { // how Windows says that it is cut off
		l.length, l.err = len(l.space), nil
	}
}

// followPacket follows up a note of a socket for datagrams.
func (d *portable) followPacket(n note) {
	s := n.packet
	l := d.packetLink(s)
	switch {
	case n.kind == notePacketEnd:
		d.cfg.Shared.handles.remove(s.Handle)
		s.Handle = NoHandle
		d.gonePackets = append(d.gonePackets, s)
	case l.leaving:
	case n.kind == noteRoom:
		l.sending = false
		if n.err != nil {
			s.Stream.Failed(n.err)
		}
		s.Stream.Writable()
	case errors.Is(l.err, net.ErrClosed): // by StopPacket: ClosePacket follows
	default:
		defer d.receivePacket(s, l) // also when a callback ends its goroutine
		d.deliverPacket(s, l)
	}
}

func (d *portable) deliverPacket(s *PacketSocket, l *packetLink) {
	switch {
	case l.err != nil:
		s.Stream.Failed(l.err)
	case l.length > d.cfg.MaxDatagram:
		s.Stream.Arrived(nil, 1)
	default:
		s.Stream.Arrived([]Datagram{{l.space[:l.length:l.length], l.peer, l.local}}, 0)
	}
}

// SendPackets sends one by one. A datagram for which there is no room is left to
// a goroutine, but for those whose peer is a Unix socket without room: nothing
// reports when it has some.
func (d *portable) SendPackets(s *PacketSocket, batch []Datagram) (n int, pending bool, err error) {
	l := d.packetLink(s)
	if l.sending {
		return 0, true, nil
	}
	send := l.send
	if conn, ok := l.conn.(*net.UnixConn); ok && l.remote == (Endpoint{}) {
		send = func(p Datagram) error { return sock.SendUnix(conn, p.Bytes, p.Peer.Path) }
	} else {
		_ = l.conn.SetWriteDeadline(time.Now().Add(sendTime)) // it fails only for a closed one
	}
	for i, p := range batch {
		d.counters.Writes.Add(1)
		err := send(p)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, syscall.EAGAIN):
			return d.noRoom(s, l, p, i)
		case err != nil:
			return i, false, plain(err)
		}
	}
	return len(batch), false, nil
}

func (l *packetLink) send(p Datagram) error {
	var err error
	switch conn := l.conn.(type) {
	case *net.UDPConn:
		if l.remote != (Endpoint{}) {
			_, err = conn.Write(p.Bytes)
		} else {
			_, _, err = conn.WriteMsgUDPAddrPort(p.Bytes, sock.LocalControl(p.Local), p.Peer.AddrPort)
		}
	case *net.UnixConn:
		if l.remote != (Endpoint{}) {
			_, err = conn.Write(p.Bytes)
		} else {
			_, err = conn.WriteToUnix(p.Bytes, &net.UnixAddr{Name: p.Peer.Path, Net: "unixgram"})
		}
	}
	return err
}

// noRoom answers that there is none for batch[n], which is p.
func (d *portable) noRoom(s *PacketSocket, l *packetLink, p Datagram, n int) (int, bool, error) {
	if _, local := l.conn.(*net.UnixConn); local && l.remote == (Endpoint{}) {
		return n, false, ErrBusy
	}
	_ = l.conn.SetWriteDeadline(time.Time{})
	l.sending = true
	l.working.Add(1)
	l.writing.Add(1)
	own := Datagram{append([]byte(nil), p.Bytes...), p.Peer, p.Local}
	d.waiters.Go(func() {
		defer l.working.Done()
		err := l.send(own)
		l.writing.Done()
		if err != nil {
			err = plain(err)
		}
		d.mail.post(note{kind: noteRoom, packet: s, err: err})
	})
	return n + 1, true, nil
}

func (d *portable) SendLast(s *PacketSocket, batch []Datagram) (count, size int) {
	l := d.packetLink(s)
	_ = l.conn.SetWriteDeadline(time.Now().Add(lastSendTime)) // it fails only for a closed one
	l.writing.Wait()                                          // it comes before these
	for _, p := range batch {
		d.counters.Writes.Add(1)
		err := l.send(p)
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			err = l.send(p) // it can have been an error that waited on the socket
		}
		if err == nil {
			count++
			size += len(p.Bytes)
		}
	}
	return count, size
}

func (d *portable) UnreadByPeers(s *PacketSocket) (unread, room int) {
	conn, ok := d.packetLink(s).conn.(*net.UnixConn)
	if !ok {
		return 0, 0
	}
	return sock.UnackedOf(conn), sock.SharedRoom(conn)
}

func (d *portable) ClosePacket(s *PacketSocket) {
	l := d.packetLink(s)
	l.leaving = true
	d.packets.Remove(s.token)
	d.waiters.Go(func() {
		_ = l.conn.SetReadDeadline(past)
		_ = l.conn.SetWriteDeadline(time.Now().Add(lastSendTime))
		l.working.Wait()
		_ = l.conn.Close()
		d.mail.post(note{kind: notePacketEnd, packet: s})
	})
}
