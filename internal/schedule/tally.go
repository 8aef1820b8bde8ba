package schedule

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// A class is what a run counts.
type class int

const (
	fault class = iota // what the run has made go wrong
	check              // what was looked at
	event              // what else has happened
)

// A counted is one kind of things.
type counted struct {
	class class
	kind  string
}

// A tally is how often each has happened.
type tally map[counted]int

func (t tally) add(other tally) {
	for kind, n := range other {
		t[kind] += n
	}
}

// of returns the counts of one class.
func (t tally) of(c class) map[string]int {
	all := map[string]int{}
	for kind, n := range t {
		if kind.class == c {
			all[kind.kind] += n
		}
	}
	return all
}

// list writes faults, checks, and the rest, each in the order of their names.
func (t tally) list() string {
	var keys []counted
	for kind := range t {
		keys = append(keys, kind)
	}
	slices.SortFunc(keys, func(a, b counted) int {
		if a.class != b.class {
			return int(a.class - b.class)
		}
		return strings.Compare(a.kind, b.kind)
	})
	var all []string
	for _, kind := range keys {
		all = append(all, fmt.Sprintf("%s %d", kind.kind, t[kind]))
	}
	return strings.Join(all, ", ")
}

// A played is a line of the file that -record names. epi lab sim reads it.
type played struct {
	Test    string         `json:"test"`
	First   uint64         `json:"first"` // seed
	Seeds   uint64         `json:"seeds"` // that were played
	Seconds float64        `json:"seconds"`
	Failed  string         `json:"failed,omitempty"` // the finding
	Faults  map[string]int `json:"faults"`
	Checks  map[string]int `json:"checks"`
	Events  map[string]int `json:"events"`
}

// record adds what was played to the file of -record, if there is one.
func (s *searcher) record(t *testing.T, took time.Duration, failed string) {
	t.Helper()
	if *record == "" {
		return
	}
	line, err := json.Marshal(played{
		Test: t.Name(), First: *first, Seeds: s.played, Seconds: took.Seconds(), Failed: failed,
		Faults: s.total.of(fault), Checks: s.total.of(check), Events: s.total.of(event),
	})
	if err == nil {
		err = appendTo(*record, append(line, '\n'))
	}
	if err != nil {
		t.Fatalf("-record: %v", err)
	}
}

// appendTo adds to a file, in one write, so that tests may run at the same time.
func appendTo(name string, line []byte) error {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	if _, err := file.Write(line); err != nil {
		_ = file.Close()
		return err
	}
	return file.Close()
}
