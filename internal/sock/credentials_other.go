//go:build !linux && !darwin

package sock

import (
	"errors"
	"fmt"
	"runtime"
)

// PeerCredentials fails: how this system reports them is not known here.
func PeerCredentials(int) (pid int, uid, gid uint32, err error) {
	return 0, 0, 0, fmt.Errorf("credentials of the peer on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}
