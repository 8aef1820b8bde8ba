//go:build unix

package proc

import (
	"syscall"
	"time"
)

// Own returns the CPU time that this process has used.
func Own() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0 // only for a bad address or a bad who
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
