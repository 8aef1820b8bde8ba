//go:build unix

package epitest

import (
	"errors"
	"syscall"
)

// IsReset reports whether a client's error says that the server has reset the
// connection.
func IsReset(err error) bool { return errors.Is(err, syscall.ECONNRESET) }
