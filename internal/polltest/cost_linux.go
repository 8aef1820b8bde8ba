package polltest

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/poll"
)

// WaitDoesNotAllocate measures what a Wait leaves to the garbage collector.
func WaitDoesNotAllocate(t *testing.T, s Subject) {
	busy, idle, urgent := s.Open(t), s.Open(t), s.Open(t)
	ReadyPipes(t, busy, 20)
	r, _ := NewPipe(t)
	Must(t, idle.Add(r.FD, 1, poll.Readable, poll.Level))
	a, peer := NewSocketPair(t)
	mode := poll.Level
	if s.Edge {
		mode = poll.Edge
	}
	Must(t, urgent.Add(a.FD, 1, s.Interests, mode))
	events, one := make([]poll.Event, 16), []byte{1}
	for _, row := range []struct {
		name    string
		poller  poll.Poller
		timeout time.Duration
		before  func() error
	}{
		{"glance at ready ones", busy, 0, nil},
		{"wait for ready ones", busy, -1, nil},
		{"wait with a timeout for ready ones", busy, time.Minute, nil},
		{"glance at idle ones", idle, 0, nil},
		{"run into the timeout", idle, time.Microsecond, nil},
		{"woken", idle, -1, idle.Wake},
		{"after a change", idle, 0, func() error { return idle.Modify(r.FD, 1, poll.Readable, poll.OneShot) }},
		{"what may be urgent", urgent, -1, func() error { _, err := unix.Write(peer.FD, one); return err }},
	} {
		allocs := testing.AllocsPerRun(200, func() {
			if row.before != nil {
				Must(t, row.before())
			}
			_, err := row.poller.Wait(events, row.timeout)
			Must(t, err)
		})
		if allocs != 0 {
			t.Errorf("%s: %v allocations per Wait", row.name, allocs)
		}
	}
}

// BenchmarkWait measures a Wait that finds one descriptor ready.
func BenchmarkWait(b *testing.B, s Subject) {
	for _, row := range []struct {
		name    string
		timeout time.Duration
	}{{"glance", 0}, {"forever", -1}, {"timeout", time.Minute}} {
		b.Run(row.name, func(b *testing.B) {
			p := s.Open(b)
			ReadyPipes(b, p, 1)
			events := make([]poll.Event, 128)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.Wait(events, row.timeout); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
