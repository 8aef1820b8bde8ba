package epi

import "testing"

// TestHunt27_TwoChoicesKeepLoopsEven places many connections on many loops. By
// chance alone the fullest would have about 30 more than its share.
func TestHunt27_TwoChoicesKeepLoopsEven(t *testing.T) {
	const loops, share, most = 64, 100, 20
	e := &Engine{}
	for range loops {
		e.loops = append(e.loops, &Loop{engine: e})
	}
	for range loops * share {
		e.lighterLoop().live.Add(1)
	}
	for i, l := range e.loops {
		if n := l.live.Load(); n > share+most {
			t.Errorf("loop %d has %d connections, its share is %d", i, n, share)
		}
	}
}

// Of two loops the lighter one is always found.
func TestHunt27_TwoLoopsAreBothLookedAt(t *testing.T) {
	e := &Engine{}
	for range 2 {
		e.loops = append(e.loops, &Loop{engine: e})
	}
	e.loops[0].live.Store(1)
	for range 100 {
		if e.lighterLoop() != e.loops[1] {
			t.Fatal("the fuller loop was chosen")
		}
	}
}

// A look before sleeping is left out after some that found nothing, until sleeping
// turns out to be short.
func TestHunt24_LooksInVainAreLeftOut(t *testing.T) {
	m := lookMeter{costs: true}
	for i := range 2 * looksInVain {
		if m.inVain() != (i >= looksInVain) {
			t.Fatalf("after %d looks in vain: %v", i, m.inVain())
		}
		m.found(false)
	}
	m.found(true)
	if m.inVain() {
		t.Error("a look that pays is left out")
	}
	free := lookMeter{}
	for range 2 * looksInVain {
		free.found(false)
	}
	if free.inVain() {
		t.Error("a look that costs nothing is left out")
	}
}
