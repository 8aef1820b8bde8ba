package uring

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Waker ends the Wait of a ring from any goroutine.
type Waker struct {
	fd int // an eventfd that is never read: each write is an edge of its own
}

// NewWaker makes a Waker. It is armed on a ring by an entry that Arm fills.
func NewWaker() (*Waker, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("eventfd", err)
	}
	return &Waker{fd}, nil
}

// Arm makes sqe the operation that completes whenever Wake is called. When its
// completion has not HasMore it must be armed again.
func (w *Waker) Arm(sqe *SQE) { sqe.PollMultishot(w.fd, unix.POLLIN) }

// Wake completes the operation of Arm. It may be called from any goroutine.
// Many wakes may come out as one.
func (w *Waker) Wake() error {
	one := uint64(1)
	_, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(w.fd), uintptr(unsafe.Pointer(&one)), unsafe.Sizeof(one))
	if errno != 0 {
		return os.NewSyscallError("write eventfd", errno)
	}
	return nil
}

// Close frees the Waker, behind the ring. Nobody may call Wake any more: its
// descriptor's number may be somebody else's.
func (w *Waker) Close() error { return os.NewSyscallError("close", unix.Close(w.fd)) }
