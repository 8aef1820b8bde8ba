// Package tcp has what the servers of the course share: a listening socket, and
// accept until all are in.
package tcp

import (
	"fmt"
	"log"
	"net/netip"

	"golang.org/x/sys/unix"
)

// backlog is how many connections may wait to be accepted (listen(2)).
const backlog = 1024

// Listen returns a non-blocking socket that listens on a port of this machine, and
// prints where; port 0 lets the kernel choose. The program ends if it cannot.
func Listen(port string) (fd int) {
	address, err := netip.ParseAddrPort("127.0.0.1:" + port)
	Check(err)
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	Check(err)
	Check(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1))
	Check(unix.Bind(fd, &unix.SockaddrInet4{Addr: address.Addr().As4(), Port: int(address.Port())}))
	Check(unix.Listen(fd, backlog))
	bound, err := unix.Getsockname(fd)
	Check(err)
	fmt.Printf("listening on 127.0.0.1:%d\n", bound.(*unix.SockaddrInet4).Port)
	return fd
}

// Accept gives every connection that waits to take, as a non-blocking descriptor.
// It returns when none waits, or when no descriptor is free: then it is to be
// called again when one was closed, since an edge is reported once.
func Accept(listener int, take func(fd int)) {
	for {
		fd, _, err := unix.Accept4(listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch err {
		case nil:
			take(fd)
		case unix.ECONNABORTED, unix.EINTR: // that client has gone, or a signal came
		case unix.EAGAIN, unix.EMFILE, unix.ENFILE:
			return
		default:
			log.Fatalf("accept: %v", err)
		}
	}
}

// Check ends the program at an error.
func Check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
