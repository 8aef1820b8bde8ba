//go:build linux || darwin || freebsd

package sock

import (
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

func (o *StreamOptions) setBuffers(fd uintptr) error {
	if o.ReceiveBuffer > 0 {
		if err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, o.ReceiveBuffer); err != nil {
			return os.NewSyscallError("setsockopt SO_RCVBUF", err)
		}
	}
	if o.SendBuffer > 0 {
		if err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, o.SendBuffer); err != nil {
			return os.NewSyscallError("setsockopt SO_SNDBUF", err)
		}
	}
	return nil
}

// setTrafficClass sets what the packets are marked with. A socket of IPv6 can have
// connections of IPv4, too.
func setTrafficClass(fd uintptr, six bool, class int) error {
	if six {
		if err := unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_TCLASS, class); err != nil {
			return os.NewSyscallError("setsockopt IPV6_TCLASS", err)
		}
	}
	err := unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TOS, class)
	if six && err != nil {
		return nil // where a socket is of one family alone
	}
	return os.NewSyscallError("setsockopt IP_TOS", err)
}

// limitMode sees to it that nobody gets in between bind and chmod: on Linux bind(2)
// gives the file this mode, but for what the umask forbids.
func limitMode(fd uintptr, mode fs.FileMode) {
	// Elsewhere it fails, and chmod follows a moment after listen(2).
	_ = unix.Fchmod(int(fd), uint32(mode))
}
