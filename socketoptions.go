package epi

import (
	"fmt"
	"syscall"
	"time"

	"github.com/epinet/epi/internal/sock"
)

// SocketOptions are settings of the system's sockets, for all connections of a
// listener or for a dialled one. Those not given are the system's, but for
// TCP_NODELAY, which is always set. Times are rounded up to what the system counts
// in. What a system does not have is an error that wraps errors.ErrUnsupported.
type SocketOptions struct {
	// KeepAlive says whether TCP looks by probes whether a silent peer is still
	// there. Default: Yes.
	KeepAlive Choice
	// KeepAliveIdle is the silence before the first probe, KeepAliveInterval the
	// time between two, KeepAliveCount how many may have no answer (TCP_KEEPIDLE,
	// TCP_KEEPINTVL, TCP_KEEPCNT, tcp(7)). Linux has 2 h, 75 s and 9.
	KeepAliveIdle, KeepAliveInterval time.Duration
	KeepAliveCount                   int
	// UserTimeout is how long the peer's host may leave sent bytes unacknowledged
	// before the connection breaks with syscall.ETIMEDOUT (TCP_USER_TIMEOUT, tcp(7);
	// Linux only). Unlike WriteTimeout it does not mind a peer whose host is there
	// and which does not read.
	UserTimeout time.Duration
	// ReceiveBuffer and SendBuffer are the sizes in bytes of the system's queues
	// (SO_RCVBUF, SO_SNDBUF, socket(7)), which then do not grow by themselves.
	// Linux gives twice as much, for its own use, and at most net.core.rmem_max
	// and wmem_max.
	ReceiveBuffer, SendBuffer int
	// DSCP marks the packets for networks that treat some better than others: a
	// code point from 1 to 63 (RFC 2474). There is none on Windows.
	DSCP int
	// Control is called with each new socket, after all that is above and before
	// it is bound or connects, as of net.ListenConfig and net.Dialer: network is
	// tcp4, tcp6 or unix. Its error, or its panic, ends Listen or the attempt to dial. A
	// loop may wait for it, and it must not block. A descriptor that it duplicates must
	// not be made a blocking one; Listener.File is for that. ListenOn does not call
	// it: such a socket is bound already.
	Control func(network, address string, c syscall.RawConn) error
}

// maxDSCP is the highest code point.
const maxDSCP = 63

func (o *SocketOptions) settings() (sock.StreamOptions, error) {
	for _, f := range []struct {
		name  string
		value int64
	}{
		{"KeepAliveIdle", int64(o.KeepAliveIdle)},
		{"KeepAliveInterval", int64(o.KeepAliveInterval)},
		{"KeepAliveCount", int64(o.KeepAliveCount)},
		{"UserTimeout", int64(o.UserTimeout)},
		{"ReceiveBuffer", int64(o.ReceiveBuffer)},
		{"SendBuffer", int64(o.SendBuffer)},
		{"DSCP", int64(o.DSCP)},
	} {
		if f.value < 0 {
			return sock.StreamOptions{}, fmt.Errorf("SocketOptions.%s is %d: it cannot be negative; 0 leaves it to the system", f.name, f.value)
		}
	}
	if o.DSCP > maxDSCP {
		return sock.StreamOptions{}, fmt.Errorf("SocketOptions.DSCP is %d: code points go to %d", o.DSCP, maxDSCP)
	}
	if err := o.KeepAlive.check("SocketOptions.KeepAlive"); err != nil {
		return sock.StreamOptions{}, err
	}
	return sock.StreamOptions{
		NoKeepAlive:   o.KeepAlive == No,
		KeepIdle:      o.KeepAliveIdle,
		KeepInterval:  o.KeepAliveInterval,
		KeepCount:     o.KeepAliveCount,
		UserTimeout:   o.UserTimeout,
		ReceiveBuffer: o.ReceiveBuffer,
		SendBuffer:    o.SendBuffer,
		DSCP:          o.DSCP,
		Control:       o.Control,
	}, nil
}
