// Package lab is what the laboratory's commands share: the form of their
// results, which are kept as JSON, drawn by lab/report and compared with each
// other, and the description of the machine on which they were measured.
package lab

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"time"
)

// A Result is everything that one run of a lab command measured.
type Result struct {
	Command     string       `json:"command"` // such as "epi lab study --quick"
	Title       string       `json:"title"`
	Started     time.Time    `json:"started"`
	Seconds     float64      `json:"seconds"`           // how long the run took
	Partial     string       `json:"partial,omitempty"` // why it ended early; empty when it is complete
	Machine     Machine      `json:"machine"`
	Notes       []string     `json:"notes,omitempty"` // what a reader must know: what was absent, what limit stopped it
	Experiments []Experiment `json:"experiments,omitempty"`
	Tables      []Table      `json:"tables,omitempty"`
	Claims      []Claim      `json:"claims,omitempty"`
}

// A Machine is where a result was measured.
type Machine struct {
	Kernel    string `json:"kernel"`    // release, such as 6.18.2
	CPU       string `json:"cpu"`       // model
	CPUs      int    `json:"cpus"`      // that the process may use
	Memory    uint64 `json:"memory"`    // bytes
	Go        string `json:"go"`        // version that built the program
	OpenFiles uint64 `json:"openFiles"` // hard limit for a process
	Ports     int    `json:"ports"`     // ephemeral ports for one source address
}

// An Experiment is one chart: series of points over a common x.
type Experiment struct {
	Name     string   `json:"name"`     // stable key, such as "conn"
	Title    string   `json:"title"`    // for the heading
	About    string   `json:"about"`    // what was done, in a sentence or two
	Finding  string   `json:"finding"`  // what the deck found, one sentence; empty where it is silent
	Observed string   `json:"observed"` // what this run shows, one sentence computed from the points
	X        Axis     `json:"x"`
	Y        Axis     `json:"y"`
	Series   []Series `json:"series"`
	Notes    []string `json:"notes,omitempty"`
}

// An Axis names a quantity and its unit.
type Axis struct {
	Label string `json:"label"`
	Unit  string `json:"unit,omitempty"`
	Log   bool   `json:"log,omitempty"`
}

// A Series is one line of a chart.
type Series struct {
	Name   string  `json:"name"`
	Points []Point `json:"points"`
}

// A Point is one measured value: the median of its samples and their spread.
type Point struct {
	X       float64   `json:"x"`
	Median  float64   `json:"median"`
	Min     float64   `json:"min"`
	Max     float64   `json:"max"`
	Samples []float64 `json:"samples,omitempty"`
	Absent  string    `json:"absent,omitempty"` // why it could not be measured; the numbers mean nothing then
}

// NewPoint makes a point of at least one sample.
func NewPoint(x float64, samples []float64) Point {
	return Point{X: x, Median: Median(samples), Min: slices.Min(samples), Max: slices.Max(samples), Samples: slices.Clone(samples)}
}

// Measured reports whether p holds a figure.
func (p Point) Measured() bool {
	return p.Absent == "" && Finite(p.X) && Finite(p.Median) && Finite(p.Min) && Finite(p.Max)
}

// Finite reports whether v is a number: neither JSON nor a chart has a place for others.
func Finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// HasSpread reports whether p has a range that allows a conclusion: more than one
// sample, even if they are all the same.
func (p Point) HasSpread() bool { return p.Max > p.Min || len(p.Samples) > 1 }

// Overlaps reports whether the ranges of the samples of p and q have something in
// common: their difference is within the spread, and may be chance.
func (p Point) Overlaps(q Point) bool { return p.Min <= q.Max && q.Min <= p.Max }

// Median returns the median of at least one value.
func Median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	if n%2 == 1 {
		return sorted[n/2]
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2
}

// A Table has rows that are compared with each other, such as servers under
// the same load.
type Table struct {
	Name      string   `json:"name"`
	Title     string   `json:"title"`
	About     string   `json:"about,omitempty"`
	Reference string   `json:"reference,omitempty"` // name of the row to which ratios refer
	Columns   []Column `json:"columns"`
	Rows      []Row    `json:"rows"`
	Notes     []string `json:"notes,omitempty"`
}

// A Column is one quantity of a table.
type Column struct {
	Name   string `json:"name"`
	Unit   string `json:"unit,omitempty"`
	Ratio  bool   `json:"ratio,omitempty"`  // show the ratio to the reference row
	Higher bool   `json:"higher,omitempty"` // more is better
}

// A Row has one cell for each column.
type Row struct {
	Name   string  `json:"name"`
	Absent string  `json:"absent,omitempty"` // why it was not measured, with the remedy; no cells then
	Cells  []Point `json:"cells,omitempty"`  // X is unused
}

// A Verdict is what the data say of a claim.
type Verdict string

// The verdicts.
const (
	Confirmed Verdict = "confirmed"
	Refuted   Verdict = "refuted"
	Depends   Verdict = "depends"
)

// A Claim is a sentence of the deck, held against the measured data.
type Claim struct {
	Text      string  `json:"text"`
	By        string  `json:"by"`        // the experiment that tests it
	Figures   string  `json:"figures"`   // the figures that decide
	Threshold string  `json:"threshold"` // what they are held against
	Verdict   Verdict `json:"verdict"`
	Reason    string  `json:"reason"` // for depends: on what; else why
}

// Write keeps r as JSON in the named file.
func (r *Result) Write(name string) error {
	text, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return fmt.Errorf("write result %s: %w", name, err)
	}
	return os.WriteFile(name, append(text, '\n'), 0o644)
}

// Read returns a result that Write has kept.
func Read(name string) (*Result, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	r := &Result{}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("%s is not a result of epi lab: %w", name, err)
	}
	if cmp.Or(r.Command, r.Title) == "" {
		return nil, fmt.Errorf("%s is not a result of epi lab: it names no command", name)
	}
	return r, nil
}
