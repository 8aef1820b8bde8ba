//go:build !linux

package cli

import "math"

// memoryRoom does not know how much memory this process can have.
func memoryRoom() int { return math.MaxInt }
