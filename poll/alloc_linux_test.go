package poll_test

import (
	"testing"
	"time"

	"github.com/epinet/epi/poll"
)

func TestWaitDoesNotAllocate(t *testing.T) {
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		busy, idle := newPoller(t, b), newPoller(t, b)
		readyPipes(t, busy, 20)
		r, _ := newPipe(t)
		must(t, idle.Add(r.fd, 1, poll.Readable, poll.Level))
		events := make([]poll.Event, 16)
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
			{"after a change", idle, 0, func() error { return idle.Modify(r.fd, 1, poll.Readable, poll.OneShot) }},
		} {
			allocs := testing.AllocsPerRun(200, func() {
				if row.before != nil {
					must(t, row.before())
				}
				_, err := row.poller.Wait(events, row.timeout)
				must(t, err)
			})
			if allocs != 0 {
				t.Errorf("%s: %v allocations per Wait", row.name, allocs)
			}
		}
	})
}

func BenchmarkWait(bench *testing.B) {
	for _, b := range poll.Backends() {
		for _, row := range []struct {
			name    string
			timeout time.Duration
		}{{"glance", 0}, {"forever", -1}, {"timeout", time.Minute}} {
			bench.Run(string(b)+"/"+row.name, func(bench *testing.B) {
				p := newPoller(bench, b)
				readyPipes(bench, p, 1)
				events := make([]poll.Event, 128)
				bench.ReportAllocs()
				for bench.Loop() {
					if _, err := p.Wait(events, row.timeout); err != nil {
						bench.Fatal(err)
					}
				}
			})
		}
	}
}
