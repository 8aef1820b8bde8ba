package cli

import (
	"os"
	"os/signal"
	"syscall"
)

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
