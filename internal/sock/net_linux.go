package sock

import (
	"syscall"

	"golang.org/x/sys/unix"
)

const reusePort = unix.SO_REUSEPORT

func unsent(fd int) int { return Unacked(fd) }

// BindLate is the Control of a socket that is bound to an address before it
// connects: see bindAddress.
func BindLate(_, _ string, c syscall.RawConn) error {
	// On a socket that has no port to choose it fails, and is not needed.
	_ = setOption(c, "IP_BIND_ADDRESS_NO_PORT", unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	return nil
}
