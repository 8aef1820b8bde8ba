package schedule

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// lost plays a queue that loses what is put third behind two takes: of all its
// steps few are needed to show it.
func lost(r *Run) {
	put, taken, inRow := 0, 0, 0
	r.Steps(200, func() {
		if r.Chance(3) {
			inRow = 0
			put++
			r.Note("put")
			return
		}
		inRow++
		if taken < put {
			taken++
			r.Note("take")
		}
		if inRow >= 2 && taken == 3 {
			r.Failf("lost after %d were put", put)
		}
	})
}

func TestPlay_SameSeedSameHash(t *testing.T) {
	for seed := range uint64(100) {
		play := func(r *Run) { r.Steps(20, func() { r.Choose(10) }) }
		a, b, other := New(seed, nil), New(seed, nil), New(seed+1, nil)
		for _, r := range []*Run{a, b, other} {
			if failed := r.play(play); failed != "" {
				t.Fatal(failed)
			}
		}
		if a.hash != b.hash || a.hash == other.hash {
			t.Fatalf("seed %d: hashes %x, %x, of the next seed %x", seed, a.hash, b.hash, other.hash)
		}
	}
}

// Leaving out steps leaves the choices of the others as they were.
func TestSteps_HaveChoicesOfTheirOwn(t *testing.T) {
	chosen := func(keep func(int) bool) map[int]int {
		all := map[int]int{}
		r := New(7, keep)
		r.Steps(50, func() { all[r.steps-1] = r.Choose(1000) })
		return all
	}
	all := chosen(nil)
	for i, c := range chosen(func(i int) bool { return i%3 == 0 }) {
		if all[i] != c {
			t.Errorf("step %d chose %d, with the others %d", i, c, all[i])
		}
	}
}

func TestSearch_FindsTheLowestSeedAndShrinks(t *testing.T) {
	p := Program{Play: lost}
	found := p.search(0, 100, time.Time{}).found
	if found == nil {
		t.Fatal("nothing was found")
	}
	kept := p.shrink(*found)
	if len(kept) > 8 || !slices.IsSorted(kept) {
		t.Errorf("%d steps are left: %v", len(kept), kept)
	}
	said := p.describe("TestX", *found)
	for _, part := range []string{"fails: lost after 3 were put", "go test -run '^TestX$' github.com/epinet/epi/internal/schedule -seed ", "take"} {
		if !strings.Contains(said, part) {
			t.Errorf("%q is missing in:\n%s", part, said)
		}
	}
}

func TestSearch_PanicIsAFailure(t *testing.T) {
	p := Program{Play: func(r *Run) {
		r.Steps(5, func() {
			if r.Seed == 3 && r.Chance(2) {
				var none []int
				_ = none[r.Choose(1)]
			}
		})
	}}
	found := p.search(0, 10, time.Time{}).found
	if found == nil || found.seed != 3 || !strings.Contains(found.failed, "index out of range") || !strings.Contains(found.failed, "schedule_test.go") {
		t.Fatalf("found %+v", found)
	}
}

func TestSearch_NoticesWhatIsNotDeterministic(t *testing.T) {
	calls := 0
	p := Program{Play: func(r *Run) { calls++; r.Mix(uint64(calls)) }}
	if found := p.search(again, 1, time.Time{}).found; found == nil || !strings.Contains(found.failed, "not deterministic") {
		t.Fatalf("found %+v", found)
	}
}

func TestTestScript_TakesTheScriptFirst(t *testing.T) {
	TestScript(t, []byte{3, 1, 4}, 0, func(r *Run) {
		for _, want := range []int{3, 1, 4} {
			if c := r.Choose(9); c != want {
				t.Errorf("chose %d, want %d", c, want)
			}
		}
	})
}

// What calls the failing check may have guards of its own, as an engine has for
// callbacks: the failure stands all the same, and the first one counts.
func TestSearch_FailureThatIsRecoveredStands(t *testing.T) {
	guarded := func(fn func()) {
		defer func() { _ = recover() }()
		fn()
	}
	p := Program{Play: func(r *Run) {
		r.Steps(5, func() {
			if r.Seed == 3 && r.Chance(2) {
				guarded(func() { r.Failf("the first of many") })
				r.Failf("what follows from it")
			}
		})
	}}
	found := p.search(0, 10, time.Time{}).found
	if found == nil || found.seed != 3 || found.failed != "the first of many" {
		t.Fatalf("found %+v", found)
	}
	p.Play = func(r *Run) { guarded(func() { r.Failf("nothing follows") }) }
	if found = p.search(0, 1, time.Time{}).found; found == nil || found.failed != "nothing follows" {
		t.Fatalf("found %+v", found)
	}
}

// What happened is counted by class, and added up over all seeds.
func TestSearch_Counts(t *testing.T) {
	s := Program{Play: func(r *Run) {
		r.Fault("lost")
		r.Checked(2, "byte")
		r.Count("dial")
	}}.search(1, 10, time.Time{})
	if s.played != 10 || s.total.list() != "lost 10, byte 20, dial 10" {
		t.Errorf("%d seeds: %s", s.played, s.total.list())
	}
}

// No seed is begun when the time is over.
func TestSearch_Ends(t *testing.T) {
	s := Program{Play: func(*Run) {}}.search(0, 1000, time.Now().Add(-time.Second))
	if s.played != 0 {
		t.Errorf("%d seeds were played", s.played)
	}
}
