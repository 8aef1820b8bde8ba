//go:build !linux

package sock

import (
	"errors"
	"fmt"
	"runtime"
)

// setUserTimeout fails: TCP_USER_TIMEOUT is Linux' own.
func setUserTimeout(uintptr, int) error {
	return fmt.Errorf("%s has none: %w", runtime.GOOS, errors.ErrUnsupported)
}
