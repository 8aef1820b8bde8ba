package report

import (
	"fmt"
	"slices"

	"github.com/epinet/epi/apps/lab"
)

// clean returns r without what is not a number, as neither JSON nor a chart has
// a place for it: a division by an empty measurement must not cost the rest of
// the run. What was left out is said.
func clean(r *lab.Result) *lab.Result {
	cleaned := *r
	cleaned.Experiments = slices.Clone(r.Experiments)
	for i := range cleaned.Experiments {
		cleanExperiment(&cleaned.Experiments[i])
	}
	cleaned.Tables = slices.Clone(r.Tables)
	for i := range cleaned.Tables {
		cleanTable(&cleaned.Tables[i])
	}
	return &cleaned
}

func cleanExperiment(e *lab.Experiment) {
	e.Series = slices.Clone(e.Series)
	for i, s := range e.Series {
		var points []lab.Point
		for _, p := range s.Points {
			if lab.Finite(p.X) {
				points = append(points, cleanPoint(p))
			}
		}
		lost := len(s.Points) - len(points)
		for _, p := range points {
			if p.Absent == notANumber {
				lost++
			}
		}
		if lost > 0 {
			e.Notes = append(slices.Clone(e.Notes), fmt.Sprintf("%s: %d of %d points are left out, as they are not numbers: run it again.", s.Name, lost, len(s.Points)))
		}
		e.Series[i].Points = points
	}
}

func cleanTable(t *lab.Table) {
	t.Rows = slices.Clone(t.Rows)
	for i := range t.Rows {
		t.Rows[i].Cells = slices.Clone(t.Rows[i].Cells)
		for j, p := range t.Rows[i].Cells {
			if !lab.Finite(p.X) {
				p.X = 0 // unused in a table
			}
			t.Rows[i].Cells[j] = cleanPoint(p)
		}
	}
}

// notANumber is why a point is absent that was measured in vain.
const notANumber = "not a number"

func cleanPoint(p lab.Point) lab.Point {
	if p.Absent == "" && !p.Measured() {
		return lab.Point{X: p.X, Absent: notANumber}
	}
	if p.Absent != "" {
		return lab.Point{X: p.X, Absent: p.Absent}
	}
	p.Samples = slices.DeleteFunc(slices.Clone(p.Samples), func(v float64) bool { return !lab.Finite(v) })
	return p
}
