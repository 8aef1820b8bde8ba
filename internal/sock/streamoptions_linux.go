package sock

import (
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// setUserTimeout bounds how long sent bytes may stay unacknowledged (tcp(7)).
func setUserTimeout(fd uintptr, milliseconds int) error {
	return os.NewSyscallError("setsockopt TCP_USER_TIMEOUT", unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, milliseconds))
}

// keepAliveOptions are the socket's options that package net makes of
// net.KeepAliveConfig: whether, TCP_KEEPIDLE, TCP_KEEPINTVL and TCP_KEEPCNT (tcp(7)).
var keepAliveOptions = [...]struct {
	name          string
	level, number int
}{
	{"SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE},
	{"TCP_KEEPIDLE", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE},
	{"TCP_KEEPINTVL", unix.IPPROTO_TCP, unix.TCP_KEEPINTVL},
	{"TCP_KEEPCNT", unix.IPPROTO_TCP, unix.TCP_KEEPCNT},
}

// keepAlive are the values of keepAliveOptions.
type keepAlive [len(keepAliveOptions)]int

// setKeepAlive does what package net makes of KeepAlive.
func (o *StreamOptions) setKeepAlive(fd int) error {
	config := o.KeepAlive()
	values := keepAlive{0, seconds(config.Idle), seconds(config.Interval), config.Count}
	if config.Enable {
		values[0] = 1
	}
	return values.set(fd)
}

// set sets the values, but for intervals and numbers that are left to the system.
func (k keepAlive) set(fd int) error {
	for i, option := range keepAliveOptions {
		if i > 0 && k[i] <= 0 {
			continue
		}
		if err := unix.SetsockoptInt(fd, option.level, option.number, k[i]); err != nil {
			return os.NewSyscallError("setsockopt "+option.name, err)
		}
	}
	return nil
}

// keepAliveOf returns what a TCP socket has, and false for others.
func keepAliveOf(fd int) (k keepAlive, ok bool) {
	for i, option := range keepAliveOptions {
		value, err := unix.GetsockoptInt(fd, option.level, option.number)
		if err != nil {
			return k, false
		}
		k[i] = value
	}
	return k, true
}

// netConn makes a connection of package net of fd, which is closed if that fails.
// Keep-alive stays as it was.
func netConn(fd int) (net.Conn, error) {
	kept, tcp := keepAliveOf(fd)
	c, err := fileConn(fd)
	if err != nil || !tcp {
		return c, err
	}
	control(c.(syscall.Conn), func(fd uintptr) { err = kept.set(int(fd)) })
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// seconds rounds up.
func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

// A rawSocket is a syscall.RawConn of a socket that is not yet in use.
type rawSocket int

func (d rawSocket) Control(f func(fd uintptr)) error { f(uintptr(d)); return nil }

// Read and Write fail: nothing can be read or written yet.
func (d rawSocket) Read(func(fd uintptr) bool) error  { return syscall.EINVAL }
func (d rawSocket) Write(func(fd uintptr) bool) error { return syscall.EINVAL }
