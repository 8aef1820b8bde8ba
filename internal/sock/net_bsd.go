//go:build darwin || freebsd

package sock

import "syscall"

// BindLate is the Control of a socket that is bound to an address before it
// connects. Where bind(2) cannot leave the port to connect(2), there is nothing to
// set.
func BindLate(string, string, syscall.RawConn) error { return nil }
