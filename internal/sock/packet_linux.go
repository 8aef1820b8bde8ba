package sock

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// BindPacket makes a socket for datagrams. One of the network unixgram is bound
// to path (unix(7)), the others to addr (udp(7)): without an IP address to every
// IPv4 and IPv6 address, or to those of one family when network is udp4 or udp6.
// Such a socket says with each datagram at which address it has arrived.
func BindPacket(network string, addr netip.AddrPort, path string, o PacketOptions) (int, error) {
	if network == "unixgram" {
		return bindPacket(network, unix.AF_UNIX, &unix.SockaddrUnix{Name: path}, o, false)
	}
	anywhere := !addr.Addr().IsValid()
	if anywhere && network == "udp4" {
		addr = netip.AddrPortFrom(netip.IPv4Unspecified(), addr.Port())
	}
	family, sa, err := internetSockaddr(addr)
	if err != nil {
		return -1, err
	}
	fd, err := bindPacket(network, family, sa, o, anywhere || addr.Addr().IsUnspecified())
	if anywhere && network == "udp" && errors.Is(err, unix.EAFNOSUPPORT) {
		return BindPacket("udp4", addr, path, o)
	}
	return fd, err
}

func bindPacket(network string, family int, sa unix.Sockaddr, o PacketOptions, anywhere bool) (int, error) {
	fd, err := packetSocket(network, family)
	if err != nil {
		return -1, err
	}
	if err := preparePacket(fd, family, o, anywhere); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	if err := o.control(fd, family, sa); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	if err := unix.Bind(fd, sa); err != nil {
		_ = unix.Close(fd)
		return -1, os.NewSyscallError("bind", err)
	}
	return fd, nil
}

// control calls the user's Control.
func (o PacketOptions) control(fd, family int, sa unix.Sockaddr) error {
	if o.Control == nil {
		return nil
	}
	network, where := "udp4", packetName(sa)
	switch family {
	case unix.AF_UNIX:
		network = "unixgram"
	case unix.AF_INET6:
		network = "udp6"
	}
	return o.Control(network, where, rawSocket(fd))
}

// packetName writes an address as package net does.
func packetName(sa unix.Sockaddr) string {
	switch sa := sa.(type) {
	case *unix.SockaddrUnix:
		return sa.Name
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port)).String()
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port)).String()
	}
	return ""
}

// preparePacket sets what comes before bind.
func preparePacket(fd, family int, o PacketOptions, anywhere bool) error {
	if o.ReusePort {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
			return os.NewSyscallError("setsockopt SO_REUSEPORT", err)
		}
	}
	if anywhere {
		if err := askLocal(fd, family == unix.AF_INET6); err != nil {
			return err
		}
	}
	return o.set(fd, family == unix.AF_INET6)
}

// AdoptPacket returns a descriptor for a socket for datagrams of package net, and
// closes conn. It is made as BindPacket makes one, as far as that can still be.
func AdoptPacket(conn net.PacketConn, o PacketOptions) (int, error) {
	fd, err := duplicate(conn)
	if err != nil {
		return -1, err
	}
	if err := prepareAdoptedPacket(fd, o); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	_ = conn.Close() // which leaves the duplicate
	return fd, nil
}

func prepareAdoptedPacket(fd int, o PacketOptions) error {
	var peer unix.RawSockaddrAny
	size := uint32(unix.SizeofSockaddrAny)
	_, _, errno := unix.RawSyscall(unix.SYS_GETPEERNAME, uintptr(fd), uintptr(unsafe.Pointer(&peer)), uintptr(unsafe.Pointer(&size)))
	if errno == 0 {
		return errors.New("the socket is connected to one peer: hand over one that is only bound")
	}
	family := domain(fd)
	if err := setPacketDefaults(fd, family); err != nil {
		return err
	}
	addr, _ := LocalPacket(fd)
	if addr.Addr().IsUnspecified() {
		if err := askLocal(fd, family == unix.AF_INET6); err != nil {
			return err
		}
	}
	return o.set(fd, family == unix.AF_INET6)
}

// ConnectPacket makes a socket that exchanges datagrams with one peer: path for
// the network unixgram, else addr. A Unix socket gets a name in the abstract
// namespace (autobind, unix(7)), without which the peer could not answer.
func ConnectPacket(network string, addr netip.AddrPort, path string, o PacketOptions) (int, error) {
	family, sa, err := unix.AF_UNIX, unix.Sockaddr(&unix.SockaddrUnix{Name: path}), error(nil)
	if network != "unixgram" {
		family, sa, err = internetSockaddr(addr)
	}
	if err != nil {
		return -1, err
	}
	fd, err := packetSocket(network, family)
	if err != nil {
		return -1, err
	}
	err = o.set(fd, family == unix.AF_INET6)
	if err == nil {
		err = o.control(fd, family, sa)
	}
	if err == nil && family == unix.AF_UNIX {
		err = os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrUnix{}))
	}
	if err == nil {
		err = os.NewSyscallError("connect", unix.Connect(fd, sa))
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// packetSocket makes a socket that is not bound yet.
func packetSocket(network string, family int) (int, error) {
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if family == unix.AF_INET6 {
		only := 0
		if network == "udp6" {
			only = 1
		}
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only); err != nil {
			_ = unix.Close(fd)
			return -1, os.NewSyscallError("setsockopt IPV6_V6ONLY", err)
		}
	}
	if err := setPacketDefaults(fd, family); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// setPacketDefaults sets what all sockets for datagrams have. Those of UDP may
// send broadcasts, as those of package net may. Where the kernel can hand over
// datagrams of one sender together, it may (UDP_GRO, udp(7)).
func setPacketDefaults(fd, family int) error {
	if family == unix.AF_UNIX {
		refuseRights(fd)
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, PacketSendBuffer)
		return nil
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_GRO, 1) // of Linux 5.0; without it each comes alone
	return setPacketOption(fd, "SO_BROADCAST", unix.SOL_SOCKET, unix.SO_BROADCAST, 1)
}

// StopPacket ends a socket for datagrams, and frees its address unless others hold it,
// too. The descriptor stays, as that of StopListening does.
func StopPacket(fd int) { release(fd) }

// LocalPacket returns the address that a socket for datagrams is bound to.
func LocalPacket(fd int) (addr netip.AddrPort, path string) {
	var raw unix.RawSockaddrAny
	size := uint32(unix.SizeofSockaddrAny)
	_, _, errno := unix.RawSyscall(unix.SYS_GETSOCKNAME, uintptr(fd), uintptr(unsafe.Pointer(&raw)), uintptr(unsafe.Pointer(&size)))
	if errno != 0 {
		return netip.AddrPort{}, ""
	}
	return addrPort(&raw), string(unixName(&raw, size))
}

// Wide reports whether the socket's addresses are those of IPv6, and Internet
// whether it has such addresses at all.
func Wide(fd int) bool     { return domain(fd) == unix.AF_INET6 }
func Internet(fd int) bool { return domain(fd) != unix.AF_UNIX }

func domain(fd int) int {
	family, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return unix.AF_UNSPEC
	}
	return family
}

// pathOffset is where a Unix address's name begins.
const pathOffset = unsafe.Offsetof(unix.RawSockaddrUnix{}.Path)

// unixName reads a Unix address of size bytes. A name in the abstract namespace
// begins with NUL, for which @ is written; any other ends with NUL. It changes
// raw.
func unixName(raw *unix.RawSockaddrAny, size uint32) []byte {
	if raw.Addr.Family != unix.AF_UNIX || size <= uint32(pathOffset) {
		return nil
	}
	size = min(size, unix.SizeofSockaddrUnix)
	name := unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(raw), pathOffset)), size-uint32(pathOffset))
	if name[0] == 0 {
		name[0] = '@'
		return name
	}
	for i, b := range name {
		if b == 0 {
			return name[:i]
		}
	}
	return name
}

// A PacketReader is the room into which datagrams are received in batches
// (recvmmsg(2)). What it returns is valid until the next Room.
type PacketReader struct {
	room    int // for one message
	data    []byte
	headers []unix.Mmsghdr
	vectors []unix.Iovec
	names   []unix.RawSockaddrAny
	control []receiveControl
	used    int // headers that were filled last

	internet bool // what the headers were made ready for

	paths map[string]string // names of Unix sockets, so that each is made once
	scope uint32            // the interface that was looked up last
	zone  string            // and its name
}

const (
	// maxMessage is what one message may hold of several datagrams (UDP_GRO).
	maxMessage = 64 << 10
	// stagger sets the rooms apart from multiples of the page size, so that
	// short messages do not all share the same few lines of the cache.
	stagger = 128
	// maxPaths bounds the names that a PacketReader remembers.
	maxPaths = 1024
)

// NewPacketReader returns room for count messages, with datagrams of at most
// size bytes.
func NewPacketReader(count, size int) *PacketReader {
	room := max(size, maxMessage)
	r := &PacketReader{
		room:    room,
		data:    make([]byte, count*(room+stagger)),
		headers: make([]unix.Mmsghdr, count),
		vectors: make([]unix.Iovec, count),
		names:   make([]unix.RawSockaddrAny, count),
		control: make([]receiveControl, count),
		used:    count,
		paths:   map[string]string{},
	}
	for i := range count {
		r.vectors[i].Base = &r.data[i*(room+stagger)]
		r.vectors[i].SetLen(room)
		h := &r.headers[i].Hdr
		h.Iov = &r.vectors[i]
		h.SetIovlen(1)
		h.Name = (*byte)(unsafe.Pointer(&r.names[i]))
	}
	return r
}

// Room returns the headers for ReceiveMessages; Filled says what came of it. internet
// says what kind of socket it is: one of the Unix kind gets no room for control
// messages, because the kernel would put into it, as new descriptors of this process,
// whatever files the sender passes (SCM_RIGHTS, unix(7)).
func (r *PacketReader) Room(internet bool) []unix.Mmsghdr {
	r.prepare(internet)
	return r.headers
}

// Filled notes that the first n headers of Room are filled.
func (r *PacketReader) Filled(n int) { r.used = n }

// ReceiveMessages receives what has arrived, at most as many messages as there are
// headers, and returns their number (recvmmsg(2)). It returns unix.EAGAIN when nothing
// has arrived, and errors that wait on the socket.
func ReceiveMessages(fd int, headers []unix.Mmsghdr) (int, error) {
	return batch(unix.SYS_RECVMMSG, fd, headers, unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
}

// SendMessages sends messages and returns how many have left (sendmmsg(2)). An error,
// such as unix.EAGAIN, is of the first.
func SendMessages(fd int, headers []unix.Mmsghdr) (int, error) {
	return batch(unix.SYS_SENDMMSG, fd, headers, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
}

// batch makes a system call on messages, until no signal ends it.
func batch(call uintptr, fd int, headers []unix.Mmsghdr, flags uintptr) (int, error) {
	if len(headers) == 0 {
		return 0, nil
	}
	for {
		n, _, errno := unix.RawSyscall6(call, uintptr(fd), uintptr(unsafe.Pointer(&headers[0])), uintptr(len(headers)), flags, 0, 0)
		switch errno {
		case unix.EINTR:
			continue
		case 0:
			return int(n), nil
		}
		return 0, errno
	}
}

// DropNotices throws away what waits in the socket's queue of errors, which is there
// when the program has asked for it by an option (IP_RECVERR, ip(7); SO_TIMESTAMPING):
// until it is empty the socket is reported as readable and writable, whether it is or
// not. It reports whether there was any.
func DropNotices(fd int) (some bool) {
	for range MaxPackets {
		if _, _, _, _, err := unix.Recvmsg(fd, nil, nil, unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT); err != nil {
			return some
		}
		some = true
	}
	return some
}

// prepare makes the headers that were filled last ready for the next time,
// and all of them when that is for the other kind of socket.
func (r *PacketReader) prepare(internet bool) {
	used := r.headers[:r.used]
	if r.internet != internet {
		used = r.headers
	}
	r.used, r.scope, r.internet = 0, 0, internet
	for i := range used {
		h := &used[i].Hdr
		h.Namelen = unix.SizeofSockaddrAny
		h.Control = nil
		h.SetControllen(0)
		if internet {
			h.Control = (*byte)(unsafe.Pointer(&r.control[i]))
			h.SetControllen(int(unsafe.Sizeof(receiveControl{})))
		}
	}
}

// Message returns message i of those that were filled. When it holds several datagrams,
// segment is the size of each but the last, else 0. local is the address that it
// was sent to, where the socket was bound to none. The end of one that was too
// long for the room is cut off; so may be, which is as bad, what says where one
// datagram ends and the next begins.
func (r *PacketReader) Message(i int) (p []byte, segment int, local netip.Addr, cut bool) {
	h := &r.headers[i]
	p = r.data[i*(r.room+stagger):][:h.Len]
	segment, local = parseControl(r.control[i].bytes()[:h.Hdr.Controllen])
	bad := int32(unix.MSG_TRUNC)
	if r.internet { // one of the Unix kind has no room for it at all
		bad |= unix.MSG_CTRUNC
	}
	return p, segment, local, h.Hdr.Flags&bad != 0
}

// Sender returns who sent message i: an internet address or a path, neither for
// a Unix socket without a name.
func (r *PacketReader) Sender(i int) (addr netip.AddrPort, path string) {
	raw := &r.names[i]
	switch raw.Addr.Family {
	case unix.AF_UNIX:
		return netip.AddrPort{}, r.path(unixName(raw, r.headers[i].Hdr.Namelen))
	case unix.AF_INET6:
		return r.wideAddr((*unix.RawSockaddrInet6)(unsafe.Pointer(raw))), ""
	}
	return addrPort(raw), ""
}

// path returns name as a string.
func (r *PacketReader) path(name []byte) string {
	if len(name) == 0 {
		return ""
	}
	if path, ok := r.paths[string(name)]; ok {
		return path
	}
	if len(r.paths) >= maxPaths {
		clear(r.paths)
	}
	path := string(name)
	r.paths[path] = path
	return path
}

// wideAddr is addrPort for IPv6. Interfaces are looked up once in a batch.
func (r *PacketReader) wideAddr(sa *unix.RawSockaddrInet6) netip.AddrPort {
	addr := netip.AddrFrom16(sa.Addr).Unmap()
	if sa.Scope_id != 0 && addr.Is6() {
		if r.scope != sa.Scope_id {
			r.scope, r.zone = sa.Scope_id, zone(sa.Scope_id)
		}
		addr = addr.WithZone(r.zone)
	}
	return netip.AddrPortFrom(addr, bigEndian(sa.Port))
}

// A PacketWriter gathers datagrams and sends them in one batch (sendmmsg(2)). It
// holds one batch at a time, of at most MaxPackets datagrams.
type PacketWriter struct {
	headers [MaxPackets]unix.Mmsghdr
	vectors [MaxPackets]unix.Iovec
	names   [MaxPackets]unix.RawSockaddrAny
	control [MaxPackets]sendControl
	counts  [MaxPackets]int // datagrams in each message

	messages  int
	datagrams int
	peers     int  // names that are used
	last      peer // whom the last message is for
	size      int  // of each datagram of the last message but the last one
	bytes     int  // in the last message
	open      bool // the last message can take another datagram
}

type peer struct {
	addr  netip.AddrPort
	path  string
	local netip.Addr // where to send from; the zero Addr leaves it to the system
}

const (
	// MaxPackets bounds the datagrams of one call, so that the raw system call
	// does not hold up the garbage collector for long. It is also the most that
	// the kernel cuts one message into (UDP_MAX_SEGMENTS, before Linux 6.9).
	MaxPackets = 64
	// maxSegmented is the longest message that may be cut: what an IP packet
	// holds besides its headers.
	maxSegmented = 65535 - 40 - 8
)

// Reset empties the writer.
func (w *PacketWriter) Reset() {
	clear(w.vectors[:w.datagrams]) // what they point to may be garbage
	w.messages, w.datagrams, w.peers = 0, 0, 0
	w.last, w.open = peer{}, false
}

// Add adds a datagram and reports whether there was room. Without named it goes
// to whom the socket is connected to, else to addr or path; wide says that the
// socket's addresses are those of IPv6. It leaves from the address local, if that
// is valid. If it is not longer than segments it may become part of a message that
// the kernel cuts again.
func (w *PacketWriter) Add(p []byte, addr netip.AddrPort, path string, local netip.Addr, named, wide bool, segments int) (bool, error) {
	if w.datagrams == MaxPackets {
		return false, nil
	}
	same := w.messages > 0 && w.last == peer{addr, path, local}
	if same && w.join(p) {
		return true, nil
	}
	h := &w.headers[w.messages].Hdr
	*h = unix.Msghdr{Iov: &w.vectors[w.datagrams]}
	switch {
	case !named:
	case same:
		before := &w.headers[w.messages-1].Hdr
		h.Name, h.Namelen = before.Name, before.Namelen
	default:
		raw := &w.names[w.peers]
		size, err := setName(raw, addr, path, wide)
		if err != nil {
			return false, err
		}
		w.peers++
		h.Name, h.Namelen = (*byte)(unsafe.Pointer(raw)), size
	}
	if local.IsValid() {
		w.addControl(w.messages, putLocal(w.control[w.messages].bytes(), local))
	}
	w.last = peer{addr, path, local}
	w.size, w.bytes = len(p), 0
	w.open = len(p) > 0 && len(p) <= segments
	w.counts[w.messages] = 0
	w.messages++
	w.put(p)
	return true, nil
}

// join makes p part of the last message, if it fits behind its datagrams.
func (w *PacketWriter) join(p []byte) bool {
	if !w.open || len(p) == 0 || len(p) > w.size || w.bytes+len(p) > maxSegmented {
		return false
	}
	w.open = len(p) == w.size // a shorter one is the last
	if w.counts[w.messages-1] == 1 {
		i := w.messages - 1
		room := w.control[i].bytes()[w.headers[i].Hdr.Controllen:]
		w.addControl(i, putSegment(room, uint16(w.size)))
	}
	w.put(p)
	return true
}

// addControl makes size bytes more of the control messages of message i known.
func (w *PacketWriter) addControl(i, size int) {
	if size == 0 {
		return
	}
	h := &w.headers[i].Hdr
	h.Control = (*byte)(unsafe.Pointer(&w.control[i]))
	h.SetControllen(int(h.Controllen) + size)
}

// put adds p to the last message.
func (w *PacketWriter) put(p []byte) {
	v := &w.vectors[w.datagrams]
	v.Base = unsafe.SliceData(p)
	v.SetLen(len(p))
	w.datagrams++
	w.bytes += len(p)
	w.counts[w.messages-1]++
	w.headers[w.messages-1].Hdr.SetIovlen(w.counts[w.messages-1])
}

// Messages returns the batch, for SendMessages.
func (w *PacketWriter) Messages() []unix.Mmsghdr { return w.headers[:w.messages] }

// Datagrams returns how many are in the first n messages.
func (w *PacketWriter) Datagrams(n int) (sum int) {
	for _, count := range w.counts[:n] {
		sum += count
	}
	return sum
}

// Segmented returns the size of the datagrams of the first message when it holds
// several, else 0.
func (w *PacketWriter) Segmented() int {
	if w.messages == 0 || w.counts[0] == 1 {
		return 0
	}
	return int(w.vectors[0].Len)
}

// setName writes an address and returns its size.
func setName(raw *unix.RawSockaddrAny, addr netip.AddrPort, path string, wide bool) (uint32, error) {
	if path != "" {
		return setPath((*unix.RawSockaddrUnix)(unsafe.Pointer(raw)), path)
	}
	ip := addr.Addr()
	if !wide {
		sa := (*unix.RawSockaddrInet4)(unsafe.Pointer(raw))
		*sa = unix.RawSockaddrInet4{Family: unix.AF_INET, Port: bigEndian(addr.Port())}
		if ip = ip.Unmap(); !ip.Is4() {
			return 0, unix.EAFNOSUPPORT
		}
		sa.Addr = ip.As4()
		return unix.SizeofSockaddrInet4, nil
	}
	sa := (*unix.RawSockaddrInet6)(unsafe.Pointer(raw))
	*sa = unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: bigEndian(addr.Port()), Addr: ip.As16()}
	if ip.Zone() != "" {
		index, err := zoneIndex(ip.Zone())
		if err != nil {
			return 0, err
		}
		sa.Scope_id = index
	}
	return unix.SizeofSockaddrInet6, nil
}

func setPath(sa *unix.RawSockaddrUnix, path string) (uint32, error) {
	if len(path) >= len(sa.Path) {
		return 0, unix.ENAMETOOLONG
	}
	*sa = unix.RawSockaddrUnix{Family: unix.AF_UNIX}
	for i := range len(path) {
		sa.Path[i] = int8(path[i])
	}
	if path[0] == '@' {
		sa.Path[0] = 0
		return uint32(int(pathOffset) + len(path)), nil
	}
	return uint32(int(pathOffset) + len(path) + 1), nil
}

// zoneIndex is zone the other way round (RFC 4007, section 11.2: a number will do).
func zoneIndex(zone string) (uint32, error) {
	if ifi, err := net.InterfaceByName(zone); err == nil {
		return uint32(ifi.Index), nil
	}
	index, err := strconv.ParseUint(zone, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("zone %q: %w: it is neither the name nor the number of an interface", zone, unix.ENODEV)
	}
	return uint32(index), nil
}
