package sock

import "syscall"

// control runs f with the descriptor of something that package net has opened. It
// does nothing when that is closed.
func control(c syscall.Conn, f func(fd uintptr)) {
	raw, err := c.SyscallConn()
	if err == nil {
		_ = raw.Control(f) // closed: there is nothing to do
	}
}
