package sock

import "golang.org/x/sys/unix"

// reusePort spreads connections over the sockets, as Linux does (setsockopt(2)).
const reusePort = unix.SO_REUSEPORT_LB

// fionWrite is FIONWRITE of sys/filio.h, _IOR('f', 119, int), which package unix
// does not have.
const fionWrite = 0x40046677

// unacked asks how much lies in the socket's buffer until it is acknowledged.
func unacked(fd int) int {
	n, err := unix.IoctlGetInt(fd, fionWrite)
	if err != nil {
		return 0
	}
	return n
}
