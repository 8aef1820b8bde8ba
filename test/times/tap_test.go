package times_test

import (
	"errors"
	"testing"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// A tap notes the turns of a loop: in each the phases in order, and what they did.
// It keeps the last ones, and what all of them took.
func TestTap_NotesTurns(t *testing.T) {
	const kept = 8
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Serial()
		s := epitest.Start(t, e, epitest.EchoHandler)
		l, err := e.Loop(0)
		if err != nil {
			t.Fatal(err)
		}
		c := s.Dial()
		epitest.RoundTrip(t, c, "nobody looks")
		tap, err := e.Tap(kept)
		if err != nil {
			t.Fatal(err)
		}
		defer tap.Close()
		begun := tap.Loop(0, 0, kept)
		for range 3 * kept {
			epitest.RoundTrip(t, c, "hello")
			epitest.OnLoop(t, l, func() {})
		}
		const long = 10 * time.Millisecond
		epitest.OnLoop(t, l, func() { time.Sleep(long) })
		fired := make(chan struct{})
		l.After(time.Millisecond, func() { close(fired) })
		epitest.Receive(t, fired)

		// The turns are noted when they have ended.
		var timers, tasks uint64
		last := uint64(0)
		epitest.WaitUntil(t, "the turns are noted", func() bool {
			notes := tap.Loop(0, last, kept)
			for _, turn := range notes.Turns {
				timers, tasks = timers+uint64(turn.Timers), tasks+uint64(turn.Tasks)
				if turn.Number <= last || turn.Ended < begun.Now {
					t.Fatalf("turn %d behind %d has ended at %v, the tap was opened at %v", turn.Number, last, turn.Ended, begun.Now)
				}
				last = turn.Number
			}
			return timers > 0 && tasks > 0
		})
		notes := tap.Loop(0, 0, 1<<20)
		if n := uint64(len(notes.Turns)); n != min(kept, notes.Noted) || notes.Turns[n-1].Number != notes.Noted {
			t.Errorf("%d turns of %d are kept, want %d and the last", n, notes.Noted, kept)
		}
		if notes.Phases[epi.PhaseTasks] < long {
			t.Errorf("a task of %v is not in the sums %v", long, notes.Phases)
		}
		sum := time.Duration(0)
		for _, took := range notes.Phases {
			sum += took
		}
		if all := notes.Now - begun.Since; sum > all {
			t.Errorf("the phases of %v take %v together", all, sum)
		}
		if none := tap.Loop(0, notes.Noted+5, kept); len(none.Turns) > 0 && none.Turns[0].Number <= notes.Noted+5 {
			t.Errorf("turns from the past: %v", none.Turns)
		}
	})
}

// A callback that holds up its loop is seen while it does.
func TestTap_ShowsThePhaseUnderWay(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Serial()
		l := epitest.StartLoop(t, e)
		tap, err := e.Tap(1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Tap(1); !errors.Is(err, epi.ErrTapped) {
			t.Errorf("a second tap: %v", err)
		}
		epitest.OnLoop(t, l, func() {}) // the turn under way saw no tap
		release := epitest.Hold(t, l)
		defer release()
		epitest.WaitUntil(t, "the loop is in its tasks", func() bool { return tap.Loop(0, 0, 0).Phase == epi.PhaseTasks })
		first := tap.Loop(0, 0, 0)
		second := tap.Loop(0, 0, 0)
		if first.Since != second.Since || second.Now-second.Since < first.Now-first.Since {
			t.Errorf("the phase began at %v, then at %v", first.Since, second.Since)
		}
		tap.Close()
		tap.Close()
		again, err := e.Tap(1)
		if err != nil {
			t.Fatalf("the tap was closed: %v", err)
		}
		tap.Close() // not the other's
		if _, err := e.Tap(1); !errors.Is(err, epi.ErrTapped) {
			t.Errorf("a tap that was closed before has closed another: %v", err)
		}
		again.Close()
	})
}
