//go:build unix

package sock

import (
	"math"
	"syscall"
)

// OpenFiles is the soft limit of open files (getrlimit(2)), which bounds the sockets.
func OpenFiles() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return math.MaxInt32
	}
	return int(min(uint64(limit.Cur), math.MaxInt32)) // of other systems Cur has a sign
}
