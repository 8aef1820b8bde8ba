package poll

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An eventFD is a kernel counter that is readable while it is not 0. It gets a
// goroutine out of the system call that it waits in.
type eventFD int

func newEventFD() (eventFD, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return -1, fmt.Errorf("eventfd: %w", err)
	}
	return eventFD(fd), nil
}

// signal adds one. Each call is a change of its own to whoever watches edges,
// also if the counter was not 0 before.
func (e eventFD) signal() error {
	err := e.write()
	if !errors.Is(err, unix.EAGAIN) {
		return err
	}
	// The counter stands at its maximum: empty it to make room for the edge.
	e.drain()
	return e.write()
}

func (e eventFD) write() error {
	one := uint64(1)
	_, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(e), uintptr(unsafe.Pointer(&one)), unsafe.Sizeof(one))
	if errno != 0 {
		return fmt.Errorf("write eventfd: %w", errno)
	}
	return nil
}

// drain sets the counter to 0. That it was 0 already is no error.
func (e eventFD) drain() {
	var count uint64
	unix.RawSyscall(unix.SYS_READ, uintptr(e), uintptr(unsafe.Pointer(&count)), unsafe.Sizeof(count))
}

func (e eventFD) close() error { return unix.Close(int(e)) }
