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
