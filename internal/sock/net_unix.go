//go:build linux || darwin || freebsd

package sock

import (
	"cmp"
	"errors"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// A descriptor is what the system's calls name a socket by.
type descriptor = int

// Errno translates a system's own numbers of errors into those of package
// syscall: here they are the same.
func Errno(err error) error { return err }

// ReusePort is the Control of a socket that shares its port with others.
func ReusePort(_, _ string, c syscall.RawConn) error {
	return setOption(c, "SO_REUSEPORT", unix.SOL_SOCKET, reusePort, 1)
}

func setOption(c syscall.RawConn, name string, level, option, value int) error {
	var err error
	failed := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), level, option, value) })
	return errors.Join(failed, os.NewSyscallError("setsockopt "+name, err))
}

// Acknowledged reports whether the peer's host has acknowledged everything that was
// written to a connection of package net.
func Acknowledged(c *net.TCPConn) bool { return UnackedOf(c) == 0 }

// UnackedOf returns how much of what was written to a connection of package net
// the peer's kernel has not acknowledged, 0 for one that has failed.
func UnackedOf(c syscall.Conn) int {
	n := 0
	control(c, func(fd uintptr) { n = unacked(int(fd)) })
	return n
}

// SendUnix sends a datagram to a Unix socket, or fails at once with EAGAIN where that has no
// room (unix(7)). A deadline would not do: it can be over before anything was tried.
func SendUnix(c *net.UnixConn, p []byte, to string) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	failed := raw.Write(func(fd uintptr) bool {
		for {
			if err = unix.Sendto(int(fd), p, 0, &unix.SockaddrUnix{Name: to}); err != unix.EINTR {
				return true
			}
		}
	})
	return cmp.Or(failed, err)
}

// A Backlog is the queue of connections that wait for a listener of package net
// to accept them, for the time when there are no descriptors. It has one of its
// own for that.
type Backlog struct {
	file *os.File
	raw  syscall.RawConn
}

// NewBacklog returns the queue of ln, a TCP or Unix listener.
func NewBacklog(ln net.Listener) (*Backlog, error) {
	file, err := ln.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		return nil, err
	}
	raw, err := file.SyscallConn()
	return &Backlog{file, raw}, err
}

// Await waits until there is a connection to accept, or Close.
func (b *Backlog) Await() {
	// It fails only when the file is closed.
	_ = b.raw.Read(func(fd uintptr) bool {
		events := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(events, 0)
		return n > 0 || err != nil && err != unix.EINTR
	})
}

// Accept waits for a connection and returns it, or fails after Close. Unlike the
// listener's own Accept it does so whatever others, who have the socket too, do to
// its mode: see AcceptShared.
func (b *Backlog) Accept() (net.Conn, error) {
	fd, err := -1, error(nil)
	failed := b.raw.Read(func(listener uintptr) bool {
		fd, err = acceptShared(int(listener))
		return err != unix.EAGAIN
	})
	if err := cmp.Or(failed, os.NewSyscallError("accept", err)); err != nil {
		return nil, err
	}
	return netConn(fd)
}

// fileConn makes a connection of package net of fd, which is closed if that fails.
// It has package net's own settings of keep-alive.
func fileConn(fd int) (net.Conn, error) {
	f := os.NewFile(uintptr(fd), "")
	defer f.Close() // FileConn has a duplicate
	return net.FileConn(f)
}

// AcceptAndClose lets one client know that it cannot be served. It returns EAGAIN
// when none waits.
func (b *Backlog) AcceptAndClose() error {
	var err error
	failed := b.raw.Control(func(fd uintptr) {
		var conn int
		if conn, err = acceptShared(int(fd)); err == nil {
			err = unix.Close(conn)
		}
	})
	return errors.Join(failed, err)
}

// Close gives the descriptor back.
func (b *Backlog) Close() error { return b.file.Close() }
