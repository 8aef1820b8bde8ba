package poll_test

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/internal/polltest"
	"github.com/epinet/epi/poll"
)

// An old kernel answers epoll_pwait2 with ENOSYS, an old container with EPERM.
func TestP15_FallsBackToMilliseconds(t *testing.T) {
	for _, errno := range []unix.Errno{unix.ENOSYS, unix.EPERM} {
		t.Run(unix.ErrnoName(errno), func(t *testing.T) {
			p := polltest.Open(t, poll.BackendEpoll)
			polltest.OnOwnThread(t, func() error {
				if err := polltest.DenyCall(unix.SYS_EPOLL_PWAIT2, errno); err != nil {
					return err
				}
				return waitInTime(p)
			})
			if !poll.CountsMilliseconds(p) {
				t.Error("epoll_pwait2 will be tried again")
			}
		})
	}
}

func waitInTime(p poll.Poller) error {
	for _, timeout := range []time.Duration{1, 300 * time.Microsecond, 1500 * time.Microsecond} {
		begin := time.Now()
		n, err := p.Wait(make([]poll.Event, 1), timeout)
		if took := time.Since(begin); n != 0 || err != nil || took < timeout {
			return fmt.Errorf("timeout %v: %d events, %v, after %v", timeout, n, err, took)
		}
	}
	return nil
}
