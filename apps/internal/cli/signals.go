package cli

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// interruptible returns a context that SIGINT or SIGTERM ends. Until end is called,
// further ones do nothing: who is to end at the second calls end by context.AfterFunc.
func interruptible() (ctx context.Context, end context.CancelFunc) {
	return signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
}

// notifyHangup asks for SIGHUP, at which files are read again.
func notifyHangup() <-chan os.Signal {
	hangups := make(chan os.Signal, 1) // several at once are as good as one
	signal.Notify(hangups, syscall.SIGHUP)
	return hangups
}

// drainAtHangup is for a server without such files, whose terminal may go away.
// One that was started to outlive its terminal, as nohup does, stays.
func drainAtHangup(signals chan<- os.Signal) {
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(signals, syscall.SIGHUP)
	}
}
