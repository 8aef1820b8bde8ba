package driver

import (
	"testing"

	"github.com/epinet/epi/internal/schedule"
	"github.com/epinet/epi/poll"
)

func readinessSession(mode poll.Mode) func(*world) *session {
	return func(w *world) *session {
		p := newFakePoller(w)
		cfg := Config{Backend: poll.BackendEpoll, MaxEvents: 1 + w.Choose(6), AcceptBudget: 1 + w.Choose(3), ReadBudget: 1 + w.Choose(40), Shared: &Shared{}}
		d := newReadinessOn(cfg, w, p, mode, 1+w.Choose(30))
		return &session{world: w, d: d, kernel: p}
	}
}

// TestSim_Readiness plays an engine to the readiness driver, on a poller that reports
// late, several things as one, and what is not so.
func TestSim_Readiness(t *testing.T) {
	for name, mode := range map[string]poll.Mode{"level": poll.Level, "edge": poll.Edge, "oneshot": poll.OneShot} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			schedule.Program{Seeds: 3_000, Play: func(r *schedule.Run) { play(r, 150, readinessSession(mode)) }}.Test(t)
		})
	}
}
