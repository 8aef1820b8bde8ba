package sock

import (
	"io"

	"golang.org/x/sys/unix"
)

// NewPipe makes a non-blocking pipe for splice(2), asked to hold size bytes. Without
// privilege the system has limits for all pipes of a user (pipe(7)); where they are
// reached it holds less.
func NewPipe(size int) (read, write int, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		return -1, -1, err
	}
	_, _ = unix.FcntlInt(uintptr(fds[1]), unix.F_SETPIPE_SZ, size)
	return fds[0], fds[1], nil
}

// FillPipe moves up to most bytes that have arrived on a non-blocking stream socket
// into an empty pipe. It returns unix.EAGAIN when there are none, and io.EOF at the
// end of the stream. Fewer than most say nothing about what is left.
func FillPipe(write, socket, most int) (int, error) {
	n, err := splice(socket, write, most)
	if n == 0 && err == nil {
		return 0, io.EOF
	}
	return n, err
}

// EmptyPipe moves up to held bytes out of a pipe into a non-blocking stream socket.
// It returns unix.EAGAIN when there is no room; fewer do not say that. A SIGPIPE may be raised, which Go's runtime ignores unless the
// program has asked for it.
func EmptyPipe(socket, read, held int) (int, error) { return splice(read, socket, held) }

func splice(from, to, most int) (int, error) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0, uintptr(most), unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
		switch errno {
		case unix.EINTR:
			continue
		case 0:
			return int(n), nil
		}
		return 0, errno
	}
}

// CannotSplice reports whether splice(2) failed because it is not to be had for
// such sockets, or was forbidden.
func CannotSplice(err error) bool {
	return err == unix.EINVAL || err == unix.ENOSYS || err == unix.EPERM || err == unix.EOPNOTSUPP
}
