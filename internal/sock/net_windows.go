package sock

import (
	"errors"
	"net"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// sameErrors are Windows' numbers of errors and those of package syscall, which
// programs ask for on every system.
var sameErrors = map[syscall.Errno]syscall.Errno{
	windows.WSAEACCES:        syscall.EACCES,
	windows.WSAEADDRINUSE:    syscall.EADDRINUSE,
	windows.WSAEADDRNOTAVAIL: syscall.EADDRNOTAVAIL,
	windows.WSAECONNABORTED:  syscall.ECONNRESET, // this side has met the peer's reset
	windows.WSAECONNREFUSED:  syscall.ECONNREFUSED,
	windows.WSAECONNRESET:    syscall.ECONNRESET,
	windows.WSAEHOSTUNREACH:  syscall.EHOSTUNREACH,
	windows.WSAEMFILE:        syscall.EMFILE,
	windows.WSAEMSGSIZE:      syscall.EMSGSIZE,
	windows.WSAENETUNREACH:   syscall.ENETUNREACH,
	windows.WSAENOBUFS:       syscall.ENOBUFS,
	windows.WSAENOTCONN:      syscall.ENOTCONN,
	windows.WSAESHUTDOWN:     syscall.EPIPE,
	windows.WSAETIMEDOUT:     syscall.ETIMEDOUT,
}

// A descriptor is what the system's calls name a socket by.
type descriptor = syscall.Handle

// Errno translates a system's own numbers of errors into those of package syscall.
func Errno(err error) error {
	var own syscall.Errno
	if !errors.As(err, &own) {
		return err
	}
	if same, ok := sameErrors[own]; ok {
		return same
	}
	return err
}

// ReusePort refuses: SO_REUSEADDR of Windows lets others take over the port, and
// nothing spreads connections.
func ReusePort(string, string, syscall.RawConn) error {
	return errors.New("Windows cannot spread connections over sockets with one port: set Engine.ReusePort to false")
}

// BindNoPort is the Control of a socket that is bound to an address before it
// connects. There is nothing to set.
func BindNoPort(string, string, syscall.RawConn) error { return nil }

// SendUnix fails: there are no datagrams between Unix sockets here.
func SendUnix(*net.UnixConn, []byte, string) error { return errors.ErrUnsupported }

// UnackedOf returns 0: Windows does not report how much the peer has not
// acknowledged.
func UnackedOf(syscall.Conn) int { return 0 }

const (
	// sioTCPInfo is SIO_TCP_INFO of mstcpip.h, _WSAIORW(IOC_VENDOR, 39), of
	// Windows 10.
	sioTCPInfo = 0xd8000027
	// tcpInfoSize is the size of TCP_INFO_v0, which begins with the state.
	tcpInfoSize = 88
	// The states, of mstcpip.h, in which our own end is on its way.
	finWait1, closing, lastAck = 5, 8, 9
)

// Acknowledged reports whether the peer's host has acknowledged everything that was
// written to a connection of package net and shut down: its state says so. Where it
// cannot be asked, the system delivers the rest behind the close.
func Acknowledged(c *net.TCPConn) bool {
	received := true
	control(c, func(fd uintptr) {
		var version, size uint32
		var info [tcpInfoSize / 4]uint32
		err := windows.WSAIoctl(windows.Handle(fd), sioTCPInfo, (*byte)(unsafe.Pointer(&version)), uint32(unsafe.Sizeof(version)),
			(*byte)(unsafe.Pointer(&info)), tcpInfoSize, &size, nil, 0)
		received = err != nil || info[0] != finWait1 && info[0] != closing && info[0] != lastAck
	})
	return received
}

// A Backlog is the queue of connections that wait to be accepted. On Windows
// descriptors do not run out before memory does: it has nothing to do.
type Backlog struct{}

// NewBacklog returns the queue of ln.
func NewBacklog(net.Listener) (*Backlog, error) { return &Backlog{}, nil }

// Await returns at once: accepting waits by itself.
func (b *Backlog) Await() {}

// Accept is not for Windows, where nobody can have the socket besides.
func (b *Backlog) Accept() (net.Conn, error) { return nil, errors.ErrUnsupported }

// AcceptAndClose has no way to accept without waiting.
func (b *Backlog) AcceptAndClose() error { return syscall.EAGAIN }

// Close has nothing to give back.
func (b *Backlog) Close() error { return nil }

// lostClientHere are more of them; this system has none: see lostClient.
var lostClientHere []syscall.Errno
