//go:build unix

package epi

import (
	"math"
	"syscall"
)

// openFilesLimit is the soft limit of open files, which bounds the connections.
func openFilesLimit() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return math.MaxInt32
	}
	return int(min(uint64(limit.Cur), math.MaxInt32)) // of other systems Cur has a sign
}
