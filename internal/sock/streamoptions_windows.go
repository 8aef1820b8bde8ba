package sock

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/windows"
)

func (o *StreamOptions) setBuffers(fd uintptr) error {
	if o.ReceiveBuffer > 0 {
		if err := windows.SetsockoptInt(windows.Handle(fd), windows.SOL_SOCKET, windows.SO_RCVBUF, o.ReceiveBuffer); err != nil {
			return os.NewSyscallError("setsockopt SO_RCVBUF", err)
		}
	}
	if o.SendBuffer > 0 {
		if err := windows.SetsockoptInt(windows.Handle(fd), windows.SOL_SOCKET, windows.SO_SNDBUF, o.SendBuffer); err != nil {
			return os.NewSyscallError("setsockopt SO_SNDBUF", err)
		}
	}
	return nil
}

// setTrafficClass fails: Windows marks packets by policies of the administrator.
func setTrafficClass(uintptr, bool, int) error {
	return fmt.Errorf("windows does not take it from programs: %w", errors.ErrUnsupported)
}

// limitMode does nothing: chmod follows.
func limitMode(uintptr, fs.FileMode) {}
