package epitest

import (
	"fmt"
	"io"
	"net"

	"golang.org/x/sys/unix"
)

// A RawClient is a blocking TCP socket without Go's poller: its methods
// allocate nothing, and ten thousand of them cost a process nothing but
// descriptors. A read that waits for longer than Patience fails.
type RawClient int

// DialRaw connects to an IPv4 address, from 127.0.0.source: each source address
// has ports of its own; closed connections keep theirs for a minute.
func DialRaw(to *net.TCPAddr, source byte) (RawClient, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	c := RawClient(fd)
	if err := c.connect(to, source); err != nil {
		c.Close()
		return -1, err
	}
	return c, nil
}

func (c RawClient) connect(to *net.TCPAddr, source byte) error {
	fd := int(c)
	timeout := unix.NsecToTimeval(int64(Patience))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		return fmt.Errorf("setsockopt SO_RCVTIMEO: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return fmt.Errorf("setsockopt TCP_NODELAY: %w", err)
	}
	// connect(2) chooses the port, which needs to be free for this peer only.
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
		return fmt.Errorf("setsockopt IP_BIND_ADDRESS_NO_PORT: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, source}}); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: to.Port, Addr: [4]byte(to.IP.To4())}); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	return nil
}

// Aside moves the client's descriptor to one from least up: a server of the
// same process then has those below for itself, as in a process of its own.
func (c RawClient) Aside(least int) (RawClient, error) {
	fd, err := unix.FcntlInt(uintptr(c), unix.F_DUPFD_CLOEXEC, least)
	if err != nil {
		return c, fmt.Errorf("fcntl F_DUPFD_CLOEXEC: %w", err)
	}
	c.Close()
	return RawClient(fd), nil
}

// Write sends all of p.
func (c RawClient) Write(p []byte) (int, error) {
	sent := 0
	for sent < len(p) {
		n, err := unix.Write(int(c), p[sent:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return sent, err
		}
		sent += n
	}
	return sent, nil
}

// Read is read(2), with io.EOF for the end of the stream.
func (c RawClient) Read(p []byte) (int, error) {
	for {
		n, err := unix.Read(int(c), p)
		if err == unix.EINTR {
			continue
		}
		if err == nil && n == 0 {
			err = io.EOF
		}
		return max(n, 0), err
	}
}

// Close closes the socket.
func (c RawClient) Close() { _ = unix.Close(int(c)) }
