package wheel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"
)

const (
	tick   = int64(1) << tickBits
	second = int64(1e9)
)

// phase runs one phase at now and returns the owners in order of expiry.
func phase(w *Wheel, now int64) []any {
	var fired []any
	w.Advance(now)
	for t := w.Expire(); t != nil; t = w.Expire() {
		fired = append(fired, t.Owner)
	}
	return fired
}

func add(w *Wheel, owner any, when int64) *Timer {
	t := &Timer{Owner: owner}
	w.Add(t, when)
	return t
}

func expect(t *testing.T, got []any, want ...any) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("fired %v, want %v", got, want)
	}
}

func expectNext(t *testing.T, w *Wheel, want int64) {
	t.Helper()
	if when, ok := w.Next(); !ok || when != want {
		t.Fatalf("Next() = %d, %v; want %d", when, ok, want)
	}
}

func TestTimerFitsOneCacheLine(t *testing.T) {
	if size := unsafe.Sizeof(Timer{}); size > 64 {
		t.Fatalf("a Timer takes %d bytes, want at most 64", size)
	}
}

func TestT01_OrderByDeadline(t *testing.T) {
	deadlines := []int64{
		1, 2, tick - 1, tick, tick + 1, 63 * tick, 64 * tick, 64*tick + 1, 65 * tick,
		second, second + 1, 3600 * second, math.MaxInt64 - 1, math.MaxInt64,
	}
	var w Wheel
	var want []any
	for _, i := range rand.New(rand.NewPCG(1, 1)).Perm(len(deadlines)) {
		add(&w, deadlines[i], deadlines[i])
	}
	for _, d := range deadlines {
		want = append(want, d)
	}
	expect(t, phase(&w, math.MaxInt64), want...)
	if w.Len() != 0 {
		t.Fatalf("Len() = %d after all expired", w.Len())
	}
}

func TestT01_TiesByCreation(t *testing.T) {
	const when = 5*second + 7
	var w Wheel
	add(&w, "a", when)
	expect(t, phase(&w, when-second)) // b reaches a's slot from nearer by
	add(&w, "b", when)
	expect(t, phase(&w, when-1)) // within the tick: c goes straight to the ready queue
	add(&w, "c", when)
	again := add(&w, "d", when)
	add(&w, "e", when)
	w.Remove(again)
	w.Add(again, when) // a new creation: after e
	expect(t, phase(&w, when), "a", "b", "c", "e", "d")
}

func TestT01_NeverEarly(t *testing.T) {
	for _, when := range []int64{1, tick - 1, tick, tick + 1, 64 * tick, 12345678901, math.MaxInt64} {
		var w Wheel
		add(&w, when, when)
		expectNext(t, &w, when)
		for _, now := range []int64{0, when / 2, when - 2, when - 1} {
			expect(t, phase(&w, now))
			expectNext(t, &w, when)
		}
		expect(t, phase(&w, when), when)
	}
}

func TestT01_CancelInsideAnother(t *testing.T) {
	var w Wheel
	add(&w, "first", 10)
	same := add(&w, "same time", 10)
	later := add(&w, "due later", 5*second)
	add(&w, "last", 6*second)

	w.Advance(10 * second)
	if got := w.Expire(); got.Owner != "first" || got.Scheduled() {
		t.Fatalf("expired %v, scheduled %v", got.Owner, got.Scheduled())
	}
	if !w.Remove(same) || !w.Remove(later) {
		t.Fatal("Remove of a due timer that was not yet returned: false")
	}
	if w.Remove(same) {
		t.Fatal("the second Remove: true")
	}
	if got := w.Expire(); got.Owner != "last" {
		t.Fatalf("expired %v, want last", got.Owner)
	}
	if got := w.Expire(); got != nil || w.Len() != 0 {
		t.Fatalf("expired %v, %d left", got, w.Len())
	}
}

// A timer that adds itself with no delay fires once in each phase:
//
//	phase 1: chain, old      phase 2: chain      phase 3: chain
func TestT01_ZeroDelayChainIsBoundedByThePhase(t *testing.T) {
	var w Wheel
	add(&w, "chain", 1)
	add(&w, "old", 2)
	for i, want := range [][]any{{"chain", "old"}, {"chain"}, {"chain"}} {
		var fired []any
		w.Advance(100)
		for timer := w.Expire(); timer != nil; timer = w.Expire() {
			fired = append(fired, timer.Owner)
			if timer.Owner == "chain" {
				w.Add(timer, int64(i)-50) // even before those that are due already
			}
		}
		expect(t, fired, want...)
		if when, ok := w.Next(); !ok || when > 100 {
			t.Fatalf("Next() = %d, %v; the chain is due at once", when, ok)
		}
	}
}

func TestT01_PhaseGivenUpIsTakenUp(t *testing.T) {
	var w Wheel
	for i := range 6 {
		add(&w, i, int64(i)*second)
	}
	var fired []any
	for range 3 { // two per phase: the owner bounds its turn
		w.Advance(10 * second)
		fired = append(fired, w.Expire().Owner, w.Expire().Owner)
	}
	expect(t, fired, 0, 1, 2, 3, 4, 5)
}

func TestTimeDoesNotRunBackwards(t *testing.T) {
	var w Wheel
	expect(t, phase(&w, 100*second))
	add(&w, "soon", 100*second+5)
	add(&w, "past", -3)
	expect(t, phase(&w, 50*second), "past")
	add(&w, "passed", 70*second)
	expect(t, phase(&w, 60*second), "passed")
	expectNext(t, &w, 100*second+5)
	expect(t, phase(&w, 100*second+5), "soon")
}

func TestNextIsExactAfterRemovals(t *testing.T) {
	var w Wheel
	var timers []*Timer
	for i := range 1000 {
		timers = append(timers, add(&w, i, 3600*second+int64(i)*7)) // one slot holds them all
	}
	for i, timer := range timers {
		expectNext(t, &w, timers[i].When())
		w.Remove(timer)
	}
	if when, ok := w.Next(); ok {
		t.Fatalf("Next() = %d of an empty wheel", when)
	}
}

func TestAddTwicePanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Fatal("the second Add did not panic")
		}
	}()
	var w Wheel
	w.Add(add(&w, nil, 1), 2)
}

// A model is a wheel together with the plain list that it must agree with.
type model struct {
	testing.TB
	wheel  Wheel
	timers []Timer
	alive  []*Timer // sorted by (when, seq)
	now    int64
}

func newModel(tb testing.TB, timers int) *model {
	return &model{TB: tb, timers: make([]Timer, timers)}
}

func compare(a, b *Timer) int {
	if a.before(b) {
		return -1
	}
	return 1
}

// toggle removes the timer i if it is scheduled and adds it otherwise.
func (m *model) toggle(i int, when int64) {
	t := &m.timers[i%len(m.timers)]
	if at := slices.Index(m.alive, t); at >= 0 {
		m.alive = slices.Delete(m.alive, at, at+1)
		if !m.wheel.Remove(t) {
			m.Fatal("Remove of a scheduled timer: false")
		}
		return
	}
	if m.wheel.Remove(t) {
		m.Fatal("Remove of a timer not scheduled: true")
	}
	m.wheel.Add(t, when)
	at, _ := slices.BinarySearchFunc(m.alive, t, compare)
	m.alive = slices.Insert(m.alive, at, t)
}

// phase lets at most limit timers expire, and calls each(i) after the i-th.
func (m *model) phase(now int64, limit int, each func(i int)) {
	m.now = max(m.now, now)
	m.wheel.Advance(now)
	begin := m.wheel.seq
	for i := range limit {
		at := slices.IndexFunc(m.alive, func(t *Timer) bool { return t.seq <= begin })
		var want *Timer
		if at >= 0 && m.alive[at].when <= m.now {
			want = m.alive[at]
			m.alive = slices.Delete(m.alive, at, at+1)
		}
		if got := m.wheel.Expire(); got != want {
			m.Fatalf("at %d: expired %+v, want %+v", m.now, got, want)
		}
		if want == nil {
			return
		}
		each(i)
	}
}

func (m *model) check() {
	when, ok := m.wheel.Next()
	if ok != (len(m.alive) > 0) || m.wheel.Len() != len(m.alive) {
		m.Fatalf("Next() = %d, %v; Len() = %d; want %d timers", when, ok, m.wheel.Len(), len(m.alive))
	}
	if !ok {
		return
	}
	exact := m.alive[0].when
	if when != exact && (exact > m.now || when > m.now) {
		m.Fatalf("Next() = %d at %d, want %d", when, m.now, exact)
	}
}

// span returns a random duration with every order of magnitude alike.
func span(r *rand.Rand) int64 { return r.Int64() >> r.IntN(63) }

// after returns now+d, or the end of time.
func after(now, d int64) int64 {
	if now > math.MaxInt64-d {
		return math.MaxInt64
	}
	return now + d
}

func TestModel(t *testing.T) {
	for _, c := range []struct {
		name  string
		start int64
		jump  func(r *rand.Rand) int64
	}{
		{"small steps", 0, func(r *rand.Rand) int64 { return r.Int64N(4 * tick) }},
		{"large steps", 0, func(r *rand.Rand) int64 { return r.Int64N(3600 * second) }},
		{"all magnitudes", 0, func(r *rand.Rand) int64 { return span(r) >> 12 }},
		{"huge steps", 0, span},
		{"end of time", math.MaxInt64 - 10*second, func(r *rand.Rand) int64 { return r.Int64N(tick) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(7, 7))
			m := newModel(t, 300)
			m.phase(c.start, 1, nil)
			deadline := func() int64 {
				if r.IntN(8) == 0 {
					return m.now - span(r)>>1 // past, also negative
				}
				return after(m.now, span(r)>>r.IntN(40))
			}
			for range 100_000 {
				if r.IntN(4) > 0 {
					m.toggle(r.IntN(len(m.timers)), deadline())
				} else {
					m.phase(after(m.now, c.jump(r)), 1+r.IntN(40), func(i int) {
						if i%2 == 0 {
							m.toggle(r.IntN(len(m.timers)), deadline())
						}
					})
				}
				m.check()
				if m.now == math.MaxInt64 {
					m = newModel(t, 300) // time has ended: begin again
					m.phase(c.start, 1, nil)
				}
			}
		})
	}
}

// script plays bytes on a model: three per step, an operation and its figure.
func script(m *model, steps []byte) {
	figure := func(b []byte) int64 { return int64(b[1]) << (b[2] % 56) }
	for len(steps) >= 3 {
		op := steps[0]
		d := figure(steps)
		steps = steps[3:]
		switch op % 4 {
		case 0, 1:
			m.toggle(int(op>>2), after(m.now, d))
		case 2:
			m.toggle(int(op>>2), m.now-d)
		case 3:
			m.phase(after(m.now, d), 1+int(op>>2), func(i int) { m.toggle(int(op)+i, after(m.now, d)) })
		}
		m.check()
	}
}

func FuzzWheel(f *testing.F) {
	f.Fuzz(func(t *testing.T, steps []byte) { script(newModel(t, 64), steps) })
}

// runMillion sets the timers within an hour, removes every other one and lets
// the rest expire, as an owner who wakes only when Next says so.
func runMillion(t *testing.T, w *Wheel, timers []Timer, r *rand.Rand) {
	start, moved := w.now, w.moved
	for i := range timers {
		w.Add(&timers[i], start+1+r.Int64N(3600*second))
	}
	for i := 0; i < len(timers); i += 2 {
		w.Remove(&timers[i])
	}
	fired := 0
	var last int64
	for when, ok := w.Next(); ok; when, ok = w.Next() {
		w.Advance(when)
		before := fired
		for timer := w.Expire(); timer != nil; timer = w.Expire() {
			if timer.when != when || timer.when < last {
				t.Fatalf("timer for %d fired at %d, after one for %d", timer.when, when, last)
			}
			last = timer.when
			fired++
		}
		if fired == before {
			t.Fatalf("woke at %d for nothing", when)
		}
	}
	if want := len(timers) / 2; fired != want || w.Len() != 0 {
		t.Fatalf("%d timers fired, want %d; %d left", fired, want, w.Len())
	}
	if moves := w.moved - moved; moves > uint64(fired)*levels {
		t.Fatalf("%d moves for %d timers, want at most %d each", moves, fired, levels)
	}
}

func TestT03_MillionTimers(t *testing.T) {
	timers := make([]Timer, 1_000_000)
	var w Wheel
	r := rand.New(rand.NewPCG(3, 3))
	allocs := testing.AllocsPerRun(1, func() { runMillion(t, &w, timers, r) })
	if allocs != 0 {
		t.Fatalf("%v allocations for %d timers", allocs, len(timers))
	}
}

func TestNothingAllocates(t *testing.T) {
	var w Wheel
	timers := make([]Timer, 1000)
	allocs := testing.AllocsPerRun(100, func() {
		for i := range timers {
			w.Add(&timers[i], w.now+int64(i%50)*tick)
		}
		w.Remove(&timers[0])
		w.Advance(w.now + second)
		for w.Expire() != nil {
			w.Next()
		}
	})
	if allocs != 0 {
		t.Fatalf("%v allocations", allocs)
	}
}

func TestEveryLevelMovesAtMostEightTimes(t *testing.T) {
	for level := range levels {
		var w Wheel
		when := int64(1)<<(tickBits+level*slotBits+1)*2 - 1 // all digits below are the largest
		add(&w, level, when)
		for range levels * slots {
			next, _ := w.Next()
			// Creep up, so that no level is skipped.
			w.Advance(w.now + (next-w.now)/2)
			if w.Expire() != nil {
				t.Fatalf("level %d: expired early", level)
			}
		}
		expect(t, phase(&w, when), level)
		if w.moved > levels {
			t.Fatalf("level %d: %d moves", level, w.moved)
		}
	}
}

func BenchmarkAddRemove(b *testing.B) {
	var w Wheel
	fill(&w, 100_000)
	var t Timer
	b.ReportAllocs()
	for b.Loop() {
		w.Add(&t, 30*second)
		w.Remove(&t)
	}
}

// Each of n idle timers is put off in turn, and the owner asks when to wake:
// the earliest is removed every time.
func BenchmarkPutOffEarliest(b *testing.B) {
	for _, n := range []int{1000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var w Wheel
			timers := make([]Timer, n)
			for i := range timers {
				w.Add(&timers[i], 60*second+int64(i))
			}
			b.ReportAllocs()
			now := int64(0)
			for i := 0; b.Loop(); i++ {
				now += 1000
				t := &timers[i%n]
				w.Remove(t)
				w.Add(t, now+60*second)
				w.Advance(now)
				w.Next()
			}
		})
	}
}

func BenchmarkExpire(b *testing.B) {
	var w Wheel
	fill(&w, 100_000)
	r := rand.New(rand.NewPCG(2, 2))
	b.ReportAllocs()
	for b.Loop() {
		when, _ := w.Next()
		w.Advance(when)
		w.Add(w.Expire(), when+r.Int64N(60*second))
	}
}

func fill(w *Wheel, n int) {
	r := rand.New(rand.NewPCG(1, 1))
	timers := make([]Timer, n)
	for i := range timers {
		w.Add(&timers[i], 1+r.Int64N(60*second))
	}
}
