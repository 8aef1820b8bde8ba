//go:build unix

package load

import (
	"os/exec"
	"syscall"
	"time"
)

// processorTime returns the CPU time that the process has used.
func processorTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0 // only for a bad address or a bad who
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// ownGroup puts a process into a group of its own.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
