package driver

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/poll"
)

// datagramSocket is what a file is besides that is a socket for datagrams.
type datagramSocket struct {
	internet, wide bool
	remote         Endpoint   // whom it is connected to; the zero Endpoint: nobody
	waiting        []Datagram // that have arrived, and were not received
	taken          []arrival  // that were received, and nobody was shown yet
	sent           []Datagram
	full           []Endpoint // peers of a Unix socket that read nothing
	segments       int        // the longest datagrams that messages are cut into
	stopped        bool       // its address is free
	refused        int        // sends that met an error
	blocked        bool       // the last send has found no room
}

// An arrival is a datagram that the driver has.
type arrival struct {
	Datagram
	cut bool // its end, or what is said about it
}

// A gateFile is an epoll instance that watches one socket.
type gateFile struct {
	file *file
	want poll.Mask
}

// mostOut is how many datagrams lie in a socket's send buffer.
const mostOut = 6

// packetSocket opens a socket for datagrams.
func (w *world) packetSocket() *file {
	p := &datagramSocket{internet: w.Chance(3) || w.Chance(2), segments: 2000}
	p.wide = p.internet && w.Chance(2)
	if w.Chance(4) {
		p.segments = w.Choose(12)
	}
	w.made++
	f := &file{id: w.made, room: 1 + w.Choose(mostOut), mark: -1, datagrams: p}
	if w.Chance(3) {
		p.remote = w.peerOf(f, 0)
	}
	return w.install(f)
}

// peerOf returns the address of peer i of a socket.
func (w *world) peerOf(f *file, i int) Endpoint {
	p := f.datagrams
	switch {
	case !p.internet:
		return Endpoint{Path: []string{"@peer", "/tmp/peer", ""}[i%3]}
	case p.wide && i%2 == 1:
		return Endpoint{AddrPort: netip.AddrPortFrom(netip.AddrFrom16([16]byte{0xfd, 15: byte(i)}), 7)}
	}
	return Endpoint{AddrPort: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 7)}
}

// post lets a peer send datagrams of one size, but for the last, which is shorter.
func (w *world) post(f *file, count, size, last int) {
	p := f.datagrams
	if !f.open || p.stopped {
		return
	}
	from := p.remote
	if from == (Endpoint{}) {
		from = w.peerOf(f, w.Choose(3))
	}
	var local netip.Addr
	if p.internet && p.remote == (Endpoint{}) {
		local = netip.AddrFrom4([4]byte{127, 0, 0, byte(1 + w.Choose(2))})
		if from.AddrPort.Addr().Is6() {
			local = netip.IPv6Loopback()
		}
	}
	for i := range count {
		if i == count-1 {
			size = min(size, last)
		}
		b := make([]byte, size)
		for j := range b {
			b[j] = sentByte(f.id, f.sent+j)
		}
		f.sent += size + 1
		p.waiting = append(p.waiting, Datagram{b, from, local})
	}
	w.Note("%v: %d datagrams arrive, the last of %d bytes", f, count, size)
	w.changed(f)
}

// drains lets the peers of a socket read what it has sent.
func (w *world) drains(f *file) {
	f.room = mostOut
	w.changed(f)
}

// stop frees the address of a socket: nothing reports anything of it any more.
func (w *world) stop(f *file) {
	w.Note("%v is stopped", f)
	f.datagrams.stopped = true
	w.stopping(f)
}

// packetState returns what holds of a socket for datagrams, or a gate.
func (w *world) packetState(f *file) (m poll.Mask) {
	if g := f.gate; g != nil {
		if w.packetState(g.file)&(g.want|poll.Error) != 0 {
			m = poll.Readable
		}
		return m
	}
	if f.datagrams.stopped {
		return 0
	}
	if len(f.datagrams.waiting) > 0 {
		m |= poll.Readable
	}
	if f.room > 0 {
		m |= poll.Writable
	}
	if f.err != 0 || f.notices {
		m |= poll.Error
	}
	return m
}

func (w *world) Internet(fd int) bool { return w.file(fd, "Internet").datagrams.internet }
func (w *world) Wide(fd int) bool     { return w.file(fd, "Wide").datagrams.wide }
func (w *world) SendRoom(fd int) int  { return w.file(fd, "SendRoom").room }

func (w *world) NewGate(fd int) (gate int, err error) {
	f := w.file(fd, "NewGate")
	if !w.quiet && w.Chance(4) {
		w.Fault("no gate")
		return -1, unix.EMFILE
	}
	return w.install(&file{id: f.id, mark: -1, gate: &gateFile{f, poll.Readable}}).fd, nil
}

func (w *world) SetGate(gate, fd int, want poll.Mask) error {
	g := w.file(gate, "SetGate").gate
	if g.file != w.file(fd, "SetGate") {
		w.Failf("%v: the gate of another is changed", g.file)
	}
	if g.file.datagrams.stopped {
		return unix.ENOENT
	}
	g.want = want
	return nil
}

// pendingError takes the error that waits on a socket.
func (f *file) pendingError() error {
	if f.err == 0 {
		return nil
	}
	err := f.err
	f.err = 0
	return err
}

func (w *world) ReceiveMessages(fd int, headers []unix.Mmsghdr) (n int, err error) {
	f := w.file(fd, "ReceiveMessages")
	p := f.datagrams
	if err := f.pendingError(); err != nil {
		return 0, err
	}
	for n < len(headers) && len(p.waiting) > 0 {
		if n > 0 && !w.quiet && w.Chance(12) {
			w.Fault("recvmmsg ends early")
			if w.Chance(2) {
				f.err = unix.ECONNREFUSED
			}
			break
		}
		w.fillMessage(f, &headers[n])
		n++
	}
	if n == 0 {
		return 0, unix.EAGAIN
	}
	w.Note("%v: %d messages are received", f, n)
	return n, nil
}

// fillMessage puts what has arrived into one message: one datagram, or several of one
// sender and size (UDP_GRO).
func (w *world) fillMessage(f *file, h *unix.Mmsghdr) {
	p := f.datagrams
	count := 1
	if p.internet && w.Chance(2) {
		count = w.together(p.waiting)
	}
	all := p.waiting[:count]
	p.waiting = p.waiting[count:]
	room := unsafe.Slice(h.Hdr.Iov.Base, h.Hdr.Iov.Len)
	h.Len, h.Hdr.Flags = 0, 0
	cut := false
	if count == 1 && !w.quiet && w.Chance(20) {
		w.Fault("control messages cut off")
		h.Hdr.Flags, cut = unix.MSG_CTRUNC, p.internet
	}
	for _, d := range all {
		h.Len += uint32(copy(room[h.Len:], d.Bytes))
		p.taken = append(p.taken, arrival{d, cut})
	}
	h.Hdr.Namelen = putName(h.Hdr.Name, all[0].Peer, p)
	if !p.internet {
		if h.Hdr.Controllen != 0 {
			w.Failf("%v: a Unix socket has room for descriptors", f)
		}
		return
	}
	control := putLocalAddr(nil, all[0].Local)
	if count > 1 || len(all[0].Bytes) > 0 && w.Chance(4) {
		w.Count("datagrams received as one message")
		control = appendControl(control, unix.SOL_UDP, unix.UDP_GRO, binary.NativeEndian.AppendUint32(nil, uint32(len(all[0].Bytes))))
	}
	if uint64(len(control)) > h.Hdr.Controllen {
		w.Failf("%v: no room for %d bytes of control messages", f, len(control))
	}
	copy(unsafe.Slice(h.Hdr.Control, h.Hdr.Controllen), control)
	h.Hdr.SetControllen(len(control))
}

// together returns how many of the first datagrams can be one message.
func (w *world) together(all []Datagram) int {
	first := all[0]
	for i, d := range all {
		switch {
		case i == 0 && len(d.Bytes) == 0:
			return 1
		case i == 64, d.Peer != first.Peer, d.Local != first.Local, len(d.Bytes) == 0, len(d.Bytes) > len(first.Bytes):
			return i
		case len(d.Bytes) < len(first.Bytes):
			return i + 1
		}
	}
	return len(all)
}

func (w *world) SendMessages(fd int, headers []unix.Mmsghdr) (n int, err error) {
	f := w.file(fd, "SendMessages")
	if f.datagrams.stopped {
		w.Failf("%v: datagrams are sent after it was stopped", f)
	}
	n, err = w.sendMessages(f, headers)
	f.datagrams.blocked = err == unix.EAGAIN && !f.datagrams.isCrowd()
	if err != nil && !f.datagrams.blocked {
		f.datagrams.refused++
	}
	return n, err
}

// isCrowd reports whether it is a Unix socket with many peers: nothing reports when one
// of them has room.
func (p *datagramSocket) isCrowd() bool { return !p.internet && p.remote == (Endpoint{}) }

func (w *world) sendMessages(f *file, headers []unix.Mmsghdr) (n int, err error) {
	if err := f.pendingError(); err != nil {
		return 0, err
	}
	for i := range headers {
		if err := w.sendMessage(f, &headers[i].Hdr); err != nil {
			if i > 0 {
				return i, nil
			}
			return 0, err
		}
	}
	return len(headers), nil
}

func (w *world) sendMessage(f *file, h *unix.Msghdr) error {
	p := f.datagrams
	to := p.remote
	if h.Name != nil {
		to = nameOf(h.Name, h.Namelen)
	}
	if to == (Endpoint{}) || h.Name != nil && p.remote != (Endpoint{}) {
		w.Failf("%v: a message to %v, and it is connected to %v", f, to, p.remote)
	}
	local, segment := w.sendControl(f, h)
	parts := w.parts(f, h)
	switch {
	case f.room <= 0:
		w.Fault("no room for a datagram")
		f.full = true
		return unix.EAGAIN
	case slices.Contains(p.full, to):
		w.Fault("a peer's queue is full")
		return unix.EAGAIN
	case segment > p.segments:
		w.Fault("segments refused")
		return []error{unix.EINVAL, unix.EMSGSIZE, unix.EIO, unix.EOPNOTSUPP}[w.Choose(4)]
	case !w.quiet && w.Chance(16):
		w.Fault("a datagram is refused")
		return []error{unix.EPERM, unix.ECONNREFUSED, unix.ENOBUFS, unix.EMSGSIZE, unix.ENETUNREACH}[w.Choose(5)]
	}
	f.room--
	for i, b := range parts {
		if segment > 0 && (len(b) > segment || len(b) < segment && i < len(parts)-1 || len(b) == 0) || segment == 0 && len(parts) != 1 {
			w.Failf("%v: a message of %d parts, one of %d bytes, is to be cut every %d", f, len(parts), len(b), segment)
		}
		p.sent = append(p.sent, Datagram{slices.Clone(b), to, local})
	}
	w.Note("%v: %d datagrams leave for %v", f, len(parts), to)
	return nil
}

// parts returns the buffers of a message: the driver has one for each datagram.
func (w *world) parts(f *file, h *unix.Msghdr) (all [][]byte) {
	if h.Iovlen == 0 || h.Iovlen > 64 {
		w.Failf("%v: a message of %d buffers", f, h.Iovlen)
	}
	for _, v := range unsafe.Slice(h.Iov, h.Iovlen) {
		all = append(all, unsafe.Slice(v.Base, v.Len))
	}
	return all
}

// sendControl reads the control messages of a message that is sent.
func (w *world) sendControl(f *file, h *unix.Msghdr) (local netip.Addr, segment int) {
	if h.Controllen == 0 {
		return local, 0
	}
	all, err := unix.ParseSocketControlMessage(unsafe.Slice(h.Control, h.Controllen))
	if err != nil {
		w.Failf("%v: control messages: %v", f, err)
	}
	for _, m := range all {
		switch {
		case m.Header.Level == unix.SOL_UDP && m.Header.Type == unix.UDP_SEGMENT:
			segment = int(binary.NativeEndian.Uint16(m.Data))
		case m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_PKTINFO:
			local = netip.AddrFrom4([4]byte(m.Data[4:8])) // ipi_spec_dst
		case m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_PKTINFO:
			local = netip.AddrFrom16([16]byte(m.Data[:16]))
		default:
			w.Failf("%v: a control message %d/%d", f, m.Header.Level, m.Header.Type)
		}
	}
	return local, segment
}

func appendControl(b []byte, level, kind int32, data []byte) []byte {
	at := len(b)
	b = append(b, make([]byte, unix.CmsgSpace(len(data)))...)
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[at]))
	h.Level, h.Type = level, kind
	h.SetLen(unix.CmsgLen(len(data)))
	copy(b[at+unix.CmsgLen(0):], data)
	return b
}

// putLocalAddr appends what says at which address a datagram has arrived.
func putLocalAddr(b []byte, local netip.Addr) []byte {
	switch {
	case !local.IsValid():
		return b
	case local.Is4():
		ip := local.As4()
		return appendControl(b, unix.IPPROTO_IP, unix.IP_PKTINFO, slices.Concat(make([]byte, 4), ip[:], ip[:]))
	}
	ip := local.As16()
	return appendControl(b, unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, slices.Concat(ip[:], make([]byte, 4)))
}

// putName writes the address of a sender into room for any.
func putName(room *byte, from Endpoint, p *datagramSocket) uint32 {
	b := unsafe.Slice(room, unix.SizeofSockaddrAny)
	clear(b)
	switch {
	case !p.internet:
		binary.NativeEndian.PutUint16(b, unix.AF_UNIX)
		n := copy(b[2:], from.Path)
		switch {
		case n == 0:
			return 2
		case from.Path[0] == '@':
			b[2] = 0
			return uint32(2 + n)
		}
		return uint32(3 + n)
	case p.wide:
		binary.NativeEndian.PutUint16(b, unix.AF_INET6)
		binary.BigEndian.PutUint16(b[2:], from.AddrPort.Port())
		ip := from.AddrPort.Addr().As16()
		copy(b[8:], ip[:])
		return unix.SizeofSockaddrInet6
	}
	binary.NativeEndian.PutUint16(b, unix.AF_INET)
	binary.BigEndian.PutUint16(b[2:], from.AddrPort.Port())
	ip := from.AddrPort.Addr().As4()
	copy(b[4:], ip[:])
	return unix.SizeofSockaddrInet4
}

// nameOf reads the address that a message is for.
func nameOf(name *byte, size uint32) Endpoint {
	b := unsafe.Slice(name, size)
	port := binary.BigEndian.Uint16(b[2:])
	switch binary.NativeEndian.Uint16(b) {
	case unix.AF_INET:
		return Endpoint{AddrPort: netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), port)}
	case unix.AF_INET6:
		return Endpoint{AddrPort: netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[8:24])).Unmap(), port)}
	}
	path := string(b[2:])
	if path[0] == 0 {
		return Endpoint{Path: "@" + path[1:]}
	}
	return Endpoint{Path: path[:len(path)-1]}
}
