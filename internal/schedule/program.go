package schedule

import (
	"flag"
	"fmt"
	"math"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	seeds  = flag.Uint64("seeds", 0, "how many seeds to play; 0: as many as the test takes by default")
	during = flag.Duration("for", 0, "how long to play, in place of -seeds")
	first  = flag.Uint64("first", 0, "the first seed")
	one    = flag.Int64("seed", -1, "the one seed to play")
	steps  = flag.String("steps", "", "of -seed, the steps to keep, with commas between; all for the empty string")
	record = flag.String("record", "", "the file that gets, as one more line of JSON, what was played")
)

// A Program is a test made of random steps.
type Program struct {
	Play  func(*Run)
	Seeds uint64 // how many are played unless -seeds says otherwise
	// Found are seeds that have failed once, for what was mended: they are played, too.
	// What they play changes with the program.
	Found []uint64
}

// garbage is the GC percentage while seeds are played: what they have at a time is so
// little that the collector would run a hundred times a second.
const garbage = 400

// again is how many seeds share one that is played twice.
const again = 64

// Test plays the program's seeds, with as many goroutines as may run at once.
// The first that fails ends it.
func (p Program) Test(t *testing.T) {
	t.Helper()
	if *one >= 0 {
		p.replay(t)
		return
	}
	p.playFound(t)
	count := max(p.Seeds/slower, 1)
	if *seeds > 0 {
		count = *seeds
	}
	began, end := time.Now(), time.Time{}
	if *during > 0 {
		count, end = math.MaxUint64/4, began.Add(*during)
	}
	defer debug.SetGCPercent(debug.SetGCPercent(garbage)) // a run leaves little, and lets go of all of it
	s := p.search(*first, count, end)
	took := time.Since(began)
	failed := ""
	if s.found != nil {
		failed = p.describe(t.Name(), *s.found)
	}
	s.record(t, took, failed)
	if failed != "" {
		t.Fatal(failed)
	}
	t.Logf("%d schedules in %v, %.0f a second; %s", s.played, took.Round(time.Millisecond), float64(s.played)/took.Seconds(), s.total.list())
}

// playFound plays the seeds that have failed once.
func (p Program) playFound(t *testing.T) {
	t.Helper()
	for _, seed := range p.Found {
		if r, failed := p.run(seed, nil); failed != "" {
			t.Fatal(p.describe(t.Name(), finding{seed, failed, r.made}))
		}
	}
}

// replay plays the seed and steps of the command line.
func (p Program) replay(t *testing.T) {
	t.Helper()
	var keep func(int) bool
	if *steps != "" {
		kept := map[int]bool{}
		for field := range strings.SplitSeq(*steps, ",") {
			i, err := strconv.Atoi(field)
			if err != nil {
				t.Fatalf("-steps: %v", err)
			}
			kept[i] = true
		}
		keep = func(i int) bool { return kept[i] }
	}
	r, failed := p.timeline(uint64(*one), keep)
	if failed != "" {
		t.Fatalf("%s\n%s", failed, strings.Join(r.notes, "\n"))
	}
	t.Logf("%d steps, hash %016x; %s", len(r.made), r.hash, r.counts.list())
}

func (p Program) run(seed uint64, keep func(int) bool) (*Run, string) {
	return p.runAt(nil, seed, keep)
}

// runAt is run with what earlier runs have left.
func (p Program) runAt(b *Bench, seed uint64, keep func(int) bool) (*Run, string) {
	r := New(seed, keep)
	r.bench = b
	return r, r.play(p.Play)
}

// timeline plays a seed and takes notes.
func (p Program) timeline(seed uint64, keep func(int) bool) (*Run, string) {
	r := New(seed, keep)
	r.noting = true
	return r, r.play(p.Play)
}

// A finding is a seed that failed.
type finding struct {
	seed   uint64
	failed string
	made   []int
}

// A searcher shares seeds out to goroutines.
type searcher struct {
	program Program
	next    atomic.Uint64
	end     uint64
	over    time.Time // no seed is begun after it; zero: there is no such time

	mu     sync.Mutex
	played uint64   // guarded by mu; seeds
	total  tally    // guarded by mu
	found  *finding // guarded by mu; the lowest seed
}

// search plays count seeds from first on, until a time if it is given one. What it
// returns has what happened in all, and the lowest seed that failed.
func (p Program) search(first, count uint64, over time.Time) *searcher {
	s := &searcher{program: p, end: first + count, over: over, total: tally{}}
	s.next.Store(first)
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(s.work)
	}
	all.Wait()
	return s
}

func (s *searcher) work() {
	bench := &Bench{}
	defer bench.close()
	for {
		seed := s.next.Add(1) - 1
		if seed >= s.end || !s.over.IsZero() && time.Now().After(s.over) {
			return
		}
		r, failed := s.program.runAt(bench, seed, nil)
		if failed == "" && seed%again == 0 {
			r.Checked(1, "seeds played twice, with one hash")
			failed = s.program.compare(r)
		}
		s.add(r, failed)
	}
}

// compare plays the run's seed once more, with nothing from earlier runs.
func (p Program) compare(r *Run) string {
	if second, _ := p.run(r.Seed, nil); second.hash != r.hash {
		return fmt.Sprintf("not deterministic: hash %016x, then %016x", r.hash, second.hash)
	}
	return ""
}

func (s *searcher) add(r *Run, failed string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.played++
	s.total.add(r.counts)
	if failed == "" {
		return
	}
	s.next.Store(math.MaxUint64 / 2) // no more
	if s.found == nil || r.Seed < s.found.seed {
		s.found = &finding{r.Seed, failed, r.made}
	}
}

// shrinking bounds the runs that making a finding shorter takes.
const shrinking = 3_000

// shrink leaves out steps for as long as the run fails in the same way.
func (p Program) shrink(f finding) []int {
	kept, runs := slices.Clone(f.made), 0
	for size := max(1, len(kept)/2); size > 0; {
		before := len(kept)
		for i := 0; i < len(kept) && runs < shrinking; {
			fewer := slices.Concat(kept[:i], kept[min(i+size, len(kept)):])
			runs++
			if _, failed := p.run(f.seed, among(fewer)); alike(failed, f.failed) {
				kept = fewer
				continue
			}
			i += size
		}
		if size > 1 {
			size /= 2
		} else if len(kept) == before || runs >= shrinking {
			break
		}
	}
	return kept
}

const (
	// fewSteps are few enough to read.
	fewSteps = 12
	// furtherSeeds are looked at, and furtherFindings made shorter, for a run that is.
	furtherSeeds    = 2_000
	furtherFindings = 6
)

// shorter looks for another seed that fails in the same way, with fewer steps.
func (p Program) shorter(f finding, kept []int) (finding, []int) {
	found := 0
	for seed := f.seed + 1; seed <= f.seed+furtherSeeds && found < furtherFindings && len(kept) > fewSteps; seed++ {
		r, failed := p.run(seed, nil)
		if !alike(failed, f.failed) {
			continue
		}
		found++
		other := finding{seed, failed, r.made}
		if fewer := p.shrink(other); len(fewer) < len(kept) {
			f, kept = other, fewer
		}
	}
	return f, kept
}

func among(kept []int) func(int) bool {
	return func(i int) bool {
		_, found := slices.BinarySearch(kept, i)
		return found
	}
}

// alike reports whether two failures begin with the same words: numbers differ
// when steps are left out.
func alike(a, b string) bool { return a != "" && words(a) == words(b) }

// sameWords is how many words two failures must share.
const sameWords = 3

func words(failed string) string {
	letters := strings.Map(func(c rune) rune {
		if c >= '0' && c <= '9' {
			return -1
		}
		return c
	}, failed)
	all := strings.Fields(letters)
	return strings.Join(all[:min(len(all), sameWords)], " ")
}

// describe returns what is known of a finding: how to play it again, and its steps.
func (p Program) describe(test string, f finding) string {
	kept := p.shrink(f)
	f, kept = p.shorter(f, kept)
	r, failed := p.timeline(f.seed, among(kept))
	if failed == "" { // it does not fail twice
		return fmt.Sprintf("seed %d: %s", f.seed, f.failed)
	}
	list := strings.ReplaceAll(strings.Trim(fmt.Sprint(kept), "[]"), " ", ",")
	if list == "" {
		list = "-1" // none of them
	}
	return fmt.Sprintf("seed %d fails: %s\n%d of %d steps are needed. To play them again:\n\n\tgo test -run '%s' %s -seed %d -steps %s\n\n%s",
		f.seed, failed, len(kept), len(f.made), exactly(test), underTest(), f.seed, list, strings.Join(r.notes, "\n"))
}

// exactly returns the pattern of -run for one test, or subtest.
func exactly(test string) string { return "^" + strings.ReplaceAll(test, "/", "$/^") + "$" }

// underTest returns the path of the package that is tested.
func underTest() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Path != "" {
		return strings.TrimSuffix(info.Path, ".test")
	}
	return "."
}

// TestScript plays one run whose first choices are those of the script. It is for
// the fuzzer.
func TestScript(t *testing.T, script []byte, seed uint64, play func(*Run)) {
	t.Helper()
	r := New(seed, nil)
	r.script = script
	if failed := r.play(play); failed != "" {
		t.Fatal(failed)
	}
}
