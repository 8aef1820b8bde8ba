package load

import (
	"os/exec"
	"syscall"

	"golang.org/x/sys/windows"
)

// ownGroup puts a process into a group of its own.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: windows.CREATE_NEW_PROCESS_GROUP}
}
