//go:build !linux

package epitest

// nativeModes returns none: the drivers that make system calls by themselves need
// Linux.
func nativeModes(int) []Mode { return nil }
