//go:build !linux

package driver

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/epinet/epi/poll"
)

func newNative(cfg Config) (Driver, error) { return nil, Probe(cfg.Backend) }

// Probe says why the backend cannot be had here. It is nil when it can.
func Probe(b poll.Backend) error {
	if b == Portable {
		return nil
	}
	return fmt.Errorf("the %s driver needs Linux, and this is %s: %w", b, runtime.GOOS, errors.ErrUnsupported)
}
