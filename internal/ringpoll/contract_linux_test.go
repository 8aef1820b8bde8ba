package ringpoll_test

import (
	"testing"

	"github.com/epinet/epi/internal/polltest"
	"github.com/epinet/epi/poll"
)

func TestP01_Triggers(t *testing.T)                      { polltest.Triggers(t, ring) }
func TestP04_HalfReadBuffer(t *testing.T)                { polltest.HalfRead(t, ring) }
func TestP05_SignalGivesThreeEdges(t *testing.T)         { polltest.ThreeEdges(t, ring) }
func TestP06_OneShotIsSilentUntilModify(t *testing.T)    { polltest.OneShot(t, ring) }
func TestP07_EveryConnectionIsAcceptedOnce(t *testing.T) { polltest.SharedListener(t, ring) }
func TestP08_Errors(t *testing.T)                        { polltest.Errors(t, ring) }
func TestP10_LatestTokenAndInterestWin(t *testing.T)     { polltest.LatestWins(t, ring) }
func TestP11_Masks(t *testing.T)                         { polltest.Masks(t, ring) }
func TestP12_HangUpAndPriority(t *testing.T)             { polltest.HangUpAndPriority(t, ring) }
func TestP13_PeerCloseWakesReaderAndWriter(t *testing.T) { polltest.PeerClose(t, ring) }
func TestP15_Timeouts(t *testing.T)                      { polltest.Timeouts(t, ring) }
func TestP16_Wakes(t *testing.T)                         { polltest.Wakes(t, ring) }
func TestP17_Turns(t *testing.T)                         { polltest.Turns(t, ring) }
func TestP18_Signals(t *testing.T)                       { polltest.Signals(t, ring) }
func TestWaitDoesNotAllocate(t *testing.T)               { polltest.WaitDoesNotAllocate(t, ring) }

func TestAgainstEpoll(t *testing.T) {
	polltest.TestModel(t, ring, polltest.Backend(poll.BackendEpoll))
}

func FuzzAgainstEpoll(f *testing.F) {
	polltest.FuzzModel(f, ring, polltest.Backend(poll.BackendEpoll))
}

func BenchmarkWait(b *testing.B) { polltest.BenchmarkWait(b, ring) }
