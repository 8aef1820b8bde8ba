package cli

import (
	"math"

	"golang.org/x/sys/windows"
)

// measureRoom is no bound: Windows has no limit of open files but memory.
func measureRoom(string) (room, error) { return room{limit: math.MaxInt32, of: ofOpenFiles}, nil }

// raiseOpenFiles has no limit to raise.
func raiseOpenFiles() error { return nil }

// inherit is for a descriptor that was handed over, which nobody does.
func inherit(fd int) (socket bool, err error) {
	windows.CloseOnExec(windows.Handle(fd))
	return true, nil
}
