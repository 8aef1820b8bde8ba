//go:build unix

package cluster

import (
	"context"
	"syscall"
	"time"
)

// stopProcess stops a process for a time.
func (*run) stopProcess(ctx context.Context, n *node, d time.Duration) error {
	if err := n.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	wait(ctx, d)
	return n.cmd.Process.Signal(syscall.SIGCONT)
}
