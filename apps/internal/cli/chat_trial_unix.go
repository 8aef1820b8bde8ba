//go:build unix

package cli

import (
	"os/exec"
	"syscall"
)

// ownGroup keeps the terminal's signals from a process: it gets those of the trial.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
