package polltest

import (
	"testing"

	"github.com/epinet/epi/poll"
)

// Triggers is case P01: what Level and Edge report.
func Triggers(t *testing.T, s Subject) {
	s.run(t, "LevelReportsWhileTheConditionHolds", levelReportsWhileTheConditionHolds)
	if s.Edge {
		s.run(t, "EdgeReportsOncePerChange", edgeReportsOncePerChange)
	}
	s.run(t, "TwoDescriptorsAtOnce", twoDescriptorsAtOnce)
}

func levelReportsWhileTheConditionHolds(t *testing.T, s Subject) {
	p := s.Open(t)
	r, w := NewPipe(t)
	Must(t, p.Add(r.FD, 1, poll.Readable, poll.Level))
	Expect(t, p)
	w.Write(1)
	for range 3 {
		Expect(t, p, poll.Event{Token: 1, Ready: poll.Readable})
	}
	r.Drain()
	Expect(t, p)
}

func edgeReportsOncePerChange(t *testing.T, s Subject) {
	p := s.Open(t)
	r, w := NewPipe(t)
	Must(t, p.Add(r.FD, 1, poll.Readable, poll.Edge))
	for range 3 {
		w.Write(1)
		Expect(t, p, poll.Event{Token: 1, Ready: poll.Readable})
		Expect(t, p)
	}
}

func twoDescriptorsAtOnce(t *testing.T, s Subject) {
	p := s.Open(t)
	r1, w1 := NewPipe(t)
	r2, w2 := NewPipe(t)
	Must(t, p.Add(r1.FD, 1, poll.Readable, poll.Level))
	Must(t, p.Add(r2.FD, 1<<63, poll.Readable, poll.Level))
	w1.Write(1)
	w2.Write(1)
	for range 2 {
		Expect(t, p, poll.Event{Token: 1, Ready: poll.Readable}, poll.Event{Token: 1 << 63, Ready: poll.Readable})
	}
}

// HalfRead is case P04: Level reports what was left unread, Edge does not.
func HalfRead(t *testing.T, s Subject) {
	s.EachMode(t, func(t *testing.T, mode poll.Mode) {
		p := s.Open(t)
		r, w := NewPipe(t)
		Must(t, p.Add(r.FD, 1, poll.Readable, mode))
		w.Write(2 << 10)
		Expect(t, p, poll.Event{Token: 1, Ready: poll.Readable})
		r.Read(1 << 10)
		if mode == poll.Level {
			Expect(t, p, poll.Event{Token: 1, Ready: poll.Readable})
			return
		}
		Expect(t, p)
	})
}

// ThreeEdges is case P05. A glance after each digit of a signal, which makes a
// pipe readable and empty, finds it readable for each 1, or once for each
// change, or once.
func ThreeEdges(t *testing.T, s Subject) {
	const signal = "0000111000111000111"
	want := map[poll.Mode]int{poll.Level: 9, poll.Edge: 3, poll.OneShot: 1}
	s.EachMode(t, func(t *testing.T, mode poll.Mode) {
		p := s.Open(t)
		r, w := NewPipe(t)
		Must(t, p.Add(r.FD, 1, poll.Readable, mode))
		reports, last := 0, '0'
		for _, digit := range signal {
			if digit > last {
				w.Write(1)
			}
			if digit < last {
				r.Drain()
			}
			last = digit
			reports += len(Glance(t, p))
		}
		if reports != want[mode] {
			t.Errorf("%d reports of %s, want %d", reports, signal, want[mode])
		}
	})
}

// OneShot is case P06: silent until Modify, which reports at once.
func OneShot(t *testing.T, s Subject) {
	p := s.Open(t)
	r, w := NewPipe(t)
	Must(t, p.Add(r.FD, 1, poll.Readable, poll.OneShot))
	w.Write(1)
	Expect(t, p, poll.Event{Token: 1, Ready: poll.Readable})
	w.Write(1)
	Expect(t, p)

	Must(t, p.Modify(r.FD, 2, poll.Readable, poll.OneShot))
	Expect(t, p, poll.Event{Token: 2, Ready: poll.Readable})
	w.Close() // HangUp cannot be masked, but a disarmed one-shot is silent
	Expect(t, p)

	Must(t, p.Modify(r.FD, 3, poll.Readable, poll.Level))
	for range 2 {
		Expect(t, p, poll.Event{Token: 3, Ready: s.shown(poll.Readable|poll.HangUp, poll.Readable)})
	}
}
