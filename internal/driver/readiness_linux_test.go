package driver

import (
	"testing"

	"github.com/epinet/epi/internal/schedule"
	"github.com/epinet/epi/poll"
)

// An arrangement is a way in which a readiness driver watches its sockets.
type arrangement struct {
	name    string
	backend poll.Backend
	mode    poll.Mode
	lend    bool
}

var arrangements = []arrangement{
	{"level", poll.BackendEpoll, poll.Level, false},
	{"poll", poll.BackendPoll, poll.Level, false},
	{"edge", poll.BackendEpoll, poll.Edge, false},
	{"oneshot", poll.BackendEpoll, poll.OneShot, false},
	{"workers", poll.BackendEpoll, poll.OneShot, true},
	{"workers-uring", Uring, poll.Edge, true},
}

func (a arrangement) session(w *world) *session {
	p := newFakePoller(w)
	cfg := Config{
		Backend: a.backend, Lend: a.lend, MaxDatagram: 1 + w.Choose(40), PacketBatch: 1 + w.Choose(3),
		MaxEvents: 1 + w.Choose(6), AcceptBudget: 1 + w.Choose(3), ReadBudget: 1 + w.Choose(40), Shared: &Shared{},
	}
	d := newReadinessOn(cfg, w, p, a.mode, 1+w.Choose(30))
	s := &session{world: w, d: d, kernel: p, budgets: budgets{accept: cfg.AcceptBudget, read: cfg.ReadBudget}, maxDatagram: cfg.MaxDatagram}
	if a.mode == poll.Edge && !a.lend {
		s.budgets.read *= 2 // what an earlier turn has left, and what an event says
	}
	if a.lend {
		s.lender = d
	}
	return s
}

// TestSim_Readiness plays an engine to the readiness driver, on a poller that reports
// late, several things as one, and what is not so.
func TestSim_Readiness(t *testing.T) {
	for _, a := range arrangements {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			schedule.Program{Seeds: 1_500, Play: func(r *schedule.Run) { play(r, 150, a.session) }}.Test(t)
		})
	}
}

// What waits for an event that cannot come is told so: a send, also of a socket that
// nothing is wanted from.
func TestReadiness_WhatCannotBeWatchedIsToldToWhoWaits(t *testing.T) {
	s := calmSession(arrangements[0].session)
	s.open(s.socket().fd)
	st := s.streams[0]
	st.receive(false)
	s.turn(0)
	st.file.room = 0
	for st.pending == nil { // some are sent by SendNow
		st.send()
	}
	s.kernel.(*fakePoller).refuses = true
	s.settle("the send has ended", func() bool { return st.pending == nil && st.broken })
	if st.ended {
		t.Error("the end was reported to a stream that has paused")
	}
	s.kernel.(*fakePoller).refuses = false
	st.receive(true)
	s.arrive(st.file, 3)
	s.settle("everything is received", st.hasAll)
}
