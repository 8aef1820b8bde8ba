package packet_test

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// chatty has the kernel say much about each datagram, in front of what the engine asks
// for: the time of its arrival in three ways, what was lost before it, its mark, its
// header's fields.
func chatty(_, _ string, c syscall.RawConn) error {
	const stamps = unix.SOF_TIMESTAMPING_RX_SOFTWARE | unix.SOF_TIMESTAMPING_SOFTWARE
	var err error
	failed := c.Control(func(fd uintptr) {
		for _, o := range [][3]int{
			{unix.SOL_SOCKET, unix.SO_TIMESTAMPING, stamps},
			{unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1},
			{unix.SOL_SOCKET, unix.SO_RXQ_OVFL, 1},
			{unix.IPPROTO_IP, unix.IP_RECVTTL, 1},
			{unix.IPPROTO_IP, unix.IP_RECVTOS, 1},
			{unix.IPPROTO_IP, unix.IP_RECVORIGDSTADDR, 1},
			{unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT, 1},
			{unix.IPPROTO_IPV6, unix.IPV6_RECVTCLASS, 1},
			{unix.IPPROTO_IPV6, unix.IPV6_RECVORIGDSTADDR, 1},
		} {
			err = errors.Join(err, unix.SetsockoptInt(int(fd), o[0], o[1], o[2]))
		}
	})
	return errors.Join(failed, err)
}

// What a program has the kernel say about datagrams takes no room from what the engine
// must know: where one ends and the next begins, and at which address they arrived.
func TestHunt30_MessagesAboutDatagrams(t *testing.T) {
	const size, count = 100, 10
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		got := make(chan int, 2*count)
		s := epitest.Start(t, m.Engine(), epitest.EchoHandler)
		ln, err := s.Engine.ListenPacketWith("udp://:0", epi.PacketOptions{Control: chatty}, func(*epi.PacketConn) epi.PacketHandler {
			return &epitest.PacketFuncs{Packet: func(c *epi.PacketConn, p []byte, from epi.PacketAddr) {
				got <- len(p)
				_ = c.WriteTo(p[:1], from)
			}}
		})
		if err != nil {
			t.Fatal(err)
		}
		port := netip.MustParseAddrPort(ln.Addr().String()).Port()
		client, err := net.DialUDP("udp4", nil, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 2), Port: int(port)})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		_ = client.SetDeadline(time.Now().Add(epitest.Patience))
		raw, err := client.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		failed := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_SEGMENT, size) })
		if err := errors.Join(failed, err); err != nil {
			t.Fatal(err)
		}
		if _, err := client.Write(epitest.Pattern(size * count)); err != nil {
			t.Fatal(err)
		}
		for range count {
			if n := epitest.Receive(t, got); n != size {
				t.Fatalf("a datagram of %d bytes, want %d", n, size)
			}
			if _, err := client.Read(make([]byte, 1)); err != nil { // it is connected: only that address's answer comes
				t.Fatal(err)
			}
		}
	})
}

// TestPacket_ShortOneBehindLongOnes sends datagrams by one call that the kernel cuts
// into them (UDP_SEGMENT, udp(7)), and hands over together where it is asked to: those
// that are too long are dropped, each counted, and the last, which is not, arrives.
func TestPacket_ShortOneBehindLongOnes(t *testing.T) {
	const size, long = 1400, 3
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		e := m.Engine()
		e.MaxDatagram = 1000
		ln := listenPacket(t, e, "udp4://127.0.0.1:0", func(*epi.PacketConn) epi.PacketHandler {
			return &epitest.PacketFuncs{Packet: func(c *epi.PacketConn, p []byte, from epi.PacketAddr) { _ = c.WriteTo(p, from) }}
		})
		epitest.Run(t, e)
		c := dialUDP(t, "127.0.0.1", ln)
		last := epitest.Pattern(500)
		segments := make([]byte, unix.CmsgSpace(2))
		h := (*unix.Cmsghdr)(unsafe.Pointer(&segments[0]))
		h.Level, h.Type = unix.SOL_UDP, unix.UDP_SEGMENT
		h.SetLen(unix.CmsgLen(2))
		binary.NativeEndian.PutUint16(segments[unix.CmsgLen(0):], size)
		if _, _, err := c.WriteMsgUDP(append(make([]byte, long*size), last...), segments, nil); err != nil {
			t.Skip("the kernel cuts no messages here: ", err)
		}
		expectPacket(t, c, last)
		if n := e.Stats().PacketsDropped; n != long {
			t.Errorf("%d datagrams dropped, want %d", n, long)
		}
	})
}
