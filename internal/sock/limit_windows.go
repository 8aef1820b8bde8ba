package sock

import "math"

// OpenFiles is no bound: Windows has no limit of open files but memory.
func OpenFiles() int { return math.MaxInt32 }
