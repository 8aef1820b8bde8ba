package study

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/epinet/epi/apps/lab"
)

// clearly compares two points: -1 or 1 when a is less or more than b, and 0 when the
// difference is not clear, as the middle halves of the samples overlap. Single samples
// that something else on the machine has disturbed do not count.
func clearly(a, b lab.Point) int {
	aLow, aHigh := middle(a)
	bLow, bHigh := middle(b)
	switch {
	case aHigh < bLow:
		return -1
	case aLow > bHigh:
		return 1
	}
	return 0
}

// middle returns the quartiles of a point's samples, or all it has of them.
func middle(p lab.Point) (low, high float64) {
	if len(p.Samples) == 0 {
		return p.Min, p.Max
	}
	sorted := slices.Sorted(slices.Values(p.Samples))
	return quantile(sorted, 0.25), quantile(sorted, 0.75)
}

// quantile interpolates between the two samples that are nearest.
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 >= len(sorted) {
		return sorted[i]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}

func seriesOf(e *lab.Experiment, name string) *lab.Series {
	if e == nil {
		return nil
	}
	for i := range e.Series {
		if e.Series[i].Name == name && len(e.Series[i].Points) > 0 {
			return &e.Series[i]
		}
	}
	return nil
}

func experimentOf(r *lab.Result, name string) *lab.Experiment {
	for i := range r.Experiments {
		if r.Experiments[i].Name == name {
			return &r.Experiments[i]
		}
	}
	return nil
}

// tablesOf returns the tables of an experiment, which has one for each shape.
func tablesOf(r *lab.Result, experiment string) []*lab.Table {
	var tables []*lab.Table
	for i := range r.Tables {
		if strings.HasPrefix(r.Tables[i].Name, experiment+"-") || r.Tables[i].Name == experiment {
			tables = append(tables, &r.Tables[i])
		}
	}
	return tables
}

// cell returns a cell of a table by the names of its row and column.
func cell(t *lab.Table, row, column string) (lab.Point, bool) {
	for i, c := range t.Columns {
		if c.Name != column {
			continue
		}
		for _, r := range t.Rows {
			if r.Name == row && i < len(r.Cells) {
				return r.Cells[i], true
			}
		}
	}
	return lab.Point{}, false
}

// pointAt returns the point of a series at x.
func pointAt(s *lab.Series, x float64) (lab.Point, bool) {
	if s == nil {
		return lab.Point{}, false
	}
	for _, p := range s.Points {
		if p.X == x {
			return p, true
		}
	}
	return lab.Point{}, false
}

func first(s *lab.Series) lab.Point { return s.Points[0] }
func last(s *lab.Series) lab.Point  { return s.Points[len(s.Points)-1] }

// quantity writes a number with its unit and three digits; seconds in the unit
// that suits them.
func quantity(v float64, unit string) string {
	factor, unit := suit(v, unit)
	return strings.TrimSpace(digits(v*factor) + " " + unit)
}

// figure writes a point with its spread.
func figure(p lab.Point, unit string) string {
	factor, unit := suit(p.Median, unit)
	return strings.TrimSpace(digits(p.Median*factor)+" "+unit) + fmt.Sprintf(" (%s to %s)", digits(p.Min*factor), digits(p.Max*factor))
}

// suit returns the unit in which to write v, and the factor that converts to it.
func suit(v float64, unit string) (float64, string) {
	abs := math.Abs(v)
	switch {
	case unit != "s" || abs == 0 || abs >= 1:
		return 1, unit
	case abs < 1e-6:
		return 1e9, "ns"
	case abs < 1e-3:
		return 1e6, "µs"
	}
	return 1e3, "ms"
}

// digits writes three significant digits, and all those before the point.
func digits(v float64) string {
	if math.Abs(v) >= 100 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

// times is how many times a is in b, as text.
func times(a, b float64) string {
	if a == 0 {
		return "from nothing"
	}
	return digits(b/a) + "×"
}
