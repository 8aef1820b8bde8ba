package polltest

import (
	"math"
	"sync/atomic"
	"testing"
	"time"

	"github.com/epinet/epi/poll"
)

// Timeouts is case P15: how long Wait waits.
func Timeouts(t *testing.T, s Subject) {
	s.run(t, "ZeroReturnsAtOnce", zeroReturnsAtOnce)
	s.run(t, "PositiveNeverReturnsEarly", positiveNeverReturnsEarly)
	s.run(t, "NegativeAndHugeWait", negativeAndHugeWait)
}

func zeroReturnsAtOnce(t *testing.T, s Subject) {
	p := s.Open(t)
	r, w := NewPipe(t)
	Expect(t, p)
	Must(t, p.Add(r.FD, 1, poll.Readable, poll.Level))
	Expect(t, p)
	w.Write(1)
	Expect(t, p, poll.Event{Token: 1, Ready: poll.Readable})
}

func positiveNeverReturnsEarly(t *testing.T, s Subject) {
	p := s.Open(t)
	r, _ := NewPipe(t)
	Must(t, p.Add(r.FD, 1, poll.Readable, poll.Level))
	for _, timeout := range []time.Duration{
		1, time.Microsecond, 300 * time.Microsecond, time.Millisecond,
		1500 * time.Microsecond, 20*time.Millisecond + 1,
	} {
		for range 5 {
			expectTimeout(t, p, timeout)
		}
	}
}

// expectTimeout asserts that Wait returns nothing, and that late enough.
func expectTimeout(t *testing.T, p poll.Poller, timeout time.Duration) {
	t.Helper()
	begin := time.Now()
	events := wait(t, p, timeout)
	if took := time.Since(begin); len(events) != 0 || took < timeout {
		t.Errorf("%d events after %v, want none before %v", len(events), took, timeout)
	}
}

// test:      Wait(...) ─► asleep ─► event
// goroutine:                write ──►
func negativeAndHugeWait(t *testing.T, s Subject) {
	for _, timeout := range []time.Duration{
		-1, -time.Hour, math.MinInt64,
		time.Hour, (math.MaxInt32 + 1) * time.Millisecond, math.MaxInt64,
	} {
		t.Run(timeout.String(), func(t *testing.T) {
			p := s.Open(t)
			r, w := NewPipe(t)
			Must(t, p.Add(r.FD, 1, poll.Readable, poll.Level))
			WhenAsleep(t, func(int) error { w.Write(1); return nil })
			Equal(t, wait(t, p, timeout), poll.Event{Token: 1, Ready: poll.Readable})
		})
	}
}

// Wakes is case P16: none is lost, and none is left over.
func Wakes(t *testing.T, s Subject) {
	s.run(t, "ManyWakesMakeOneReturn", manyWakesMakeOneReturn)
	s.run(t, "WakeHidesNoEvent", wakeHidesNoEvent)
	s.run(t, "NoPostIsLost", noPostIsLost)
	s.run(t, "EveryWakeInTurnArrives", everyWakeInTurnArrives)
}

func manyWakesMakeOneReturn(t *testing.T, s Subject) {
	p := s.Open(t)
	for range 3 {
		for range 1000 {
			Must(t, p.Wake())
		}
		Equal(t, wait(t, p, -1))
		WhenAsleep(t, func(int) error { return p.Wake() }) // comes to sleep: no Wake is left
		Equal(t, wait(t, p, -1))
	}
}

func wakeHidesNoEvent(t *testing.T, s Subject) {
	p := s.Open(t)
	r, w := NewPipe(t)
	Must(t, p.Add(r.FD, 1, poll.Readable, poll.Level))
	w.Write(1)
	Must(t, p.Wake())
	Expect(t, p, poll.Event{Token: 1, Ready: poll.Readable})
	Expect(t, p, poll.Event{Token: 1, Ready: poll.Readable})
}

// posters: append to the queue ─► Wake (races with the kernel's going to sleep)
// test:    Wait ─► take the queue ─► Wait ...
// A lost wake-up leaves the last item in the queue and the test asleep.
func noPostIsLost(t *testing.T, s Subject) {
	const posters, posts = 8, 5000
	p := s.Open(t)
	var queue atomic.Int32
	posted := make(chan error, posters)
	for range posters {
		go func() {
			posted <- times(posts, func() error {
				queue.Add(1)
				return p.Wake()
			})
		}()
	}
	for left := int32(posters * posts); left > 0; left -= queue.Swap(0) {
		Equal(t, wait(t, p, -1))
	}
	for range posters {
		Must(t, Receive(t, posted))
	}
}

func times(n int, f func() error) error {
	for range n {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

// goroutine: Wake .................... Wake ....................
// test:      Wait ─► returns ─► next ─► Wait ─► returns ─► next ─► Wait
// Each Wake finds the loop about to sleep or just asleep.
func everyWakeInTurnArrives(t *testing.T, s Subject) {
	const rounds = 20_000
	p := s.Open(t)
	returned, woken := make(chan struct{}, 1), make(chan error, 1)
	go func() {
		woken <- times(rounds, func() error {
			err := p.Wake()
			<-returned
			return err
		})
	}()
	for range rounds {
		Equal(t, wait(t, p, -1))
		returned <- struct{}{}
	}
	Must(t, Receive(t, woken))
}

// Turns is case P17: more is ready than there is room for.
func Turns(t *testing.T, s Subject) {
	s.run(t, "MoreReadyThanRoom", moreReadyThanRoom)
	s.run(t, "ARemovedOneLeavesTheOthersTheirTurn", aRemovedOneLeavesTheOthersTheirTurn)
}

func moreReadyThanRoom(t *testing.T, s Subject) {
	const files, rounds = 50, 20
	for _, room := range []int{1, 7} {
		p := s.Open(t)
		ReadyPipes(t, p, files)
		var served [files]int
		for round := range rounds {
			for range files {
				events := Next(t, p, room)
				seen := map[uint64]bool{}
				for _, event := range events {
					served[event.Token]++
					seen[event.Token] = true
				}
				if len(events) != room || len(seen) != room {
					t.Fatalf("%d descriptors in %v, want %d", len(seen), events, room)
				}
			}
			for token, times := range served {
				if want := (round + 1) * room; times != want {
					t.Fatalf("room %d, round %d: token %d served %d times, want %d", room, round, token, times, want)
				}
			}
		}
	}
}

func aRemovedOneLeavesTheOthersTheirTurn(t *testing.T, s Subject) {
	const files = 6
	p := s.Open(t)
	ReadyPipes(t, p, files)
	extra := NewEventFD(t, 1)
	for range 50 { // the ready set changes between any two waits
		Must(t, p.Add(extra.FD, files, poll.Readable, poll.Level))
		Next(t, p, 1)
		Must(t, p.Remove(extra.FD))
		Next(t, p, 1)
	}
	var served [files]bool
	for range 2 * files {
		served[Next(t, p, 1)[0].Token] = true
	}
	if served != [files]bool{true, true, true, true, true, true} {
		t.Fatalf("served %v", served)
	}
}
