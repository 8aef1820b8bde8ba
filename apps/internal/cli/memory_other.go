//go:build !linux

package cli

import "math"

// memoryRoom cannot tell how much memory this process can have.
func memoryRoom() int { return math.MaxInt }
