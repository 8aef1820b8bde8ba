package cli

import (
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
	if w.follow() {
		t.Fatal("it is over when it begins")
	}
	epitest.Receive(t, w.ended.C)
	open(nil)
	if w.follow() {
		t.Fatal("it is over although one came")
	}
	epitest.Receive(t, w.ended.C)
	if !w.follow() {
		t.Fatal("it is not over although nobody came")
	}
	if w.ended.Stop() {
		t.Error("the timer runs on")
	}
}
