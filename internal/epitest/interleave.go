package epitest

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/epinet/epi"
)

// Serial returns an engine of this mode for tests of an interleaving: it has
// one loop and, where the mode has workers, one of them.
func (m Mode) Serial() *epi.Engine {
	e := m.Engine()
	e.Loops = 1
	e.Workers = min(m.Workers, 1)
	return e
}

// Hold keeps the loop busy with a task until release is called (or the test
// ends), so that what happens meanwhile meets the loop in one batch of events.
func Hold(t *testing.T, l *epi.Loop) (release func()) {
	t.Helper()
	held, free := make(chan struct{}), make(chan struct{})
	release = sync.OnceFunc(func() { close(free) })
	t.Cleanup(release)
	if err := l.Do(func() { close(held); <-free }); err != nil {
		t.Fatal(err)
	}
	Receive(t, held)
	return release
}

// Say sends text.
func Say(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

// AwaitTurns waits until each loop of e has ended the turn that it is in now: what
// was done in it is counted, but for tasks of this function.
func AwaitTurns(t *testing.T, e *epi.Engine) {
	t.Helper()
	for i := range e.Stats().Loops {
		l, err := e.Loop(i)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second is given when the tasks of the first one's turn were taken
			OnLoop(t, l, func() {})
		}
	}
}

// ExpectQuiet expects an engine that has nothing to do to do nothing: it lets
// a timer of its loop 0 pass and counts turns and system calls meanwhile.
func ExpectQuiet(t *testing.T, e *epi.Engine) {
	t.Helper()
	// Late wake-ups make some turns; whoever spins makes thousands.
	const few = 30
	before, after := lookAtRest(t, e)
	for _, count := range []struct {
		what string
		made uint64
	}{
		{"turns", after.Turns - before.Turns},
		{"events", after.Events - before.Events},
		{"reads", after.Reads - before.Reads},
		{"writes", after.Writes - before.Writes},
		{"controls", after.Controls - before.Controls},
	} {
		if count.made > few {
			t.Errorf("%d %s with nothing to do", count.made, count.what)
		}
	}
}

// lookAtRest returns what e has done before and after a while in which no bytes
// moved.
func lookAtRest(t *testing.T, e *epi.Engine) (before, after epi.Stats) {
	t.Helper()
	const pause = 50 * time.Millisecond
	l, err := e.Loop(0)
	if err != nil {
		t.Fatal(err)
	}
	WaitUntil(t, "no bytes move", func() bool {
		fired := make(chan struct{})
		before = e.Stats()
		l.After(pause, func() { close(fired) })
		Receive(t, fired)
		after = e.Stats()
		return before.BytesIn == after.BytesIn && before.BytesOut == after.BytesOut
	})
	return before, after
}
