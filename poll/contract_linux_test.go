package poll_test

import (
	"testing"

	"github.com/epinet/epi/internal/polltest"
	"github.com/epinet/epi/poll"
)

// fulfils runs tests of the contract over every backend.
func fulfils(t *testing.T, contract func(*testing.T, polltest.Subject)) {
	t.Helper()
	eachBackend(t, func(t *testing.T, b poll.Backend) { contract(t, polltest.Backend(b)) })
}

func TestP01_Triggers(t *testing.T)                      { fulfils(t, polltest.Triggers) }
func TestP04_HalfReadBuffer(t *testing.T)                { fulfils(t, polltest.HalfRead) }
func TestP05_SignalGivesThreeEdges(t *testing.T)         { fulfils(t, polltest.ThreeEdges) }
func TestP06_OneShotIsSilentUntilModify(t *testing.T)    { fulfils(t, polltest.OneShot) }
func TestP07_EveryConnectionIsAcceptedOnce(t *testing.T) { fulfils(t, polltest.SharedListener) }
func TestP08_Errors(t *testing.T)                        { fulfils(t, polltest.Errors) }
func TestP10_LatestTokenAndInterestWin(t *testing.T)     { fulfils(t, polltest.LatestWins) }
func TestP11_Masks(t *testing.T)                         { fulfils(t, polltest.Masks) }
func TestP12_HangUpAndPriority(t *testing.T)             { fulfils(t, polltest.HangUpAndPriority) }
func TestP13_PeerCloseWakesReaderAndWriter(t *testing.T) { fulfils(t, polltest.PeerClose) }
func TestP15_Timeouts(t *testing.T)                      { fulfils(t, polltest.Timeouts) }
func TestP16_Wakes(t *testing.T)                         { fulfils(t, polltest.Wakes) }
func TestP17_Turns(t *testing.T)                         { fulfils(t, polltest.Turns) }
func TestP18_Signals(t *testing.T)                       { fulfils(t, polltest.Signals) }
func TestWaitDoesNotAllocate(t *testing.T)               { fulfils(t, polltest.WaitDoesNotAllocate) }

func backends() (subjects []polltest.Subject) {
	for _, b := range poll.Backends() {
		subjects = append(subjects, polltest.Backend(b))
	}
	return subjects
}

func TestModel(t *testing.T) { polltest.TestModel(t, backends()...) }
func FuzzModel(f *testing.F) { polltest.FuzzModel(f, backends()...) }

func BenchmarkWait(bench *testing.B) {
	for _, b := range poll.Backends() {
		bench.Run(string(b), func(bench *testing.B) { polltest.BenchmarkWait(bench, polltest.Backend(b)) })
	}
}

// What a backend lacks it refuses, and says which backend has it.
func TestWhatABackendLacksIsRefused(t *testing.T) {
	for _, row := range []struct {
		backend  poll.Backend
		interest poll.Mask
		mode     poll.Mode
		words    []string
	}{
		{poll.BackendSelect, poll.Readable, poll.Edge, []string{"select", "edge", "use epoll"}},
		{poll.BackendPoll, poll.Readable, poll.Edge, []string{"poll", "edge", "use epoll"}},
		{poll.BackendSelect, poll.Readable, poll.Exclusive, []string{"select", "exclusive", "use epoll"}},
		{poll.BackendPoll, poll.Readable, poll.Exclusive, []string{"poll", "exclusive", "use epoll"}},
		{poll.BackendSelect, poll.ReadHangUp, poll.Level, []string{"select", "ReadHangUp", "use poll or epoll"}},
	} {
		p := polltest.Open(t, row.backend)
		r, w := polltest.NewPipe(t)
		w.Write(1)
		refused(t, p.Add(r.FD, 1, row.interest, row.mode), row.words...)
		polltest.Expect(t, p)
	}
}
