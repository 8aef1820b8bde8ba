package sock

import (
	"os"
	"syscall"
)

// PeerCredentialsOf is PeerCredentials of a connection of package net.
func PeerCredentialsOf(c syscall.Conn) (pid int, uid, gid uint32, err error) {
	err = os.ErrClosed
	control(c, func(fd uintptr) { pid, uid, gid, err = PeerCredentials(int(fd)) })
	return pid, uid, gid, err
}
