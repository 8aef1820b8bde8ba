package poll

import (
	"math"
	"time"
)

// longestSleep bounds the timeout of one system call, so that its seconds fit
// where a C long has 32 bits. Wait calls again until its own timeout is over.
const longestSleep = math.MaxInt32 * time.Second

// A deadline is the end of a Wait, which may take several system calls.
type deadline struct {
	timeout time.Duration
	at      time.Time // only if timeout is positive
}

func newDeadline(timeout time.Duration) deadline {
	d := deadline{timeout: timeout}
	if timeout > 0 {
		d.at = time.Now().Add(timeout)
	}
	return d
}

// left returns the timeout for the next system call: a positive timeout shrinks
// to 0, the others stay what they are.
func (d deadline) left() time.Duration {
	if d.timeout <= 0 {
		return d.timeout
	}
	return max(0, time.Until(d.at))
}
