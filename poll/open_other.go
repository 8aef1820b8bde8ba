//go:build !linux

package poll

import (
	"errors"
	"fmt"
	"runtime"
)

func backends() []Backend { return nil }

func open(Backend) (Poller, error) {
	return nil, fmt.Errorf("no backend on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}
