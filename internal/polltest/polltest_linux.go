// Package polltest is what the tests of the pollers share: files that are closed
// with the test, looks at what a poller finds, and the contract of poll.Poller
// as tests that every poller is put through.
//
// Some pollers belong to one thread. So the goroutine of a test of the contract
// is the one that opens the poller, changes it and waits; another acts on the
// files, or calls Wake, when that one has come to sleep (WhenAsleep).
package polltest

import (
	"cmp"
	"errors"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/epinet/epi/poll"
)

// Watchdog ends a test that hangs. No test passes or fails by being slow.
const Watchdog = 30 * time.Second

// All is every interest there is.
const All = poll.Readable | poll.Writable | poll.Priority | poll.ReadHangUp

// A Subject is a poller under test, with what it can do.
type Subject struct {
	// Open makes a poller that is closed at the end of the test. If it belongs
	// to one thread, Open locks the calling goroutine to its own.
	Open func(testing.TB) poll.Poller

	Interests poll.Mask // what can be asked for
	Edge      bool      // it has the modes Edge and Exclusive
	Folds     bool      // Error and HangUp show as Readable and Writable, as select(2) has it
	Holds     bool      // the kernel holds a file that was removed until the next Wait
}

// Backend returns the backend of package poll as a subject.
func Backend(b poll.Backend) Subject {
	s := Subject{
		Open:      func(tb testing.TB) poll.Poller { return Open(tb, b) },
		Interests: All,
		Edge:      b == poll.BackendEpoll,
		Folds:     b == poll.BackendSelect,
	}
	if b == poll.BackendSelect {
		s.Interests &^= poll.ReadHangUp
	}
	return s
}

// Open returns a poller of package poll that is closed at the end of the test.
func Open(tb testing.TB, b poll.Backend) poll.Poller {
	tb.Helper()
	p, err := poll.New(b)
	return Closing(tb, p, err)
}

// Closing returns p, which was made with err, and closes it at the end of the
// test, if the test has not.
func Closing(tb testing.TB, p poll.Poller, err error) poll.Poller {
	tb.Helper()
	Must(tb, err)
	tb.Cleanup(func() {
		if err := p.Close(); err != nil && !errors.Is(err, poll.ErrClosed) {
			tb.Error(err)
		}
	})
	return p
}

// EachMode runs a test with Level, with OneShot, and with Edge if there is that.
func (s Subject) EachMode(t *testing.T, test func(t *testing.T, mode poll.Mode)) {
	t.Helper()
	t.Run("level", func(t *testing.T) { test(t, poll.Level) })
	t.Run("oneshot", func(t *testing.T) { test(t, poll.OneShot) })
	if s.Edge {
		t.Run("edge", func(t *testing.T) { test(t, poll.Edge) })
	}
}

// shown returns what the poller reports of what is ready.
func (s Subject) shown(ready, interest poll.Mask) poll.Mask {
	if !s.Folds {
		return ready & (interest | poll.Error | poll.HangUp)
	}
	if ready&(poll.Error|poll.HangUp) != 0 {
		ready |= poll.Readable
	}
	if ready&poll.Error != 0 {
		ready |= poll.Writable
	}
	return ready & interest
}

// run runs one test of the contract.
func (s Subject) run(t *testing.T, name string, test func(*testing.T, Subject)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { test(t, s) })
}

// Must fails the test with err, if there is one.
func Must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// Glance returns what one look at the poller finds, in the order of tokens.
func Glance(tb testing.TB, p poll.Poller) []poll.Event {
	tb.Helper()
	return look(tb, p, 0)
}

func look(tb testing.TB, p poll.Poller, timeout time.Duration) []poll.Event {
	tb.Helper()
	events := make([]poll.Event, 64)
	n, err := p.Wait(events, timeout)
	Must(tb, err)
	slices.SortFunc(events[:n], byToken)
	return events[:n]
}

func byToken(a, b poll.Event) int { return cmp.Compare(a.Token, b.Token) }

// Expect asserts what one look at the poller finds, in any order.
func Expect(tb testing.TB, p poll.Poller, want ...poll.Event) {
	tb.Helper()
	Equal(tb, Glance(tb, p), want...)
}

// Equal asserts that the events are these, in any order.
func Equal(tb testing.TB, got []poll.Event, want ...poll.Event) {
	tb.Helper()
	slices.SortFunc(got, byToken)
	slices.SortFunc(want, byToken)
	if !slices.Equal(got, want) {
		tb.Fatalf("events %v, want %v", got, want)
	}
}

// Eventually asserts that a level-triggered poller comes to report exactly want.
// TCP needs this: a packet may still be on its way.
func Eventually(tb testing.TB, p poll.Poller, want ...poll.Event) {
	tb.Helper()
	var got []poll.Event
	for end := time.Now().Add(Watchdog); time.Now().Before(end); {
		if got = look(tb, p, time.Millisecond); slices.Equal(got, want) {
			return
		}
	}
	tb.Fatalf("events %v, want %v", got, want)
}

// Next waits for at least one event.
func Next(tb testing.TB, p poll.Poller, room int) []poll.Event {
	tb.Helper()
	events := make([]poll.Event, room)
	n, err := p.Wait(events, Watchdog)
	Must(tb, err)
	if n == 0 {
		tb.Fatal("Wait returned without an event")
	}
	return events[:n]
}

// ReadyPipes registers n pipes that stay readable, with tokens from 0.
func ReadyPipes(tb testing.TB, p poll.Poller, n int) {
	tb.Helper()
	for token := range uint64(n) {
		r, w := NewPipe(tb)
		Must(tb, p.Add(r.FD, token, poll.Readable, poll.Level))
		w.Write(1)
	}
}

// Receive returns the next value of c and fails the test if none comes.
func Receive[T any](tb testing.TB, c <-chan T) T {
	tb.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(Watchdog):
		tb.Fatal("nothing came before the watchdog")
		panic("unreachable")
	}
}

// elsewhere runs a loop that waits in another goroutine, to which its poller
// belongs until the loop has ended.
func elsewhere(loop func() error) <-chan error {
	ended := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		ended <- loop()
	}()
	return ended
}
