package driver

import (
	"golang.org/x/sys/unix"

	"github.com/epinet/epi/poll"
)

// A gate is an epoll instance that watches one socket for datagrams, and is watched
// in its place by io_uring, poll and select. For as long as one of those waits for
// a socket itself, the kernel keeps it, and its address, whoever closes it
// (fget in io_uring/poll.c and fs/select.c); an epoll instance does not (epoll(7),
// question 6). So StopPacket can free the address while a loop waits.
//
// A gate is readable while the socket is ready for what is asked for.

// noGate: the socket itself is watched.
const noGate = -1

// newGate returns the gate of a socket that can be stopped, or noGate where none is needed
// or to be had: then the address is free when the loop has let go of the socket.
func (d *descriptors) newGate(s *PacketSocket) int {
	if d.cfg.Backend == poll.BackendEpoll || !s.internet || s.Remote != (Endpoint{}) {
		return noGate
	}
	gate, err := d.calls.NewGate(int(s.Handle))
	if err != nil {
		return noGate
	}
	return gate
}

// setGate changes what the gate's socket is watched for.
func (d *descriptors) setGate(s *PacketSocket, want poll.Mask) error {
	return d.calls.SetGate(s.gate, int(s.Handle), want)
}

// NewGate and SetGate are those of calls.
func (linux) NewGate(fd int) (gate int, err error) {
	gate, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return noGate, err
	}
	if err := controlGate(gate, unix.EPOLL_CTL_ADD, fd, poll.Readable); err != nil {
		_ = unix.Close(gate)
		return noGate, err
	}
	return gate, nil
}

func (linux) SetGate(gate, fd int, want poll.Mask) error {
	return controlGate(gate, unix.EPOLL_CTL_MOD, fd, want)
}

func controlGate(gate, operation, fd int, want poll.Mask) error {
	event := unix.EpollEvent{Events: unix.EPOLLIN}
	if want&poll.Writable != 0 {
		event.Events |= unix.EPOLLOUT
	}
	return unix.EpollCtl(gate, operation, fd, &event)
}

// watched returns the descriptor that is watched for the socket.
func (s *PacketSocket) watched() int {
	if s.gate != noGate {
		return s.gate
	}
	return int(s.Handle)
}
