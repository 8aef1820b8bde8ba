//go:build unix

package cli

import (
	"fmt"
	"syscall"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/sock"
)

// selectLimit is FD_SETSIZE, select(2).
const selectLimit = 1024

// measureRoom looks at the limit of the driver and at the descriptors that are
// open now, which cannot be connections.
func measureRoom(driver string) (room, error) {
	r := room{limit: sock.OpenFiles(), of: ofOpenFiles}
	if driver == string(epi.DriverSelect) && r.limit > selectLimit {
		r.limit, r.of = selectLimit, ofSelect
	}
	open, err := openBelow(r.limit)
	r.open = open
	return r, err
}

// fewestOpenFiles is what a server needs for itself, with some to spare: the
// standard streams, two descriptors for each loop, the listeners, the reserve,
// and those of the Go runtime, which ends the program when it cannot have them.
const fewestOpenFiles = 32

// raiseOpenFiles raises the soft limit of open files to the hard one. The Go
// runtime does so too, but only in a process that has not set the limit itself.
func raiseOpenFiles() error {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return fmt.Errorf("ask for the limit of open files: %w", err)
	}
	if uint64(files.Max) < fewestOpenFiles {
		return fmt.Errorf("the limit of open files is %d, too low for a server; raise it with ulimit -n, to %d or more", files.Max, fewestOpenFiles)
	}
	if files.Cur >= files.Max {
		return nil
	}
	files.Cur = files.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return fmt.Errorf("raise the limit of open files to %d: %w", files.Max, err)
	}
	return nil
}

// inherit keeps a descriptor from programs that this one starts, and reports
// whether it is a socket.
func inherit(fd int) (socket bool, err error) {
	var about syscall.Stat_t
	if err := syscall.Fstat(fd, &about); err != nil {
		return false, err
	}
	syscall.CloseOnExec(fd)
	return about.Mode&syscall.S_IFMT == syscall.S_IFSOCK, nil
}
