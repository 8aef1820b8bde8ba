//go:build unix

package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
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

// terminate asks a process to end.
func terminate(p *os.Process) error { return p.Signal(syscall.SIGTERM) }

// tracer is strace(1), of Linux.
const tracer = "strace"

// canSlow says whether there is what slowDisk needs.
func canSlow() bool {
	_, err := exec.LookPath(tracer)
	return err == nil
}

// slowSync is how much longer each fsync takes.
const slowSync = 200 * time.Millisecond

// slowDisk makes a process wait for its disk for a time. It goes on when strace ends,
// however that does.
func (r *run) slowDisk(ctx context.Context, n *node, d time.Duration) error {
	calls := "fsync,fdatasync"
	strace := exec.Command(tracer, "-f", "-qq", "-o", os.DevNull, "-p", strconv.Itoa(n.cmd.Process.Pid),
		"-e", "trace="+calls, "-e", fmt.Sprintf("inject=%s:delay_enter=%d", calls, slowSync.Microseconds()))
	if err := strace.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- strace.Wait() }()
	select {
	case err := <-ended:
		return fmt.Errorf("%s has ended at once: %w", tracer, err)
	case <-time.After(d):
	case <-ctx.Done():
	}
	if err := terminate(strace.Process); err != nil {
		return err
	}
	<-ended // it says that a signal has ended it
	return nil
}
