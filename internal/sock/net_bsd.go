//go:build darwin || freebsd

package sock

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// BindNoPort is the Control of a socket that is bound to an address before it
// connects. Where bind(2) cannot leave the port to connect(2), there is nothing to
// set.
func BindNoPort(string, string, syscall.RawConn) error { return nil }

// acceptShared accepts one connection without waiting, also where others who have
// the socket have made it a blocking one.
func acceptShared(fd int) (int, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		return -1, err
	}
	syscall.ForkLock.RLock() // no child is to inherit the descriptor before its flag is set
	defer syscall.ForkLock.RUnlock()
	for {
		conn, _, err := unix.Accept(fd)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return -1, err
		}
		unix.CloseOnExec(conn)
		if err := unix.SetNonblock(conn, true); err != nil {
			_ = unix.Close(conn)
			return -1, err
		}
		return conn, nil
	}
}

// lostClientHere are more of them; this system has none: see lostClient.
var lostClientHere []syscall.Errno

// netConn makes a connection of package net of fd, which is closed if that fails.
func netConn(fd int) (net.Conn, error) { return fileConn(fd) }
