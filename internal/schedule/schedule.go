// Package schedule plays tests that are made of random steps: each run is one
// seed, and the same seed gives the same run on every machine. A run that fails
// is made shorter, and printed with the command that plays it again.
//
// A step has a source of choices of its own, made of the seed and the step's
// number. So leaving out one step leaves the choices of all others as they
// were, and what is left of a failing run after leaving out all that can be
// spared is mostly short (delta debugging).
//
// Tests that use the package have the flags -seeds, -for, -seed, -first, -steps and
// -record.
package schedule

import (
	"fmt"
	"io"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"
)

// A Run is one run of a test. It belongs to one goroutine at a time.
type Run struct {
	Seed uint64

	source *rand.PCG
	rng    *rand.Rand
	script []byte // choices that come first
	hash   uint64
	steps  int            // steps that Steps has made or left out
	kept   func(int) bool // nil: all are
	made   []int          // those that were made
	notes  []string       // the timeline; only while noting
	noting bool
	counts tally
	failed string // the first text of Failf
	bench  *Bench // nil: there is none
}

// A Bench is what one run leaves to the next of the same goroutine, so that not every
// run has to make it. It must change nothing in them.
type Bench struct {
	// Tools is whatever the program keeps there: nil at first. At the end it is
	// closed.
	Tools io.Closer
}

func (b *Bench) close() {
	if b.Tools != nil {
		_ = b.Tools.Close()
	}
}

// Bench returns what earlier runs have left, or nil where each run is on its own.
func (r *Run) Bench() *Bench { return r.bench }

// Hash returns what the run's choices have in common with those of the same seed on
// any machine.
func (r *Run) Hash() uint64 { return r.hash }

// New returns a run that keeps those steps for which keep is true; nil keeps all.
func New(seed uint64, keep func(step int) bool) *Run {
	r := &Run{Seed: seed, source: rand.NewPCG(seed, 0), kept: keep, hash: offset64, counts: tally{}}
	r.rng = rand.New(r.source)
	return r
}

// Choose returns a number from 0 to n-1.
func (r *Run) Choose(n int) int {
	r.Failed() // where something has recovered from that
	if n <= 1 {
		return 0
	}
	c := r.next(n)
	r.Mix(uint64(c) + 1)
	return c
}

func (r *Run) next(n int) int {
	if len(r.script) == 0 {
		return r.rng.IntN(n)
	}
	c := int(r.script[0]) % n
	r.script = r.script[1:]
	return c
}

// Chance is true once in n times.
func (r *Run) Chance(n int) bool { return r.Choose(n) == 0 }

// The constants of FNV-1a.
const (
	offset64 = 14695981039346656037
	prime64  = 1099511628211
)

// Mix adds to the run's hash, which two runs of one seed must have in common.
func (r *Run) Mix(v uint64) { r.hash = (r.hash ^ v) * prime64 }

// Steps makes n steps, but for those that the run leaves out. What is chosen
// between Steps and the next has a source of its own, too.
func (r *Run) Steps(n int, step func()) {
	r.made = slices.Grow(r.made, n)
	for range n {
		i := r.steps
		r.steps++
		if r.kept != nil && !r.kept(i) {
			continue
		}
		r.made = append(r.made, i)
		r.source.Seed(r.Seed, uint64(i)+1)
		if r.noting {
			r.note("step %d", i)
		}
		step()
	}
	r.source.Seed(r.Seed, ^uint64(r.steps))
	if r.noting {
		r.note("after step %d", r.steps-1)
	}
}

// Note adds a line to the timeline of a run that has failed.
func (r *Run) Note(format string, args ...any) {
	if r.noting {
		r.note("    "+format, args...)
	}
}

// Noting reports whether Note keeps what it is given: what is dear to put into words
// need not be.
func (r *Run) Noting() bool { return r.noting }

func (r *Run) note(format string, args ...any) {
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

// Count notes that something of the given kind has happened.
func (r *Run) Count(kind string) { r.counts[counted{event, kind}]++ }

// Fault notes that something of the given kind has gone wrong, because the run chose so.
func (r *Run) Fault(kind string) { r.counts[counted{fault, kind}]++ }

// Checked notes that a check has looked at n things of the given kind.
func (r *Run) Checked(n int, kind string) { r.counts[counted{check, kind}] += n }

// A failure is what Failf ends a run with.
type failure struct{ what string }

func (f failure) Error() string { return f.what }

// Failf ends the run. It may be called by what the run calls, in its goroutine. Where
// that recovers from panics the run goes on, and has failed all the same.
func (r *Run) Failf(format string, args ...any) {
	r.Fail(format, args...)
	panic(failure{r.failed})
}

// Fail is Failf for where nothing can be ended: Failed does that later.
func (r *Run) Fail(format string, args ...any) {
	if r.failed == "" {
		r.failed = fmt.Sprintf(format, args...)
	}
}

// Failed ends a run that has failed.
func (r *Run) Failed() {
	if r.failed != "" {
		panic(failure{r.failed})
	}
}

// play plays to the end, and returns what failed.
func (r *Run) play(play func(*Run)) (failed string) {
	defer func() {
		v := recover()
		switch {
		case r.failed != "":
			failed = r.failed
		case v != nil:
			failed = fmt.Sprintf("panic: %v\n%s", v, inside(string(debug.Stack())))
		}
	}()
	play(r)
	return ""
}

// inside returns the part of a stack that is of the code that has panicked.
func inside(stack string) string {
	_, below, _ := strings.Cut(stack, "panic(")
	below, _, _ = strings.Cut(below, "schedule.(*Run).play(")
	return strings.TrimSpace(below)
}
