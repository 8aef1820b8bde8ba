package epitest

import (
	"errors"
	"net"
	"os"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// AwaitArrival waits until everything that c has written, and the end of its
// stream if it was shut down, is in the peer's kernel.
func AwaitArrival(t *testing.T, c net.Conn) {
	t.Helper()
	c = socket(c)
	if _, ok := c.(*net.TCPConn); !ok {
		return // a Unix socket writes into the peer's queue
	}
	WaitUntil(t, "the peer's host acknowledges all", func() bool {
		left := -1
		control(t, c.(syscall.Conn), func(fd int) { left, _ = unix.IoctlGetInt(fd, unix.SIOCOUTQ) })
		return left == 0
	})
}

// PeerDescriptor returns the descriptor of the other end of c, a TCP client,
// which must be in this process.
func PeerDescriptor(t *testing.T, c net.Conn) int {
	t.Helper()
	client := c.LocalAddr().(*net.TCPAddr).Port
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		fd, _ := strconv.Atoi(e.Name())
		peer, err := unix.Getpeername(fd)
		if sa, ok := peer.(*unix.SockaddrInet4); err == nil && ok && sa.Port == client {
			return fd
		}
	}
	t.Fatalf("no descriptor of this process is connected to %v", c.LocalAddr())
	return -1
}

// FullListener is Listen with a backlog that is full: who connects to address
// waits until Accept was called.
func FullListener(t *testing.T, network string) (ln net.Listener, address string) {
	t.Helper()
	ln, address = Listen(t, network)
	Fill(t, ln)
	return ln, address
}

// Fill makes a listener's backlog full, for good.
func Fill(t *testing.T, ln net.Listener) {
	t.Helper()
	var err error
	// Another listen(2) makes the backlog shorter. One connection fits into 0.
	control(t, ln.(syscall.Conn), func(fd int) { err = unix.Listen(fd, 0) })
	if err != nil {
		t.Fatal(err)
	}
	first, err := net.Dial(ln.Addr().Network(), ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = first.Close() })
}

func control(t *testing.T, c syscall.Conn, f func(fd int)) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { f(int(fd)) })
	}
	if err != nil {
		t.Fatal(err)
	}
}

// SayUrgent sends one byte out of band (MSG_OOB).
func SayUrgent(t *testing.T, c net.Conn, b byte) {
	t.Helper()
	var err error
	control(t, c.(syscall.Conn), func(fd int) { err = unix.Sendto(fd, []byte{b}, unix.MSG_OOB|unix.MSG_NOSIGNAL, nil) })
	if err != nil {
		t.Fatal(err)
	}
}

// narrowBuffer is the receive buffer of a narrow client. The kernel doubles
// it and rounds it up where it is less than its minimum, socket(7).
const narrowBuffer = 4 << 10

// DialNarrow is Dial for a client with a small receive buffer: when it does
// not read, its server's socket is soon full.
func (s *Server) DialNarrow() net.Conn {
	s.t.Helper()
	narrow := func(_, _ string, raw syscall.RawConn) error {
		var err error
		return errors.Join(raw.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, narrowBuffer)
		}), err)
	}
	return DialListener(s.t, s.Engine, s.Listener, net.Dialer{Control: narrow})
}
