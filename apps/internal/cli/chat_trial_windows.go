package cli

import "os/exec"

// ownGroup is of no use here: the terminal's signals reach all processes.
func ownGroup(*exec.Cmd) {}
