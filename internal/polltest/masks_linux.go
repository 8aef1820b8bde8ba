package polltest

import (
	"cmp"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/poll"
)

// situations is what may become of a file and its peer, and what the kernel says
// of the file then.
var situations = []struct {
	name string
	pair func(testing.TB) (a, b *File) // a is watched
	act  func(a, peer *File)
	want poll.Mask
}{
	{"tcp/idle", NewTCPPair, func(_, _ *File) {}, poll.Writable},
	{"tcp/data", NewTCPPair, func(_, peer *File) { peer.Write(1) }, poll.Readable | poll.Writable},
	{"tcp/full", NewTCPPair, func(a, _ *File) { a.Fill() }, 0},
	{"tcp/full and data", NewTCPPair, func(a, peer *File) { a.Fill(); peer.Write(1) }, poll.Readable},
	{"tcp/full and peer shut down writing", NewTCPPair, func(a, peer *File) {
		a.Fill()
		peer.Shutdown(unix.SHUT_WR)
	}, poll.Readable | poll.ReadHangUp},
	{"tcp/peer shut down writing", NewTCPPair, func(_, peer *File) {
		peer.Shutdown(unix.SHUT_WR)
	}, poll.Readable | poll.Writable | poll.ReadHangUp},
	{"tcp/peer closed", NewTCPPair, func(_, peer *File) { peer.Close() }, poll.Readable | poll.Writable | poll.ReadHangUp},
	{"tcp/both shut down", NewTCPPair, func(a, peer *File) {
		peer.Shutdown(unix.SHUT_WR)
		a.Shutdown(unix.SHUT_WR)
	}, poll.Readable | poll.Writable | poll.ReadHangUp | poll.HangUp},
	{"tcp/reset", NewTCPPair, func(_, peer *File) { peer.Reset() }, everything},
	{"unix/idle", NewSocketPair, func(_, _ *File) {}, poll.Writable},
	{"unix/peer shut down writing", NewSocketPair, func(_, peer *File) {
		peer.Shutdown(unix.SHUT_WR)
	}, poll.Readable | poll.Writable | poll.ReadHangUp},
	{"unix/peer closed", NewSocketPair, func(_, peer *File) {
		peer.Close()
	}, poll.Readable | poll.Writable | poll.ReadHangUp | poll.HangUp},
	{"unix/peer closed with unread data", NewSocketPair, func(a, peer *File) {
		a.Write(1)
		peer.Close()
	}, everything},
	{"pipe/writer closed", NewPipe, func(_, w *File) { w.Close() }, poll.HangUp},
	{"pipe/writer closed with unread data", NewPipe, func(_, w *File) {
		w.Write(1)
		w.Close()
	}, poll.Readable | poll.HangUp},
	{"pipe/reader closed", newPipeWriter, func(_, r *File) { r.Close() }, poll.Writable | poll.Error},
}

// everything is what holds of a socket whose peer was reset.
const everything = poll.Readable | poll.Writable | poll.ReadHangUp | poll.Error | poll.HangUp

// Masks is case P11: what is reported is exactly what holds of the interest, and
// Error and HangUp.
func Masks(t *testing.T, s Subject) {
	s.run(t, "ExactMasks", exactMasks)
	s.run(t, "NoInterestStillGetsErrors", noInterestStillGetsErrors)
	s.run(t, "OwnCloseIsSilent", ownCloseIsSilent)
}

// A poller that watched before it happened must say the same as one that is
// asked afterwards.
func exactMasks(t *testing.T, s Subject) {
	for _, row := range situations {
		for _, interest := range []poll.Mask{
			0, poll.Readable, poll.Writable, poll.ReadHangUp, poll.Readable | poll.Writable, All,
		} {
			t.Run(row.name+"/"+interestName(interest), func(t *testing.T) {
				interest := interest & s.Interests
				before, after, witness := s.Open(t), s.Open(t), Open(t, poll.BackendEpoll)
				a, peer := row.pair(t)
				Must(t, before.Add(a.FD, 1, interest, poll.Level))
				Glance(t, before)
				row.act(a, peer)
				Must(t, after.Add(a.FD, 1, interest, poll.Level))
				Must(t, witness.Add(a.FD, 1, All, poll.Level))
				Eventually(t, witness, ready(row.want)...)
				for _, p := range []poll.Poller{before, after} {
					Eventually(t, p, ready(s.shown(row.want, interest))...)
					Expect(t, p, ready(s.shown(row.want, interest))...)
				}
			})
		}
	}
}

func interestName(m poll.Mask) string {
	name := ""
	for i, letter := range "rwph" {
		if m&(1<<i) != 0 {
			name += string(letter)
		}
	}
	return cmp.Or(name, "none")
}

// ready returns the event of token 1 with this mask, or none.
func ready(m poll.Mask) []poll.Event {
	if m == 0 {
		return nil
	}
	return []poll.Event{{Token: 1, Ready: m}}
}

// select(2) has no way to report it: the error comes when reading is asked for.
func noInterestStillGetsErrors(t *testing.T, s Subject) {
	p := s.Open(t)
	a, peer := NewTCPPair(t)
	Must(t, p.Add(a.FD, 1, 0, poll.Level))
	peer.Write(1)
	Expect(t, p)
	peer.Reset()
	Eventually(t, p, ready(s.shown(everything, 0))...)
	Must(t, p.Modify(a.FD, 1, poll.Readable, poll.Level))
	Eventually(t, p, ready(s.shown(everything, poll.Readable))...)
}

func ownCloseIsSilent(t *testing.T, s Subject) {
	s.EachMode(t, func(t *testing.T, mode poll.Mode) {
		p := s.Open(t)
		a, _ := NewTCPPair(t)
		Must(t, p.Add(a.FD, 1, s.Interests, mode))
		Expect(t, p, poll.Event{Token: 1, Ready: poll.Writable})
		Must(t, p.Remove(a.FD))
		a.Close()
		Expect(t, p)
	})
}

// HangUpAndPriority is case P12: two conditions that come beside the stream.
func HangUpAndPriority(t *testing.T, s Subject) {
	if s.Interests&poll.ReadHangUp != 0 {
		s.run(t, "ReadHangUpWithUnreadData", readHangUpWithUnreadData)
	}
	s.run(t, "PriorityOnOutOfBandDataOnly", priorityOnOutOfBandDataOnly)
}

func readHangUpWithUnreadData(t *testing.T, s Subject) {
	p := s.Open(t)
	a, peer := NewTCPPair(t)
	Must(t, p.Add(a.FD, 1, poll.ReadHangUp, poll.Level))
	peer.Write(100)
	Expect(t, p)
	peer.Shutdown(unix.SHUT_WR)
	for _, left := range []int{100, 0} {
		Equal(t, Next(t, p, 1), poll.Event{Token: 1, Ready: poll.ReadHangUp})
		if got := a.Drain(); got != left {
			t.Errorf("%d bytes before the end, want %d", got, left)
		}
	}
}

// The kernel wakes those who wait for urgent data with any data, and one edge
// may have announced both.
func priorityOnOutOfBandDataOnly(t *testing.T, s Subject) {
	s.EachMode(t, func(t *testing.T, mode poll.Mode) {
		p, both := s.Open(t), s.Open(t)
		a, peer := NewTCPPair(t)
		Must(t, p.Add(a.FD, 1, poll.Priority, mode))
		Must(t, both.Add(a.FD, 1, poll.Readable|poll.Priority, mode))
		Expect(t, p)
		Expect(t, both)
		peer.Write(1)
		Equal(t, Next(t, both, 1), poll.Event{Token: 1, Ready: poll.Readable})
		Expect(t, p)
		Must(t, both.Modify(a.FD, 1, poll.Readable|poll.Priority, mode))
		Must(t, unix.Send(peer.FD, []byte{'!'}, unix.MSG_OOB))
		Equal(t, Next(t, p, 1), poll.Event{Token: 1, Ready: poll.Priority})
		Equal(t, Next(t, both, 1), poll.Event{Token: 1, Ready: poll.Readable | poll.Priority})
		_, _, err := unix.Recvfrom(a.FD, make([]byte, 1), unix.MSG_OOB)
		Must(t, err)
		Expect(t, p)
	})
}

// PeerClose is case P13: it wakes the reader and the writer.
//
//	test: Wait(for ever), the buffer is empty or full ──► event
//	peer:                                  close ──►
func PeerClose(t *testing.T, s Subject) {
	for _, row := range []struct {
		name     string
		pair     func(testing.TB) (a, b *File)
		interest poll.Mask
	}{
		{"pipe reader", NewPipe, poll.Readable},
		{"pipe writer", newPipeWriter, poll.Writable},
		{"unix reader", NewSocketPair, poll.Readable},
		{"unix writer", NewSocketPair, poll.Writable},
		{"tcp reader", NewTCPPair, poll.Readable},
		{"tcp writer", NewTCPPair, poll.Writable},
	} {
		t.Run(row.name, func(t *testing.T) {
			s.EachMode(t, func(t *testing.T, mode poll.Mode) {
				p := s.Open(t)
				a, peer := row.pair(t)
				if row.interest == poll.Writable {
					a.Fill()
				}
				Must(t, p.Add(a.FD, 1, row.interest, mode))
				Expect(t, p)
				WhenAsleep(t, func(int) error { peer.Close(); return nil })
				got := wait(t, p, -1)
				if len(got) != 1 && (len(got) == 0 || mode != poll.Edge) { // a close may be more than one change
					t.Fatalf("events %v", got)
				}
				for _, event := range got {
					if event.Token != 1 || event.Ready&(row.interest|poll.Error|poll.HangUp) == 0 {
						t.Errorf("event %v", event)
					}
				}
			})
		})
	}
}
