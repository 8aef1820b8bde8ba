package driver

import (
	"github.com/epinet/epi/poll"
	"github.com/epinet/epi/uring"
)

// newNative makes a driver that uses the system calls of Linux. With
// io_uring the kernel does the I/O of the loop's sockets. Workers do their own:
// blocking handlers must not hold what all connections receive into, and only
// one thread may submit. So for them io_uring is the poller.
func newNative(cfg Config) (Driver, error) {
	if cfg.Backend == Uring && !cfg.Lend {
		return newCompletion(cfg)
	}
	return newReadiness(cfg)
}

// Probe says why the backend cannot be had here. It is nil when it can.
func Probe(b poll.Backend) error {
	if b != Uring {
		return nil
	}
	_, err := uring.Probe()
	return err
}
