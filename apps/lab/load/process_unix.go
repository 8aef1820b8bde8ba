//go:build unix

package load

import (
	"os/exec"
	"syscall"
)

// ownGroup puts a process into a group of its own.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
