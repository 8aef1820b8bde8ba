package load

import (
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/windows"
)

// processorTime returns the CPU time that the process has used.
func processorTime() time.Duration {
	var created, exited, kernel, user windows.Filetime
	if err := windows.GetProcessTimes(windows.CurrentProcess(), &created, &exited, &kernel, &user); err != nil {
		return 0 // only for a bad handle
	}
	return span(kernel) + span(user)
}

// span is a length of time, which Windows counts in 100 ns.
func span(t windows.Filetime) time.Duration {
	return time.Duration(int64(t.HighDateTime)<<32|int64(t.LowDateTime)) * 100
}

// ownGroup puts a process into a group of its own.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: windows.CREATE_NEW_PROCESS_GROUP}
}
