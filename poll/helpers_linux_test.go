package poll_test

import (
	"errors"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/internal/polltest"
	"github.com/epinet/epi/poll"
)

func eachBackend(t *testing.T, f func(t *testing.T, b poll.Backend)) {
	t.Helper()
	for _, b := range poll.Backends() {
		t.Run(string(b), func(t *testing.T) { f(t, b) })
	}
}

// refused asserts that the backend says it cannot, in words that name it.
func refused(t *testing.T, err error, words ...string) {
	t.Helper()
	if !errors.Is(err, errors.ErrUnsupported) {
		t.Fatalf("error %v, want ErrUnsupported", err)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("error %q does not say %q", err, word)
		}
	}
}

// waits are calls of Wait, each in a goroutine with a thread of its own.
type waits struct {
	t       *testing.T
	tid     int // the thread of the last one
	results chan waitResult
}

type waitResult struct {
	events []poll.Event
	err    error
}

// startWaits calls Wait n times and returns when all the threads sleep in the
// kernel.
func startWaits(t *testing.T, p poll.Poller, n int) *waits {
	t.Helper()
	w := &waits{t: t, results: make(chan waitResult, n)}
	started := make(chan int)
	for range n {
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			events := make([]poll.Event, 8)
			started <- unix.Gettid()
			n, err := p.Wait(events, -1)
			w.results <- waitResult{events[:n], err}
		}()
		w.tid = <-started
		polltest.Must(t, polltest.AwaitAsleep(w.tid))
	}
	return w
}

// await returns what one of them does.
func (w *waits) await() []poll.Event {
	w.t.Helper()
	r := polltest.Receive(w.t, w.results)
	polltest.Must(w.t, r.err)
	return r.events
}
