package sock

import (
	"os"

	"golang.org/x/sys/unix"
)

// PeerCredentials returns who is at the other end of a Unix socket, as it was when
// that connected or began to listen (SO_PEERCRED, unix(7)).
func PeerCredentials(fd int) (pid int, uid, gid uint32, err error) {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return 0, 0, 0, os.NewSyscallError("getsockopt SO_PEERCRED", err)
	}
	return int(cred.Pid), cred.Uid, cred.Gid, nil
}
