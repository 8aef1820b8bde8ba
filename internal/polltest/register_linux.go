package polltest

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/poll"
)

// Errors is case P08: what is refused, and by which error.
func Errors(t *testing.T, s Subject) {
	s.run(t, "ErrorsOfRegistration", errorsOfRegistration)
	s.run(t, "EverythingFailsAfterClose", everythingFailsAfterClose)
}

func errorsOfRegistration(t *testing.T, s Subject) {
	p := s.Open(t)
	r, _ := NewPipe(t)
	other, _ := NewPipe(t)
	Must(t, p.Add(r.FD, 1, poll.Readable, poll.Level))
	for round := range 2 { // before the first Wait, and after it
		for _, row := range []struct {
			what string
			got  error
			want error
		}{
			{"add twice", p.Add(r.FD, 2, poll.Readable, poll.Level), poll.ErrExist},
			{"modify unknown", p.Modify(other.FD, 2, poll.Readable, poll.Level), poll.ErrNotExist},
			{"remove unknown", p.Remove(other.FD), poll.ErrNotExist},
			{"add -1", p.Add(-1, 2, poll.Readable, poll.Level), unix.EBADF},
			{"modify -1", p.Modify(-1, 2, poll.Readable, poll.Level), unix.EBADF},
			{"remove -1", p.Remove(-1), unix.EBADF},
			{"add reserved token", p.Add(other.FD, poll.ReservedToken, poll.Readable, poll.Level), unix.EINVAL},
			{"modify reserved token", p.Modify(r.FD, poll.ReservedToken, poll.Readable, poll.Level), unix.EINVAL},
		} {
			if !errors.Is(row.got, row.want) {
				t.Errorf("round %d: %s: %v, want %v", round, row.what, row.got, row.want)
			}
		}
		Expect(t, p)
	}
	if _, err := p.Wait(nil, 0); !errors.Is(err, unix.EINVAL) {
		t.Errorf("wait without room: %v, want EINVAL", err)
	}
	Must(t, p.Remove(r.FD))
	Must(t, p.Add(r.FD, 2, poll.Readable, poll.Level))
}

func everythingFailsAfterClose(t *testing.T, s Subject) {
	p := s.Open(t)
	r, _ := NewPipe(t)
	Must(t, p.Add(r.FD, 1, poll.Readable, poll.Level))
	Must(t, p.Close())
	_, waitErr := p.Wait(make([]poll.Event, 1), -1)
	for what, err := range map[string]error{
		"add":    p.Add(r.FD, 1, poll.Readable, poll.Level),
		"modify": p.Modify(r.FD, 1, poll.Readable, poll.Level),
		"remove": p.Remove(r.FD),
		"wait":   waitErr,
		"wake":   p.Wake(),
		"close":  p.Close(),
	} {
		if !errors.Is(err, poll.ErrClosed) {
			t.Errorf("%s: %v, want ErrClosed", what, err)
		}
	}
}

// LatestWins is case P10: the latest token and interest hold.
func LatestWins(t *testing.T, s Subject) {
	s.EachMode(t, func(t *testing.T, mode poll.Mode) {
		p := s.Open(t)
		a, peer := NewSocketPair(t)
		peer.Write(1)
		Must(t, p.Add(a.FD, 1, poll.Readable, mode))
		Expect(t, p, poll.Event{Token: 1, Ready: poll.Readable})
		Must(t, p.Modify(a.FD, 2, poll.Readable, mode))
		Expect(t, p, poll.Event{Token: 2, Ready: poll.Readable})
		Must(t, p.Modify(a.FD, 3, poll.Writable, mode))
		Expect(t, p, poll.Event{Token: 3, Ready: poll.Writable})
		Must(t, p.Modify(a.FD, 3, 0, mode))
		Must(t, p.Modify(a.FD, 4, poll.Readable|poll.Writable, mode)) // both before one Wait
		Expect(t, p, poll.Event{Token: 4, Ready: poll.Readable | poll.Writable})
		Must(t, p.Modify(a.FD, 4, 0, mode))
		Expect(t, p)
		Must(t, p.Remove(a.FD))
		Expect(t, p)
		Must(t, p.Add(a.FD, 5, poll.Readable, mode))
		Expect(t, p, poll.Event{Token: 5, Ready: poll.Readable})
	})
}
