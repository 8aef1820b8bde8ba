package epi

import (
	"testing"
	"time"
)

func TestSpate(t *testing.T) {
	var s spate
	at := func(d time.Duration, wantYes bool, wantKept uint64) {
		t.Helper()
		if yes, kept := s.say(int64(d)); yes != wantYes || kept != wantKept {
			t.Errorf("at %v: %v, %d kept, want %v, %d", d, yes, kept, wantYes, wantKept)
		}
	}
	for range linesAtOnce {
		at(time.Second, true, 0)
	}
	at(2*time.Second, false, 0)
	at(time.Second+sayAgain-1, false, 0)
	at(time.Second+sayAgain, true, 2)
	for range linesAtOnce - 1 {
		at(time.Second+sayAgain, true, 0)
	}
	at(time.Second+sayAgain, false, 0)
	at(time.Hour, true, 1)
}
