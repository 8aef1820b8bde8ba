package main

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// An outcome is what comes of a fault.
type outcome string

const (
	survives    outcome = "survives"
	caught      outcome = "caught"
	tookTooLong outcome = "took too long"
	unbuilt     outcome = "does not compile"
)

// A result is what came of one fault.
type result struct {
	List    string  `json:"list"`
	Fault   string  `json:"fault"`
	Outcome outcome `json:"outcome"`
	By      string  `json:"by,omitempty"`    // what failed
	Seed    *uint64 `json:"seed,omitempty"`  // that fails; nil: what failed has no seeds
	Steps   int     `json:"steps,omitempty"` // of the seed that are needed
	Of      int     `json:"of,omitempty"`    // its steps
	Seconds float64 `json:"seconds"`
}

// results are those of one run of the command.
type results struct {
	Seeds  int      `json:"seeds"` // of each test
	Faults []result `json:"faults"`
}

var (
	bySeed  = regexp.MustCompile(`seed (\d+) fails: (.*)\n\s*(\d+) of (\d+) steps`)
	byTest  = regexp.MustCompile(`_test\.go:\d+: (.*)`)
	byPanic = regexp.MustCompile(`(?m)^(panic: .*|fatal error: .*)`)
)

// judge says what a test that has failed shows of its fault. One that timed out has
// found nothing.
func (r *result) judge(out string) {
	if strings.Contains(out, "panic: test timed out") {
		r.Outcome = tookTooLong
		return
	}
	r.Outcome, r.By = caught, "the test fails"
	if m := bySeed.FindStringSubmatch(out); m != nil {
		seed, _ := strconv.ParseUint(m[1], 10, 64) // a number, by the expression
		r.Seed, r.By = &seed, m[2]
		r.Steps, _ = strconv.Atoi(m[3])
		r.Of, _ = strconv.Atoi(m[4])
	} else if m := byPanic.FindStringSubmatch(out); m != nil {
		r.By = m[1]
	} else if m := byTest.FindStringSubmatch(out); m != nil {
		r.By = m[1]
	}
}

// describe says in one line what came of the fault.
func (r *result) describe() string {
	switch {
	case r.Outcome == unbuilt:
		return strings.ToUpper(string(r.Outcome)) + "\n" + r.By
	case r.Outcome != caught:
		return strings.ToUpper(string(r.Outcome))
	case r.Seed != nil:
		return fmt.Sprintf("seed %d, %d of %d steps: %s", *r.Seed, r.Steps, r.Of, r.By)
	}
	return r.By
}

// write keeps the results in the named file, if there is one.
func (all *results) write(name string) error {
	if name == "" {
		return nil
	}
	text, err := json.MarshalIndent(all, "", "\t")
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return os.WriteFile(name, append(text, '\n'), 0o644)
}

// summary counts the outcomes of each list, and of all.
func (all *results) summary() string {
	var lists []string
	for _, r := range all.Faults {
		if !slices.Contains(lists, r.List) {
			lists = append(lists, r.List)
		}
	}
	var text strings.Builder
	for _, list := range lists {
		fmt.Fprintf(&text, "%s: %s\n", list, count(slices.DeleteFunc(slices.Clone(all.Faults), func(r result) bool { return r.List != list })))
	}
	fmt.Fprintf(&text, "all: %s\n", count(all.Faults))
	return text.String()
}

// err is for faults that are not faults of anything.
func (all *results) err() error {
	n := 0
	for _, r := range all.Faults {
		if r.Outcome == unbuilt {
			n++
		}
	}
	if n > 0 {
		return fmt.Errorf("%d faults do not compile", n)
	}
	return nil
}

// count says what came of faults.
func count(faults []result) string {
	counts := map[outcome]int{}
	var seeds []uint64
	var steps []int
	for _, r := range faults {
		counts[r.Outcome]++
		if r.Seed != nil {
			seeds, steps = append(seeds, *r.Seed), append(steps, r.Steps)
		}
	}
	text := fmt.Sprintf("%d of %d caught, %d survive, %d took too long", counts[caught], len(faults), counts[survives], counts[tookTooLong])
	if len(seeds) > 0 {
		slices.Sort(seeds)
		slices.Sort(steps)
		text += fmt.Sprintf("; median seed %d, median steps %d", seeds[len(seeds)/2], steps[len(steps)/2])
	}
	return text
}
