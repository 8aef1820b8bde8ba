package cluster

import (
	"context"
	"errors"
	"os"
	"time"
)

func (*run) stopProcess(context.Context, *node, time.Duration) error {
	return errors.New("this system cannot stop a process and let it go on")
}

func terminate(*os.Process) error {
	return errors.New("this system cannot ask a process to end")
}

func canSlow() bool { return false }

func (*run) slowDisk(context.Context, *node, time.Duration) error {
	return errors.New("this system has no strace")
}
