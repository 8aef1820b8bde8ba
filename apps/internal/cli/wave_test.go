package cli

import (
	"runtime/debug"
	"testing"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// A wave begins with its thousandth connection and ends when nobody has come
// for a while; the timer runs meanwhile only, so that an idle server sleeps.
func TestWave(t *testing.T) {
	w := newWave()
	open := w.count(func(*epi.Conn) epi.Handler { return nil })
	for range waveSize - 1 {
		open(nil)
	}
	if len(w.grown) > 0 {
		t.Fatal("it has begun too early")
	}
	for range 2 * waveSize {
		open(nil)
	}
	epitest.Receive(t, w.grown)
	if w.follow(0) {
		t.Fatal("it is over when it begins")
	}
	epitest.Receive(t, w.ended.C)
	open(nil)
	if w.follow(80 * waveRest) {
		t.Fatal("it is over although one came")
	}
	epitest.Receive(t, w.ended.C)
	if w.follow(20 * waveRest) {
		t.Fatal("it is over although much is queued for those who came")
	}
	epitest.Receive(t, w.ended.C)
	if !w.follow(9 * waveRest) {
		t.Fatal("it is not over although nobody came, and most is with them")
	}
	if w.ended.Stop() {
		t.Error("the timer runs on")
	}
}

// What was set before is set again; less than the wave's own is left.
func TestThrift(t *testing.T) {
	now := func() int {
		p := debug.SetGCPercent(100)
		debug.SetGCPercent(p)
		return p
	}
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	for before, during := range map[int]int{100: 25, 20: 20, -1: -1} {
		debug.SetGCPercent(before)
		th := thrift{percent: 25}
		for range 2 {
			th.begin()
		}
		if p := now(); p != during {
			t.Errorf("%d in a wave, want %d", p, during)
		}
		for range 2 {
			th.end()
		}
		if p := now(); p != before {
			t.Errorf("%d after a wave, want %d", p, before)
		}
	}
	debug.SetGCPercent(100)
	var none thrift
	none.begin()
	if p := now(); p != 100 {
		t.Errorf("%d without thrift", p)
	}
}
