package cli

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// interruptible returns a context that SIGINT or SIGTERM ends. Until end is called,
// further ones do nothing.
func interruptible() (ctx context.Context, end context.CancelFunc) {
	return signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
}

// interruptibleOnce is interruptible for a command that may take long to end: a second
// signal kills it.
func interruptibleOnce() (ctx context.Context, end context.CancelFunc) {
	ctx, end = interruptible()
	context.AfterFunc(ctx, end)
	return ctx, end
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
