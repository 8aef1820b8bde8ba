package proc

import (
	"time"

	"golang.org/x/sys/windows"
)

// Own returns the CPU time that this process has used.
func Own() time.Duration {
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
