package poll

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

func backends() []Backend {
	return []Backend{BackendSelect, BackendPoll, BackendEpoll}
}

func open(b Backend) (Poller, error) {
	switch b {
	case BackendSelect:
		return newScanner(selectCall)
	case BackendPoll:
		return newScanner(pollCall)
	case BackendEpoll:
		return newEpoll()
	}
	return nil, fmt.Errorf("no such backend: %w", errors.ErrUnsupported)
}

// registrationError says what was being done to which descriptor, and turns
// the errno values that the contract has names for into those.
func registrationError(b Backend, act string, fd int, err error) error {
	switch err {
	case nil:
		return nil
	case unix.EEXIST:
		err = ErrExist
	case unix.ENOENT:
		err = ErrNotExist
	}
	return fmt.Errorf("%s %s fd %d: %w", b, act, fd, err)
}

// What every backend refuses before it looks at anything else.
var (
	errReservedToken = fmt.Errorf("token is ReservedToken: %w", unix.EINVAL)
	errNoRoom        = fmt.Errorf("no room for events: %w", unix.EINVAL)
)
