package uring

import "unsafe"

// address returns p as the kernel wants it, and sees to it that what p points
// to is on the heap: variables on a goroutine's stack move.
func address(p unsafe.Pointer) uint64 {
	if escaped != nil {
		escaped = p
	}
	return uint64(uintptr(p))
}

// escaped is nil for ever, which the compiler does not know.
var escaped unsafe.Pointer
