package sock

import (
	"fmt"
	"syscall"
)

// MaxVectors is how many buffers one write takes at most.
const MaxVectors = 64

// PacketSendBuffer is what a Unix socket for datagrams asks for as its send buffer
// (SO_SNDBUF), which all its peers share. The system gives what it allows
// (net.core.wmem_max, socket(7)).
const PacketSendBuffer = 4 << 20

// ErrSelfConnect: a socket that was to connect to a port of this machine where
// nobody listens was given that very port as its own, and TCP has connected it to
// itself (RFC 9293, section 3.5, simultaneous open). Whoever wants to listen there
// could not.
var ErrSelfConnect = fmt.Errorf("%w: nobody listens, the connection was to itself", syscall.ECONNREFUSED)

// control runs f with the descriptor of something that package net has opened. It
// does nothing when that is closed.
func control(c syscall.Conn, f func(fd uintptr)) {
	raw, err := c.SyscallConn()
	if err == nil {
		_ = raw.Control(f) // closed: there is nothing to do
	}
}
