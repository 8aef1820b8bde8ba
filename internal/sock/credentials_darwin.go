package sock

import (
	"os"

	"golang.org/x/sys/unix"
)

// PeerCredentials returns who is at the other end of a Unix socket, as it was when
// that connected or began to listen (LOCAL_PEERCRED, unix(4)).
func PeerCredentials(fd int) (pid int, uid, gid uint32, err error) {
	cred, err := unix.GetsockoptXucred(fd, unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
	if err != nil {
		return 0, 0, 0, os.NewSyscallError("getsockopt LOCAL_PEERCRED", err)
	}
	pid, err = unix.GetsockoptInt(fd, unix.SOL_LOCAL, unix.LOCAL_PEERPID)
	if err != nil {
		return 0, 0, 0, os.NewSyscallError("getsockopt LOCAL_PEERPID", err)
	}
	return pid, cred.Uid, cred.Groups[0], nil
}
