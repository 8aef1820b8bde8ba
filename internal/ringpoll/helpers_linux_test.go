package ringpoll_test

import (
	"runtime"
	"testing"

	"go.uber.org/goleak"

	"github.com/epinet/epi/internal/polltest"
	"github.com/epinet/epi/internal/ringpoll"
	"github.com/epinet/epi/poll"
	"github.com/epinet/epi/uring"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	readable = poll.Readable
	writable = poll.Writable
)

// ring is io_uring's poller as the subject of the contract.
var ring = polltest.Subject{Open: open, Interests: polltest.All, Edge: true, Holds: true}

// open returns a Poller that belongs to the test's goroutine, and locks that to
// its thread.
func open(tb testing.TB) poll.Poller {
	tb.Helper()
	if _, err := uring.Probe(); err != nil {
		tb.Skip(err)
	}
	runtime.LockOSThread()
	tb.Cleanup(runtime.UnlockOSThread)
	p, err := ringpoll.New()
	return polltest.Closing(tb, p, err)
}
