package cli

import (
	"math"
	"time"

	"golang.org/x/sys/windows"
)

// processorTime returns the CPU time that the process has used.
func processorTime() time.Duration {
	var created, exited, kernel, user windows.Filetime
	if err := windows.GetProcessTimes(windows.CurrentProcess(), &created, &exited, &kernel, &user); err != nil {
		return 0 // only for a bad handle
	}
	return span(kernel) + span(user)
}

// span is a length of time, which Windows counts in 100 ns.
func span(t windows.Filetime) time.Duration {
	return time.Duration(int64(t.HighDateTime)<<32|int64(t.LowDateTime)) * 100
}

// measureRoom is no bound: Windows has no limit of open files but memory.
func measureRoom(string) (room, error) { return room{limit: math.MaxInt32, of: ofOpenFiles}, nil }

// raiseOpenFiles has no limit to raise.
func raiseOpenFiles() error { return nil }

func closeOnExec(fd int) { windows.CloseOnExec(windows.Handle(fd)) }
