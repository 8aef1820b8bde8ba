package sock

import (
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A receiveControl is room for the control messages of one message that is
// received: 96 bytes for UDP_GRO, IP_PKTINFO and IPV6_PKTINFO, and the rest for what
// the program has asked for by options of its own, which the kernel puts in front of
// them: all timestamps, counters and fields of the header are some 350 bytes.
type receiveControl [64]uint64

// A sendControl is room for those of one that is sent: UDP_SEGMENT, and one of
// IP_PKTINFO and IPV6_PKTINFO.
type sendControl [8]uint64

// askLocal has the kernel say with each datagram at which address it has arrived
// (ip(7), ipv6(7)). A socket of IPv6 receives those of IPv4, too.
func askLocal(fd int, six bool) error {
	if six {
		if err := setPacketOption(fd, "IPV6_RECVPKTINFO", unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1); err != nil {
			return err
		}
	}
	return setPacketOption(fd, "IP_PKTINFO", unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
}

// ownGroupsOnly lets a socket receive from no multicast groups but those that it
// has joined itself: else it has those of every socket on this machine (ip(7)).
func ownGroupsOnly(fd int, six bool) {
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_ALL, 0)
	if six {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_ALL, 0) // of Linux 4.20
	}
}

// LocalControlSize is the room for the control messages that ParseLocal reads.
const LocalControlSize = int(unsafe.Sizeof(receiveControl{}))

// ParseLocal returns the address that a datagram of a socket of package net was
// sent to, according to its control messages.
func ParseLocal(control []byte) netip.Addr {
	_, local := parseControl(control)
	return local
}

// LocalControl returns the control messages with which a datagram leaves from an
// address, nil when the system is to choose.
func LocalControl(local netip.Addr) []byte {
	room := new(sendControl).bytes()
	return room[:putLocal(room, local)]
}

// parseControl reads the control messages of one message: the size of the
// datagrams in it, 0 for one alone, and the address that they were
// sent to. For a broadcast that is the address of this machine at which it has
// arrived.
func parseControl(b []byte) (segment int, local netip.Addr) {
	for len(b) >= unix.SizeofCmsghdr {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
		size := int(h.Len)
		if size < unix.SizeofCmsghdr || size > len(b) {
			return segment, local // cut off
		}
		data := b[unix.SizeofCmsghdr:size]
		switch {
		case h.Level == unix.SOL_UDP && h.Type == unix.UDP_GRO && len(data) >= 4:
			segment = int(*(*int32)(unsafe.Pointer(&data[0])))
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
			local = localOf((*unix.Inet4Pktinfo)(unsafe.Pointer(&data[0])))
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo && !local.IsValid():
			info := (*unix.Inet6Pktinfo)(unsafe.Pointer(&data[0]))
			local = netip.AddrFrom16(info.Addr).Unmap()
		}
		b = b[min(unix.CmsgSpace(len(data)), len(b)):]
	}
	return segment, local
}

func localOf(info *unix.Inet4Pktinfo) netip.Addr {
	to := netip.AddrFrom4(info.Addr)
	if to.IsMulticast() {
		return to
	}
	return netip.AddrFrom4(info.Spec_dst)
}

// putLocal writes the control message that says from which address a datagram is
// to be sent, and returns its size. A multicast address is none to send from: the
// system chooses.
func putLocal(b []byte, local netip.Addr) int {
	switch {
	case !local.IsValid() || local.IsMulticast():
		return 0
	case local.Is4():
		info := unix.Inet4Pktinfo{Spec_dst: local.As4()}
		return putControl(b, unix.IPPROTO_IP, unix.IP_PKTINFO, unsafe.Slice((*byte)(unsafe.Pointer(&info)), unix.SizeofInet4Pktinfo))
	}
	info := unix.Inet6Pktinfo{Addr: local.As16()}
	return putControl(b, unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, unsafe.Slice((*byte)(unsafe.Pointer(&info)), unix.SizeofInet6Pktinfo))
}

// putSegment writes the control message UDP_SEGMENT: the kernel cuts the message
// into datagrams of this size (udp(7)).
func putSegment(b []byte, size uint16) int {
	return putControl(b, unix.SOL_UDP, unix.UDP_SEGMENT, unsafe.Slice((*byte)(unsafe.Pointer(&size)), 2))
}

func putControl(b []byte, level, kind int32, data []byte) int {
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
	h.Level, h.Type = level, kind
	h.SetLen(unix.CmsgLen(len(data)))
	copy(b[unix.CmsgLen(0):], data)
	return unix.CmsgSpace(len(data))
}

func (c *receiveControl) bytes() []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(c)), unsafe.Sizeof(*c))
}

func (c *sendControl) bytes() []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(c)), unsafe.Sizeof(*c))
}
