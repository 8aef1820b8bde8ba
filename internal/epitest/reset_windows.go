package epitest

import (
	"errors"

	"golang.org/x/sys/windows"
)

// IsReset reports whether a client's error says that the server has reset the
// connection.
func IsReset(err error) bool {
	return errors.Is(err, windows.WSAECONNRESET) || errors.Is(err, windows.WSAECONNABORTED)
}
