package polltest

import (
	"testing"

	"golang.org/x/sys/unix"
)

// A File is a descriptor that is closed at the end of the test, if not before.
// All are non-blocking. What goes wrong with one fails the test.
type File struct {
	FD     int
	closed bool
	tb     testing.TB
}

// NewFile returns the file that a system call returned with err.
func NewFile(tb testing.TB, fd int, err error) *File {
	tb.Helper()
	Must(tb, err)
	f := &File{FD: fd, tb: tb}
	tb.Cleanup(f.Close)
	return f
}

// NewPipe returns a pipe.
func NewPipe(tb testing.TB) (r, w *File) {
	tb.Helper()
	var fds [2]int
	err := unix.Pipe2(fds[:], unix.O_NONBLOCK|unix.O_CLOEXEC)
	return NewFile(tb, fds[0], err), NewFile(tb, fds[1], err)
}

// newPipeWriter is NewPipe with the writing end first.
func newPipeWriter(tb testing.TB) (w, r *File) {
	r, w = NewPipe(tb)
	return w, r
}

// NewSocketPair returns two Unix stream sockets that are connected.
func NewSocketPair(tb testing.TB) (a, b *File) {
	tb.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	return NewFile(tb, fds[0], err), NewFile(tb, fds[1], err)
}

// NewEventFD returns an event descriptor with a count: 0 is not readable.
func NewEventFD(tb testing.TB, count uint) *File {
	tb.Helper()
	fd, err := unix.Eventfd(count, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	return NewFile(tb, fd, err)
}

// NewListener returns a TCP listener on the loopback interface, and its address.
func NewListener(tb testing.TB) (*File, *unix.SockaddrInet4) {
	tb.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	l := NewFile(tb, fd, err)
	Must(tb, unix.Bind(l.FD, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	Must(tb, unix.Listen(l.FD, 128))
	addr, err := unix.Getsockname(l.FD)
	Must(tb, err)
	return l, addr.(*unix.SockaddrInet4)
}

// Dial returns a TCP socket that is connected to a listener.
func Dial(tb testing.TB, addr unix.Sockaddr) *File {
	tb.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	c := NewFile(tb, fd, err)
	Must(tb, unix.Connect(c.FD, addr))
	Must(tb, unix.SetNonblock(c.FD, true))
	return c
}

// NewTCPPair returns two TCP sockets that are connected.
func NewTCPPair(tb testing.TB) (a, b *File) {
	tb.Helper()
	l, addr := NewListener(tb)
	defer l.Close()
	a = Dial(tb, addr)
	Must(tb, unix.SetNonblock(l.FD, false))
	fd, _, err := unix.Accept4(l.FD, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	return a, NewFile(tb, fd, err)
}

// Close closes the file, the first time.
func (f *File) Close() {
	if f.closed {
		return
	}
	f.closed = true
	if err := unix.Close(f.FD); err != nil {
		f.tb.Errorf("close %d: %v", f.FD, err)
	}
}

// Reset makes the close send RST instead of FIN.
func (f *File) Reset() {
	f.tb.Helper()
	Must(f.tb, unix.SetsockoptLinger(f.FD, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1, Linger: 0}))
	f.Close()
}

// Shutdown shuts a socket down: unix.SHUT_WR and the like.
func (f *File) Shutdown(how int) {
	f.tb.Helper()
	Must(f.tb, unix.Shutdown(f.FD, how))
}

// Write writes n bytes, for which there is room.
func (f *File) Write(n int) {
	f.tb.Helper()
	if written, err := unix.Write(f.FD, make([]byte, n)); err != nil || written != n {
		f.tb.Fatalf("write %d bytes to %d: %d, %v", n, f.FD, written, err)
	}
}

// Count makes an event descriptor readable.
func (f *File) Count() {
	f.tb.Helper()
	one := [8]byte{1, 1, 1, 1, 1, 1, 1, 1} // the same number in either byte order
	_, err := unix.Write(f.FD, one[:])
	Must(f.tb, err)
}

// Fill writes until there is no room.
func (f *File) Fill() {
	f.tb.Helper()
	buf := make([]byte, 64<<10)
	for len(buf) > 0 {
		_, err := unix.Write(f.FD, buf)
		if err == unix.EAGAIN {
			buf = buf[:len(buf)/2]
			continue
		}
		Must(f.tb, err)
	}
}

// Read reads n bytes, which have come.
func (f *File) Read(n int) {
	f.tb.Helper()
	if got, err := unix.Read(f.FD, make([]byte, n)); err != nil || got != n {
		f.tb.Fatalf("read %d bytes from %d: %d, %v", n, f.FD, got, err)
	}
}

// Drain reads until nothing is left, and returns the number of bytes.
func (f *File) Drain() int {
	f.tb.Helper()
	buf := make([]byte, 64<<10)
	for total := 0; ; {
		n, err := unix.Read(f.FD, buf)
		if err == unix.EAGAIN || err == nil && n == 0 {
			return total
		}
		Must(f.tb, err)
		total += n
	}
}
