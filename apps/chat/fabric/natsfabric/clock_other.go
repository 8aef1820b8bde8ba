//go:build !linux

package natsfabric

import "time"

var start = time.Now()

// now is Go's monotonic clock. It may stand still while the machine sleeps.
func now() time.Duration { return time.Since(start) }
