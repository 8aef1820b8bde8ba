// Package compare holds two results of the laboratory against each other: every
// point and every cell that both have, with the ratio between them and whether
// it is more than what the samples of one run differ by themselves.
package compare

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/epinet/epi/apps/lab"
)

// resultFile is the name under which every lab command keeps its result.
const resultFile = "result.json"

// Load reads a result from a file, or from the directory in which a lab
// command left it.
func Load(path string) (*lab.Result, error) {
	name := path
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		name = filepath.Join(path, resultFile)
	}
	r, err := lab.Read(name)
	if err != nil {
		return nil, fmt.Errorf("%w; name the %s of a lab command or the directory that holds it", err, resultFile)
	}
	return r, nil
}

// A Mark says how B differs from A.
type Mark string

// The marks. Better and Worse mean that every sample of one side lies on the
// same side of every sample of the other; Within that their ranges overlap.
// Unknown means that there is one sample only, so that no range is known.
const (
	Better  Mark = "better"
	Worse   Mark = "worse"
	Within  Mark = "within"
	Unknown Mark = "unknown"
)

// Marks are all marks, in the order in which they are counted.
var Marks = []Mark{Better, Worse, Within, Unknown}

// A Comparison is what two results have in common.
type Comparison struct {
	A        Side         `json:"a"`
	B        Side         `json:"b"`
	Warnings []string     `json:"warnings"` // why the two may not be comparable
	Counts   map[Mark]int `json:"counts"`   // of all cells
	Groups   []Group      `json:"groups"`
	OnlyA    []string     `json:"only_a"` // what B does not have
	OnlyB    []string     `json:"only_b"`
}

// A Side is where one of the results comes from.
type Side struct {
	Path    string      `json:"path"`
	Title   string      `json:"title"`
	Command string      `json:"command"`
	Started time.Time   `json:"started"`
	Seconds float64     `json:"seconds"`
	Partial string      `json:"partial,omitempty"`
	Machine lab.Machine `json:"machine"`
}

// A Group is one experiment or one table.
type Group struct {
	Kind  string `json:"kind"` // experiment or table
	Name  string `json:"name"`
	Title string `json:"title"`
	Cells []Cell `json:"cells"`

	Overall []Overall `json:"overall,omitempty"` // of an experiment's series

	A, B *lab.Experiment `json:"-"` // of an experiment, to draw it
}

// An Overall says how a whole series differs: where it has one sample at each
// of very many points, these together say what none says alone.
type Overall struct {
	Row    string  `json:"row"`
	Points int     `json:"points"` // at which both are above 0
	Ratio  float64 `json:"ratio"`  // geometric mean of the points' B/A
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// A Cell is one figure that both sides have.
type Cell struct {
	Row    string    `json:"row"`              // the series, or the row of a table
	Column string    `json:"column"`           // what was measured
	X      *float64  `json:"x,omitempty"`      // of a series' point
	XLabel string    `json:"xlabel,omitempty"` // of a series' point
	XUnit  string    `json:"xunit,omitempty"`
	Unit   string    `json:"unit"`
	Higher bool      `json:"higher"` // more is better
	A      lab.Point `json:"a"`
	B      lab.Point `json:"b"`
	Ratio  float64   `json:"ratio"` // B/A; 0 if A is 0
	Mark   Mark      `json:"mark"`
}

// Compare compares two results that were read from the paths.
func Compare(pathA string, a *lab.Result, pathB string, b *lab.Result) *Comparison {
	c := &Comparison{A: sideOf(pathA, a), B: sideOf(pathB, b), Counts: map[Mark]int{}, Warnings: []string{}, OnlyA: []string{}, OnlyB: []string{}}
	for _, m := range Marks {
		c.Counts[m] = 0
	}
	c.Warnings = append(c.Warnings, differences(c.A, c.B)...)
	c.experiments(a.Experiments, b.Experiments)
	c.tables(a.Tables, b.Tables)
	for _, g := range c.Groups {
		for _, cell := range g.Cells {
			c.Counts[cell.Mark]++
		}
	}
	if len(c.Groups) == 0 {
		c.warn("the two have no experiment and no table in common: compare two runs of the same command")
	}
	return c
}

func (c *Comparison) warn(format string, args ...any) {
	c.Warnings = append(c.Warnings, fmt.Sprintf(format, args...))
}

func sideOf(path string, r *lab.Result) Side {
	return Side{Path: path, Title: r.Title, Command: r.Command, Started: r.Started, Seconds: r.Seconds, Partial: r.Partial, Machine: r.Machine}
}

// differences lists what differs between two runs besides the program under test.
func differences(a, b Side) []string {
	var found []string
	differ := func(what string, a, b any) {
		if a != b {
			found = append(found, fmt.Sprintf("%s: A has %v, B has %v", what, a, b))
		}
	}
	gib := func(bytes uint64) string { return fmt.Sprintf("%.1f GiB", float64(bytes)/(1<<30)) }
	differ("different machine, CPU", or(a.Machine.CPU, "an unknown one"), or(b.Machine.CPU, "an unknown one"))
	differ("different machine, number of CPUs", a.Machine.CPUs, b.Machine.CPUs)
	differ("different machine, memory", gib(a.Machine.Memory), gib(b.Machine.Memory))
	differ("different kernel", or(a.Machine.Kernel, "an unknown one"), or(b.Machine.Kernel, "an unknown one"))
	differ("different version of Go", or(a.Machine.Go, "an unknown one"), or(b.Machine.Go, "an unknown one"))
	differ("different limit of open files", a.Machine.OpenFiles, b.Machine.OpenFiles)
	differ("different number of ports", a.Machine.Ports, b.Machine.Ports)
	differ("different command", a.Command, b.Command)
	for _, s := range []struct {
		name string
		Side
	}{{"A", a}, {"B", b}} {
		if s.Partial != "" {
			found = append(found, fmt.Sprintf("%s is partial: %s", s.name, s.Partial))
		}
	}
	return found
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// A match pairs what has the same key on both sides. Where a side has a key
// more than once, the first goes with the first, the second with the second.
type match[T any] struct {
	both         [][2]T
	onlyA, onlyB []T
}

func pair[T any, K comparable](a, b []T, key func(T) K) match[T] {
	var m match[T]
	waiting := map[K][]int{}
	for i, v := range b {
		waiting[key(v)] = append(waiting[key(v)], i)
	}
	taken := make([]bool, len(b))
	for _, v := range a {
		queue := waiting[key(v)]
		if len(queue) == 0 {
			m.onlyA = append(m.onlyA, v)
			continue
		}
		m.both = append(m.both, [2]T{v, b[queue[0]]})
		taken[queue[0]], waiting[key(v)] = true, queue[1:]
	}
	for i, v := range b {
		if !taken[i] {
			m.onlyB = append(m.onlyB, v)
		}
	}
	return m
}

// alone keeps what only one side has.
func alone[T any](c *Comparison, m match[T], name func(T) string) {
	for _, v := range m.onlyA {
		c.OnlyA = append(c.OnlyA, name(v))
	}
	for _, v := range m.onlyB {
		c.OnlyB = append(c.OnlyB, name(v))
	}
}

func (c *Comparison) experiments(a, b []lab.Experiment) {
	m := pair(a, b, func(e lab.Experiment) string { return e.Name })
	alone(c, m, func(e lab.Experiment) string { return "experiment " + e.Name })
	for _, both := range m.both {
		a, b := both[0], both[1]
		if a.Y.Unit != b.Y.Unit || a.X.Unit != b.X.Unit {
			c.warn("experiment %s is left out: its units differ, %s over %s and %s over %s",
				a.Name, a.Y.Unit, a.X.Unit, b.Y.Unit, b.X.Unit)
			continue
		}
		g := Group{Kind: "experiment", Name: a.Name, Title: a.Title, A: &a, B: &b, Cells: []Cell{}}
		series := pair(a.Series, b.Series, func(s lab.Series) string { return s.Name })
		alone(c, series, func(s lab.Series) string { return fmt.Sprintf("series %q of experiment %s", s.Name, a.Name) })
		for _, s := range series.both {
			cells := c.points(&a, s)
			g.Cells = append(g.Cells, cells...)
			if o, ok := overall(s[0].Name, cells); ok {
				g.Overall = append(g.Overall, o)
			}
		}
		c.Groups = append(c.Groups, g)
	}
}

// overall sums a series up, if it has more than one point.
func overall(row string, cells []Cell) (Overall, bool) {
	o := Overall{Row: row, Min: math.Inf(1)}
	sum := 0.0
	for _, c := range cells {
		if c.A.Median <= 0 || c.B.Median <= 0 {
			continue
		}
		o.Points++
		sum += math.Log(c.Ratio)
		o.Min, o.Max = min(o.Min, c.Ratio), max(o.Max, c.Ratio)
	}
	if o.Points < 2 {
		return Overall{}, false
	}
	o.Ratio = math.Exp(sum / float64(o.Points))
	return o, true
}

// points compares two series of an experiment.
func (c *Comparison) points(e *lab.Experiment, s [2]lab.Series) []Cell {
	var cells []Cell
	m := pair(s[0].Points, s[1].Points, func(p lab.Point) float64 { return p.X })
	for _, p := range m.both {
		x := p[0].X
		cell, ok := compared(p[0], p[1], isRate(e.Y))
		if !ok {
			continue
		}
		cell.Row, cell.Column, cell.X, cell.XLabel, cell.XUnit, cell.Unit = s[0].Name, e.Y.Label, &x, e.X.Label, e.X.Unit, e.Y.Unit
		cells = append(cells, cell)
	}
	some := func(n int) []string {
		if n == 0 {
			return nil
		}
		return []string{fmt.Sprintf("%d of the points of series %q of experiment %s", n, s[0].Name, e.Name)}
	}
	c.OnlyA = append(c.OnlyA, some(len(m.onlyA))...)
	c.OnlyB = append(c.OnlyB, some(len(m.onlyB))...)
	return cells
}

// isRate reports whether more of a quantity is better: an experiment measures
// times and costs, where less is better, or something per second.
func isRate(a lab.Axis) bool {
	return strings.HasSuffix(a.Unit, "/s") || a.Unit == "" && strings.HasSuffix(a.Label, "per second")
}

func (c *Comparison) tables(a, b []lab.Table) {
	m := pair(a, b, func(t lab.Table) string { return t.Name })
	alone(c, m, func(t lab.Table) string { return "table " + t.Name })
	for _, both := range m.both {
		a, b := both[0], both[1]
		g := Group{Kind: "table", Name: a.Name, Title: a.Title, Cells: []Cell{}}
		columns := pair(numbered(a.Columns), numbered(b.Columns), func(c column) [2]string { return [2]string{c.Name, c.Unit} })
		alone(c, columns, func(col column) string {
			return fmt.Sprintf("column %q (%s) of table %s", col.Name, col.Unit, a.Name)
		})
		rows := pair(a.Rows, b.Rows, func(r lab.Row) string { return r.Name })
		alone(c, rows, func(r lab.Row) string { return fmt.Sprintf("row %q of table %s", r.Name, a.Name) })
		for _, row := range rows.both {
			c.absent(a.Name, row)
			g.Cells = append(g.Cells, cells(row, columns.both)...)
		}
		c.Groups = append(c.Groups, g)
	}
}

// absent notes a row that was measured on one side only.
func (c *Comparison) absent(table string, row [2]lab.Row) {
	text := fmt.Sprintf("row %q of table %s", row[0].Name, table)
	switch a, b := row[0].Absent, row[1].Absent; {
	case a == "" && b != "":
		c.OnlyA = append(c.OnlyA, text+" ("+b+")")
	case a != "" && b == "":
		c.OnlyB = append(c.OnlyB, text+" ("+a+")")
	}
}

// A column knows its place.
type column struct {
	lab.Column
	index int
}

func numbered(columns []lab.Column) []column {
	var all []column
	for i, c := range columns {
		all = append(all, column{c, i})
	}
	return all
}

func cells(row [2]lab.Row, columns [][2]column) []Cell {
	var all []Cell
	for _, col := range columns {
		if col[0].index >= len(row[0].Cells) || col[1].index >= len(row[1].Cells) {
			continue // absent rows have none
		}
		cell, ok := compared(row[0].Cells[col[0].index], row[1].Cells[col[1].index], col[0].Higher)
		if !ok {
			continue
		}
		cell.Row, cell.Column, cell.Unit = row[0].Name, col[0].Name, col[0].Unit
		all = append(all, cell)
	}
	return all
}

// compared returns the figures of a cell, if both sides have them.
func compared(a, b lab.Point, higher bool) (Cell, bool) {
	if !a.Measured() || !b.Measured() {
		return Cell{}, false
	}
	cell := Cell{Higher: higher, A: a, B: b, Mark: mark(a, b, higher)}
	switch {
	case a.Median != 0:
		cell.Ratio = b.Median / a.Median
	case b.Median == 0:
		cell.Ratio = 1
	}
	return cell, true
}

// mark compares the ranges of the samples.
func mark(a, b lab.Point, higher bool) Mark {
	switch {
	case a.Overlaps(b):
		return Within
	case !a.HasSpread() || !b.HasSpread():
		return Unknown
	case (b.Min > a.Max) == higher:
		return Better
	}
	return Worse
}
