package sock

import (
	"cmp"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

const reusePort = unix.SO_REUSEPORT

// lostClientHere are more of them: see lostClient.
var lostClientHere = []syscall.Errno{syscall.ENONET}

func unacked(fd int) int { return Unacked(fd) }

// TrafficOf is Traffic for a connection of package net.
func TrafficOf(c syscall.Conn) (received, acked uint64, ok bool) {
	control(c, func(fd uintptr) { received, acked, ok = Traffic(int(fd)) })
	return received, acked, ok
}

// SharedRoom is SendRoom of a Unix socket of package net.
func SharedRoom(c syscall.Conn) int {
	n := 0
	control(c, func(fd uintptr) { n = SendRoom(int(fd)) })
	return n
}

// BindNoPort is the Control of a socket that is bound to an address before it
// connects: see bindAddress.
func BindNoPort(_, _ string, c syscall.RawConn) error {
	// On a socket that has no port to choose it fails, and is not needed.
	_ = setOption(c, "IP_BIND_ADDRESS_NO_PORT", unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	return nil
}

// WriteNow writes to a connection of package net what the kernel takes at once.
func WriteNow(c syscall.Conn, bufs [][]byte) (n int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	failed := raw.Write(func(fd uintptr) bool {
		n, err = Write(int(fd), bufs)
		return true
	})
	if err == unix.EAGAIN {
		n, err = 0, nil
	}
	return n, cmp.Or(failed, os.NewSyscallError("write", err))
}

func acceptShared(fd int) (int, error) {
	conn, _, err := AcceptShared(fd)
	return conn, err
}
