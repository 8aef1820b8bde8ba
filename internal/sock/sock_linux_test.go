package sock

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// pair returns two connected non-blocking stream sockets.
func pair(t *testing.T) (a, b int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { Close(fds[0], false); Close(fds[1], false) })
	return fds[0], fds[1]
}

func TestReadTellsEmptyFromEnd(t *testing.T) {
	a, b := pair(t)
	buf := make([]byte, 8)
	if _, err := Read(a, buf); err != unix.EAGAIN {
		t.Errorf("reading an empty socket: %v, want EAGAIN", err)
	}
	if err := CloseWrite(b); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(a, buf); err != io.EOF {
		t.Errorf("reading past the end: %v, want io.EOF", err)
	}
}

func TestWriteGathers(t *testing.T) {
	for _, count := range []int{1, 2, MaxVectors, MaxVectors + 1} {
		a, b := pair(t)
		var bufs [][]byte
		for i := range count {
			bufs = append(bufs, bytes.Repeat([]byte{byte(i)}, i+1))
		}
		n, err := Write(a, bufs)
		if err != nil {
			t.Fatal(err)
		}
		want := bytes.Join(bufs[:min(count, MaxVectors)], nil)
		got := make([]byte, len(want)+1)
		m, err := Read(b, got)
		if n != len(want) || m != n || err != nil || !bytes.Equal(got[:m], want) {
			t.Errorf("%d buffers: wrote %d, read %d (%v), want %d bytes", count, n, m, err, len(want))
		}
	}
}

func TestWriteToClosedPeerIsEPIPE(t *testing.T) {
	for _, bufs := range [][][]byte{{[]byte("x")}, {[]byte("x"), []byte("y")}} {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		Close(fds[1], false)
		if _, err := Write(fds[0], bufs); err != unix.EPIPE {
			t.Errorf("writing %d buffers: %v, want EPIPE", len(bufs), err)
		}
		Close(fds[0], false)
	}
}

func TestListenAcceptConnect(t *testing.T) {
	for _, addr := range []net.Addr{
		&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)},
		&net.TCPAddr{IP: net.IPv6loopback},
		&net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unix"},
	} {
		ln, err := Listen(addr.Network(), addr, StreamOptions{})
		if errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.EAFNOSUPPORT) {
			t.Logf("this machine has no %v", addr)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		bound := LocalAddr(ln)
		c, err := Connect(netip.Addr{}, bound, StreamOptions{})
		if err != nil && err != unix.EINPROGRESS {
			t.Fatal(err)
		}
		waitReadable(t, ln)
		s, peer, err := Accept(ln)
		if err != nil {
			t.Fatal(err)
		}
		if tcp, ok := LocalAddr(c).(*net.TCPAddr); ok && tcp.AddrPort() != peer {
			t.Errorf("accept says that the peer is %v, it is %v", peer, tcp)
		}
		if _, _, err := Accept(ln); err != unix.EAGAIN {
			t.Errorf("a second accept: %v, want EAGAIN", err)
		}
		for _, fd := range []int{c, s, ln} {
			Close(fd, false)
		}
	}
}

func TestConnectFromAddress(t *testing.T) {
	for _, c := range []struct{ listen, local string }{
		{"127.0.0.1", "127.0.0.2"},
		{"127.0.0.1", "::ffff:127.0.0.3"},
		{"::1", "::1"},
	} {
		ln, err := Listen("tcp", &net.TCPAddr{IP: net.ParseIP(c.listen)}, StreamOptions{})
		if errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.EAFNOSUPPORT) {
			t.Logf("this machine has no %s", c.listen)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		local := netip.MustParseAddr(c.local)
		fd, err := Connect(local, LocalAddr(ln), StreamOptions{})
		if err != nil && err != unix.EINPROGRESS {
			t.Fatal(err)
		}
		if got := LocalAddr(fd).(*net.TCPAddr).AddrPort(); got.Addr() != local.Unmap() || got.Port() == 0 {
			t.Errorf("connected from %v, want a port of %v", got, local)
		}
		Close(fd, true)
		Close(ln, false)
	}
}

// The port stays open until connect, so that connections to different peers can
// share it.
func TestBindAddressTakesNoPort(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer Close(fd, false)
	if err := bindAddress(fd, netip.MustParseAddr("127.0.0.2")); err != nil {
		t.Fatal(err)
	}
	if got := LocalAddr(fd).String(); got != "127.0.0.2:0" {
		t.Errorf("bound to %s, want 127.0.0.2:0", got)
	}
}

func TestConnectFromForeignAddressIsTold(t *testing.T) {
	for local, want := range map[string]error{"192.0.2.1": unix.EADDRNOTAVAIL, "::1": unix.EAFNOSUPPORT} {
		_, err := Connect(netip.MustParseAddr(local), &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}, StreamOptions{})
		if !errors.Is(err, want) {
			t.Errorf("from %s: %v, want %v", local, err, want)
		}
	}
}

func waitReadable(t *testing.T, fd int) {
	t.Helper()
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(fds, 60_000)
		if err == unix.EINTR {
			continue
		}
		if err != nil || fds[0].Revents == 0 {
			t.Fatalf("the descriptor did not become readable: %v", err)
		}
		return
	}
}

func TestListenWildcardTakesBothFamilies(t *testing.T) {
	for network, want := range map[string]string{"tcp": "[::]", "tcp4": "0.0.0.0", "tcp6": "[::]"} {
		fd, err := Listen(network, &net.TCPAddr{}, StreamOptions{})
		if errors.Is(err, unix.EAFNOSUPPORT) {
			t.Logf("this machine has no IPv6, so no %s", network)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		host, _, _ := net.SplitHostPort(LocalAddr(fd).String())
		if got := (&net.TCPAddr{IP: net.ParseIP(host)}).String(); got != want+":0" {
			t.Errorf("%s listens on %s, want %s", network, host, want)
		}
		Close(fd, false)
	}
}

// TestDelivered: what the peer's host has acknowledged is delivered, whether
// or not the peer has read it; what does not fit into its buffers is not.
func TestDelivered(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	fd, err := Connect(netip.Addr{}, ln.Addr(), StreamOptions{})
	if err != nil && err != unix.EINPROGRESS {
		t.Fatal(err)
	}
	defer Close(fd, false)
	peer, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if !Delivered(fd) {
		t.Error("nothing was sent, and yet something is undelivered")
	}
	for err == nil {
		_, err = Write(fd, [][]byte{make([]byte, 1<<16)})
	}
	if err != unix.EAGAIN || Delivered(fd) {
		t.Errorf("the socket is full (%v) and counts as delivered", err)
	}
	if _, err := io.CopyN(io.Discard, peer, 1); err != nil {
		t.Fatal(err)
	}
	_ = peer.Close()
}

func TestConnectErrorIsTold(t *testing.T) {
	held, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0) // a port that is free could be another's
	if err != nil {
		t.Fatal(err)
	}
	defer Close(held, true)
	if err := unix.Bind(held, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	at, _ := LocalPacket(held)
	fd, err := Connect(netip.Addr{}, net.TCPAddrFromAddrPort(at), StreamOptions{})
	if err == unix.EINPROGRESS {
		waitReadable(t, fd)
		err = ConnectError(fd)
		Close(fd, false)
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("connecting to a port that nobody listens at: %v, want ECONNREFUSED", err)
	}
}

// TestReserveSheds: with all descriptors used up, the reserve lets one client
// after the other be accepted and closed.
func TestReserveSheds(t *testing.T) {
	ln, err := Listen("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, StreamOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer Close(ln, false)
	var clients []net.Conn
	for range 3 {
		c, err := net.Dial("tcp", LocalAddr(ln).String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		clients = append(clients, c)
	}
	r := NewReserve()
	defer r.Close()
	defer useUpDescriptors(t)()

	if _, _, err := Accept(ln); err != unix.EMFILE {
		t.Fatalf("accept without descriptors: %v, want EMFILE", err)
	}
	accept := func() error { return AcceptAndClose(ln) }
	for range clients {
		if err := r.Shed(accept); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Shed(accept); err != unix.EAGAIN {
		t.Errorf("nobody waits: %v, want EAGAIN", err)
	}
	for _, c := range clients {
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("a client that was shed reads something")
		}
	}
}

// useUpDescriptors lowers the limit to what is open and returns what undoes it.
func useUpDescriptors(t *testing.T) (undo func()) {
	t.Helper()
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	next, err := unix.Dup(0)
	if err != nil {
		t.Fatal(err)
	}
	_ = unix.Close(next)
	// The kernel looks at the number of a new descriptor, not at how many are open.
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(next), Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
			t.Error(err)
		}
	}
}

func TestBacklogFollowsTheSystem(t *testing.T) {
	if _, err := os.Stat("/proc/sys/net/core/somaxconn"); err != nil {
		t.Skip("no /proc/sys here")
	}
	if backlog() < 1 {
		t.Errorf("the backlog is %d", backlog())
	}
}

// TestPacketReaderTakesNoFiles reads a socket to which the kernel lets files be
// passed, after a read of one that gets control messages.
func TestPacketReaderTakesNoFiles(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[0])
	defer unix.Close(fds[1])
	r := NewPacketReader(4, 100)
	internet, err := BindPacket("udp4", netip.MustParseAddrPort("127.0.0.1:0"), "", PacketOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(internet)
	if _, err := ReceiveMessages(internet, r.Room(true)); err != unix.EAGAIN {
		t.Fatal(err)
	}
	next := func() int {
		fd, err := unix.Dup(fds[0])
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(fd)
		return fd
	}
	before := next()
	for range 3 {
		if err := unix.Sendmsg(fds[0], []byte("x"), unix.UnixRights(fds[0], fds[0]), nil, 0); err != nil {
			t.Fatal(err)
		}
		n, err := ReceiveMessages(fds[1], r.Room(false))
		r.Filled(n)
		if n != 1 || err != nil {
			t.Fatalf("%d messages, %v", n, err)
		}
	}
	if after := next(); after != before {
		t.Errorf("the next free descriptor was %d, now it is %d", before, after)
	}
}

// TestSelfConnectIsRefused has a socket connect to the port that it is bound to,
// as one of connect(2)'s choice can be.
func TestSelfConnectIsRefused(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer Close(fd, true)
	loopback := [4]byte{127, 0, 0, 1}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: loopback}); err != nil {
		t.Fatal(err)
	}
	own, _ := LocalPacket(fd)
	if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: loopback, Port: int(own.Port())}); err != nil {
		t.Fatal(err)
	}
	if err := ConnectError(fd); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("ConnectError returns %v", err)
	}
}

// TestSendUnix fills the queue of a Unix peer: what has no room fails at once, and what has
// arrives.
func TestSendUnix(t *testing.T) {
	peer, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "peer"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "own"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	to := peer.LocalAddr().String()
	sent := 0
	for err == nil {
		if err = SendUnix(c, []byte{byte(sent)}, to); err == nil {
			sent++
		}
	}
	if sent == 0 || err != unix.EAGAIN {
		t.Fatalf("after %d datagrams: %v", sent, err)
	}
	p := make([]byte, 10)
	for i := range sent {
		if n, err := peer.Read(p); n != 1 || p[0] != byte(i) || err != nil {
			t.Errorf("datagram %d: %v, %v", i, p[:n], err)
		}
	}
	if err := SendUnix(c, []byte("more"), to); err != nil {
		t.Errorf("there is room again: %v", err)
	}
	if err := SendUnix(c, nil, to+"x"); err != unix.ENOENT {
		t.Errorf("to nobody: %v", err)
	}
}
