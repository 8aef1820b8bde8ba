package ringpoll_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/internal/polltest"
	"github.com/epinet/epi/internal/ringpoll"
	"github.com/epinet/epi/poll"
)

// The completions of what was cancelled must not end a Wait.
func TestP15_RemovalsDoNotShortenTheTimeout(t *testing.T) {
	const timeout = 5 * time.Millisecond
	p := open(t)
	for range 10 {
		r, _ := polltest.NewPipe(t)
		polltest.Must(t, p.Add(r.FD, 1, readable, poll.Edge))
		polltest.Expect(t, p)
		polltest.Must(t, p.Remove(r.FD))
		begin := time.Now()
		n, err := p.Wait(make([]poll.Event, 1), timeout)
		polltest.Must(t, err)
		if took := time.Since(begin); n != 0 || took < timeout {
			t.Errorf("%d events after %v", n, took)
		}
	}
}

// The thread may make no io_uring_enter, and must notice that only where there
// is something to ask for or to take.
func TestAGlanceAtNothingIsNoSystemCall(t *testing.T) {
	open(t) // or skip
	polltest.OnOwnThread(t, glanceWithoutCalls)
}

func glanceWithoutCalls() error {
	p, err := ringpoll.New()
	if err != nil {
		return err
	}
	defer func() { _ = p.Close() }()
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	var events [1]poll.Event
	if _, err = p.Wait(events[:], 0); err == nil {
		err = p.Add(fd, 1, readable, poll.Edge)
	}
	if err == nil {
		_, err = p.Wait(events[:], 0)
	}
	if err != nil {
		return err
	}
	if err := polltest.DenyCall(unix.SYS_IO_URING_ENTER, unix.EPERM); err != nil {
		return err
	}
	for range 3 {
		if n, err := p.Wait(events[:], 0); n != 0 || err != nil {
			return fmt.Errorf("glance at nothing: %d events, %w", n, err)
		}
	}
	if err := p.Wake(); err != nil {
		return err
	}
	if _, err := p.Wait(events[:], 0); !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("glance after a Wake: %w, want the call's EPERM", err)
	}
	return nil
}
