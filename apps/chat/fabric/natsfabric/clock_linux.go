package natsfabric

import (
	"time"

	"golang.org/x/sys/unix"
)

// now is a monotonic clock that also goes on while the machine sleeps
// (clock_gettime(2), CLOCK_BOOTTIME), which Go's does not: a lease is over when it is
// over for the others.
func now() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) != nil {
		return time.Since(start)
	}
	return time.Duration(t.Nano())
}

var start = time.Now()
