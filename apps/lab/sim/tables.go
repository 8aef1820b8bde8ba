package sim

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/epinet/epi/apps/lab"
)

// row makes a row of figures that were counted once.
func row(name string, figures ...float64) lab.Row {
	r := lab.Row{Name: name}
	for _, f := range figures {
		r.Cells = append(r.Cells, lab.NewPoint(0, []float64{f}))
	}
	return r
}

// describe makes tables, notes and the summary of what was played.
func (s *study) describe() {
	r := &s.result
	for _, f := range r.Findings {
		r.Notes = append(r.Notes, "A finding: "+brief(f))
	}
	if len(s.played) > 0 {
		r.Tables = append(r.Tables, s.schedules(),
			s.kinds("faults", "Faults injected", "What the kernel, the peers and the handlers have done wrong, because the seed chose so.", played.faults),
			s.kinds("checks", "What the checks have looked at", "A run checks all the time, when everything rests, and at its end; the first thing that is not as it must be ends it.", played.checks))
	}
	if len(s.coverage) > 0 {
		r.Tables = append(r.Tables, s.packages(), s.files())
	}
	if s.planted != nil {
		r.Experiments = append(r.Experiments, s.planted.chart())
		r.Tables = append(r.Tables, s.planted.table())
	}
	if len(s.played) > 0 {
		r.Tables = append(r.Tables, s.kinds("events", "What else has happened", "", played.events))
	}
	s.summarize()
}

// brief is a finding without its timeline: what it is, and how to play it again.
func brief(finding string) string {
	what, rest, _ := strings.Cut(finding, "\n")
	for line := range strings.Lines(rest) {
		if command := strings.TrimSpace(line); strings.HasPrefix(command, "go test ") {
			return what + "; to play it again: " + command
		}
	}
	return what
}

func (p played) faults() map[string]int { return p.Faults }
func (p played) checks() map[string]int { return p.Checks }
func (p played) events() map[string]int { return p.Events }

// sum adds up counts.
func sum(counts map[string]int) (n int) {
	for _, some := range counts {
		n += some
	}
	return n
}

func (s *study) schedules() lab.Table {
	t := lab.Table{
		Name: "schedules", Title: "Schedules played",
		About: "Each is a run that is made of one seed. The tests count the statements that they reach, which makes them slower than without.",
		Columns: []lab.Column{
			{Name: "Schedules"}, {Name: "Time", Unit: "s"}, {Name: "Schedules", Unit: "1/s"},
			{Name: "Faults injected"}, {Name: "Things checked"},
		},
	}
	for _, p := range slices.SortedStableFunc(slices.Values(s.played), func(a, b played) int { return strings.Compare(a.title(), b.title()) }) {
		r := row(p.title(), float64(p.Seeds), p.Seconds, float64(p.Seeds)/p.Seconds, float64(sum(p.Faults)), float64(sum(p.Checks)))
		t.Rows = append(t.Rows, r)
	}
	all := s.total(func(played) bool { return true })
	t.Rows = append(t.Rows, row("All seeds", float64(all.Seeds), all.Seconds, float64(all.Seeds)/all.Seconds, float64(sum(all.Faults)), float64(sum(all.Checks))))
	if s.orders > 0 {
		t.Rows = append(t.Rows, row("How a loop sleeps: all orders", float64(s.orders)))
	}
	return t
}

// total adds up what was played.
func (s *study) total(counts func(played) bool) played {
	all := played{Faults: map[string]int{}, Checks: map[string]int{}}
	for _, p := range s.played {
		if !counts(p) {
			continue
		}
		all.Seeds += p.Seeds
		all.Seconds += p.Seconds
		for kind, n := range p.Faults {
			all.Faults[kind] += n
		}
		for kind, n := range p.Checks {
			all.Checks[kind] += n
		}
	}
	return all
}

// kinds counts the kinds of something at each level, the most frequent first.
func (s *study) kinds(name, title, about string, of func(played) map[string]int) lab.Table {
	t := lab.Table{Name: name, Title: title, About: about}
	counts := map[string][]float64{}
	for _, p := range s.played {
		for kind, n := range of(p) {
			if counts[kind] == nil {
				counts[kind] = make([]float64, levels+1)
			}
			counts[kind][p.program.level-1] += float64(n)
			counts[kind][levels] += float64(n)
		}
	}
	for level := range levels {
		t.Columns = append(t.Columns, lab.Column{Name: "Level " + strconv.Itoa(level+1)})
	}
	t.Columns = append(t.Columns, lab.Column{Name: "All"})
	often := func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b][levels], counts[a][levels]), strings.Compare(a, b))
	}
	for _, kind := range slices.SortedFunc(maps.Keys(counts), often) {
		t.Rows = append(t.Rows, row(kind, counts[kind]...))
	}
	return t
}

// coverageColumns are those of both tables about statements.
func coverageColumns() []lab.Column {
	return []lab.Column{{Name: "Statements"}, {Name: "Reached"}, {Name: "Reached", Unit: "%"}}
}

func coverageRow(name string, s share) lab.Row {
	return row(name, float64(s.statements), float64(s.reached), s.percent())
}

func (s *study) packages() lab.Table {
	t := lab.Table{
		Name: "coverage", Title: "Statements reached",
		About:   "By the tests that were played here, and no others. The portable driver, whose goroutines wait in package net, cannot be played, and is not counted.",
		Columns: coverageColumns(),
	}
	packages := byPackage(s.coverage.byFile())
	for _, name := range slices.Sorted(maps.Keys(packages)) {
		t.Rows = append(t.Rows, coverageRow(packageTitle(name), packages[name]))
	}
	return t
}

func packageTitle(name string) string {
	if name == "." {
		return "epi (the root package)"
	}
	return name
}

// files lists files, those with the most statements that were not reached first.
func (s *study) files() lab.Table {
	t := lab.Table{Name: "files", Title: "Statements reached, by file", Columns: coverageColumns()}
	files := s.coverage.byFile()
	missing := func(a, b string) int {
		return cmp.Or(files[b].statements-files[b].reached-files[a].statements+files[a].reached, strings.Compare(a, b))
	}
	for _, name := range slices.SortedFunc(maps.Keys(files), missing) {
		t.Rows = append(t.Rows, coverageRow(name, files[name]))
	}
	return t
}

// summarize says the most important in a few lines.
func (s *study) summarize() {
	say := func(name, format string, args ...any) {
		s.result.Summary = append(s.result.Summary, Line{name, fmt.Sprintf(format, args...)})
	}
	for level := 1; level <= levels; level++ {
		t := s.total(func(p played) bool { return p.program.level == level })
		if t.Seeds > 0 {
			say(fmt.Sprintf("level %d", level), "%d schedules, %.0f a second; %d faults injected, %d things checked", t.Seeds, float64(t.Seeds)/t.Seconds, sum(t.Faults), sum(t.Checks))
		}
	}
	if s.orders > 0 {
		say("sleep", "%d orders, which are all", s.orders)
	}
	packages := byPackage(s.coverage.byFile())
	for _, name := range slices.Sorted(maps.Keys(packages)) {
		say("reached", "%.1f %% of %d statements of %s", packages[name].percent(), packages[name].statements, packageTitle(name))
	}
	if p := s.planted; p != nil {
		say("planted", "%d of %d faults caught, %d survive, %d took too long", p.count(caught), len(p.Faults), p.count(survives), p.count(tookTooLong))
	}
}
