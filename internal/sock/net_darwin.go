package sock

import "golang.org/x/sys/unix"

const reusePort = unix.SO_REUSEPORT

// unacked asks how much lies in the socket's buffer until it is acknowledged
// (SO_NWRITE, getsockopt(2)).
func unacked(fd int) int {
	n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_NWRITE)
	if err != nil {
		return 0
	}
	return n
}
