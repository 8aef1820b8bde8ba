package driver

import (
	"bytes"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// testPackets is one socket for datagrams, and what must hold of it.
type testPackets struct {
	*session
	sock        PacketSocket
	file        *file
	queue       []Datagram // to be sent
	sent        []Datagram // that the driver says have left
	written     int
	pending     bool // Writable must come
	failed      bool // the first datagram of the queue
	misdirected bool // some had a peer that the socket cannot send to
	oversize    int  // that were reported
	dropped     int  // that should have been
	closing     bool
	closed      bool
}

const maxPackets = 3

// openPackets opens a socket for datagrams.
func (s *session) openPackets() {
	f := s.packetSocket()
	st := &testPackets{session: s, file: f}
	st.sock = PacketSocket{Stream: st, Handle: Handle(f.fd), Remote: f.datagrams.remote}
	if err := s.d.OpenPacket(&st.sock); err != nil {
		s.Note("opening %v: %v", f, err)
		s.Close(f.fd, false)
		return
	}
	s.packets = append(s.packets, st)
}

// actPackets is one thing that happens to sockets for datagrams.
func (s *session) actPackets() {
	if len(s.packets) == 0 || s.Chance(10) && len(s.packets) < maxPackets {
		s.openPackets()
		return
	}
	st := s.packets[s.Choose(len(s.packets))]
	switch s.Choose(10) {
	case 0, 1, 2:
		size := s.Choose(48)
		s.post(st.file, 1+s.Choose(6), size, s.Choose(size+1))
	case 3, 4, 5:
		st.write(1 + s.Choose(6))
		st.flush()
	case 6:
		s.packetTrouble(st)
	case 7, 8:
		s.drains(st.file)
	case 9:
		if s.Chance(3) {
			st.end()
		}
		s.post(st.file, 20+s.Choose(60), 2, 1) // more than are handed over together
	}
}

// packetTrouble is what may happen to a socket.
func (s *session) packetTrouble(st *testPackets) {
	f := st.file
	switch s.Choose(4) {
	case 0:
		s.Fault("error on a socket for datagrams")
		f.err = []unix.Errno{unix.ECONNREFUSED, unix.EHOSTUNREACH}[s.Choose(2)]
	case 1:
		f.notices = true
	case 2:
		f.room = s.Choose(2)
	case 3:
		f.datagrams.full = nil
		if !f.datagrams.internet && s.Chance(2) {
			f.datagrams.full = []Endpoint{s.peerOf(f, s.Choose(2))}
		}
	}
	s.changed(f)
}

// write queues datagrams.
func (st *testPackets) write(n int) {
	if st.closing {
		return
	}
	size, to := st.Choose(20), st.peerOf(st.file, st.Choose(2))
	for range n {
		if st.Chance(3) {
			size, to = st.Choose(20), st.peerOf(st.file, st.Choose(2))
		}
		if p := st.file.datagrams; p.internet && !p.wide && st.Chance(40) {
			to = Endpoint{AddrPort: netip.AddrPortFrom(netip.IPv6Loopback(), 7)} // which it cannot send to
			st.misdirected = true
		}
		var local netip.Addr
		if d := st.file.datagrams; d.internet && d.remote == (Endpoint{}) && st.Chance(4) {
			local = to.AddrPort.Addr()
		}
		b := make([]byte, size)
		for i := range b {
			b[i] = sentByte(-st.file.id, st.written+i)
		}
		st.written += size + 1
		st.queue = append(st.queue, Datagram{b, to, local})
	}
}

// flush sends what is queued as an engine does: a datagram that fails twice is given up.
func (st *testPackets) flush() {
	for !st.closing && !st.pending && len(st.queue) > 0 {
		given := make([]Datagram, len(st.queue))
		for i, d := range st.queue {
			given[i] = Datagram{slices.Clone(d.Bytes), d.Peer, d.Local}
		}
		n, pending, err := st.d.SendPackets(&st.sock, given)
		for _, d := range given {
			clear(d.Bytes) // they are needed no longer
		}
		st.Note("%v: %d datagrams are sent: %d, %v, %v", st.file, len(given), n, pending, err)
		if n > len(given) || err != nil && pending || n == len(given) && (pending || err != nil) || n == 0 && !pending && err == nil {
			st.Failf("SendPackets of %d datagrams returned %d, %v, %v", len(given), n, pending, err)
		}
		if pending && st.file.datagrams.isCrowd() {
			st.Failf("%v: it is to wait for an event that says nothing of its peers", st.file)
		}
		st.took(n)
		st.pending = pending
		switch {
		case err == ErrBusy:
			if p := st.file.datagrams; p.internet || st.file.room > 0 && !slices.Contains(p.full, st.queue[0].Peer) {
				st.Failf("%v: %v is said to be busy", st.file, st.queue[0].Peer)
			}
			return
		case err != nil && st.failed:
			st.failed = false
			st.queue = st.queue[1:]
		default:
			st.failed = err != nil
		}
	}
}

// took notes that n datagrams have left, and checks it.
func (st *testPackets) took(n int) {
	st.sent = append(st.sent, st.queue[:n]...)
	st.queue = st.queue[n:]
	left := st.file.datagrams.sent
	if len(left) != len(st.sent) {
		st.Failf("%v: %d datagrams were reported as sent, %d were", st.file, len(st.sent), len(left))
	}
	for i := len(left) - n; i < len(left); i++ {
		st.same(left[i], st.sent[i], "left")
	}
	st.Checked(n, "datagrams sent: each once, in order")
}

// same compares a datagram with what it should be.
func (st *testPackets) same(d, want Datagram, what string) {
	if !st.equal(d, want) {
		st.Failf("%v: a datagram of %d bytes, %v, %v, has %s, not that of %d bytes, %v, %v", st.file, len(d.Bytes), d.Peer, d.Local, what, len(want.Bytes), want.Peer, want.Local)
	}
}

func (st *testPackets) equal(d, want Datagram) bool {
	if r := st.sock.Remote; r != (Endpoint{}) {
		want.Peer = r
	}
	return bytes.Equal(d.Bytes, want.Bytes) && d.Peer == want.Peer && d.Local == want.Local
}

func (st *testPackets) called(what string) {
	if !st.dispatch || st.closed || st.closing && what != "PacketClosed" {
		st.Failf("%v: %s outside Dispatch, or after ClosePacket", st.file, what)
	}
	st.Checked(1, "callbacks: their order")
	st.Note("%v: %s", st.file, what)
}

func (st *testPackets) Arrived(batch []Datagram, oversize int) {
	st.called("Arrived")
	p := st.file.datagrams
	for _, d := range batch {
		st.skipDropped()
		if len(p.taken) == 0 {
			st.Failf("%v: a datagram of %d bytes is shown, and none was received", st.file, len(d.Bytes))
		}
		st.same(d, p.taken[0].Datagram, "arrived")
		p.taken = p.taken[1:]
	}
	st.oversize += oversize
	st.Checked(len(batch), "datagrams shown: each once, in order")
	for _, d := range batch {
		clear(d.Bytes) // they are the driver's, and may change when this returns
	}
	if !st.calm && st.Chance(20) {
		st.Fault("callback does not return")
		panic(goexit{})
	}
}

// skipDropped passes over what must not be shown.
func (st *testPackets) skipDropped() {
	p := st.file.datagrams
	for len(p.taken) > 0 && (p.taken[0].cut || len(p.taken[0].Bytes) > st.maxDatagram) {
		p.taken = p.taken[1:]
		st.dropped++
	}
}

// checkShown says that whatever was received has been shown, or counted.
func (st *testPackets) checkShown() {
	st.skipDropped()
	if n := len(st.file.datagrams.taken); n > 0 {
		st.Failf("%v: %d datagrams were received, and not shown", st.file, n)
	}
	if st.dropped != st.oversize {
		st.Failf("%v: %d datagrams were dropped, and %d reported", st.file, st.dropped, st.oversize)
	}
}

func (st *testPackets) Failed(err error) {
	st.called("Failed")
	if n := errorOf(err); n != unix.ECONNREFUSED && n != unix.EHOSTUNREACH {
		st.Failf("%v: Failed(%v)", st.file, err)
	}
}

func (st *testPackets) Writable() {
	st.called("Writable")
	if !st.pending {
		st.Failf("%v: Writable, and no send is pending", st.file)
	}
	st.pending = false
}

func (st *testPackets) PacketClosed() {
	st.called("PacketClosed")
	if !st.closing || st.file.open {
		st.Failf("%v: PacketClosed, and it is open", st.file)
	}
	st.closed = true
}

// end closes the socket, and may send its last before.
func (st *testPackets) end() {
	if st.closing {
		return
	}
	if st.Chance(2) {
		st.last()
	}
	if held, room := st.d.UnreadByPeers(&st.sock); st.file.datagrams.internet && held+room > 0 {
		st.Failf("%v: outstanding: %d of %d", st.file, held, room)
	}
	st.Note("%v: ClosePacket", st.file)
	st.closing = true
	st.d.ClosePacket(&st.sock)
}

// last sends what can be sent at once, and frees the address.
func (st *testPackets) last() {
	p := st.file.datagrams
	before, refused, queued := len(p.sent), p.refused, len(st.queue)
	count, size := st.d.SendLast(&st.sock, slices.Clone(st.queue))
	left := p.sent[before:]
	if n := queued - count; !p.blocked && 2*n > p.refused-refused && !st.misdirected {
		st.Failf("%v: of the last %d datagrams %d did not leave, and %d sends were refused", st.file, queued, n, p.refused-refused)
	}
	if count != len(left) {
		st.Failf("%v: the last %d datagrams were reported as sent, %d were", st.file, count, len(left))
	}
	for _, d := range left { // some between them could not be sent
		for len(st.queue) > 0 && !st.equal(d, st.queue[0]) {
			st.queue = st.queue[1:]
		}
		if len(st.queue) == 0 {
			st.Failf("%v: a datagram of %d bytes was sent that was not queued, or twice", st.file, len(d.Bytes))
		}
		st.queue = st.queue[1:]
		size -= len(d.Bytes)
	}
	if size != 0 {
		st.Failf("%v: %d bytes too many are reported as sent", st.file, size)
	}
	st.stop(st.file)
}

// eachPackets visits the sockets for datagrams that the engine has not closed.
func (s *session) eachPackets(visit func(*testPackets)) {
	for _, st := range s.packets {
		if !st.closing {
			visit(st)
		}
	}
}

// allPackets reports whether the condition holds for all of them.
func (s *session) allPackets(holds func(*testPackets) bool) bool {
	for _, st := range s.packets {
		if !st.closing && !holds(st) {
			return false
		}
	}
	return true
}

// finishPackets has everything sent and received.
func (s *session) finishPackets() {
	s.eachPackets(func(st *testPackets) { st.file.datagrams.full = nil })
	s.settle("all datagrams have left", func() bool {
		s.eachPackets(func(st *testPackets) {
			st.flush()
			for s.drains(st.file); !st.pending && len(st.queue) > 0; s.drains(st.file) {
				st.flush() // an engine tries again some time later
			}
		})
		return s.allPackets(func(st *testPackets) bool { return len(st.queue) == 0 })
	})
	s.settle("all datagrams are received", func() bool {
		return s.allPackets(func(st *testPackets) bool { return len(st.file.datagrams.waiting) == 0 && st.file.err == 0 })
	})
}
