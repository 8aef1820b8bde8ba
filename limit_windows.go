package epi

import "math"

// openFilesLimit is no bound: Windows has no limit of open files but memory.
func openFilesLimit() int { return math.MaxInt32 }
