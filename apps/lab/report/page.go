package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/epinet/epi/apps/lab"
)

// A page is a result as the template shows it.
type page struct {
	sheet
	Command string
	Facts   []fact
	Partial string
	Notes   []string
	Deck    bool // something refers to the deck

	Claims      []claim
	Experiments []experiment
	Tables      []table
}

// A fact is one thing to know about a run.
type fact struct{ Name, Value string }

type link struct{ Anchor, Title string }

type claim struct {
	lab.Claim
	Figure  string // the first of Figures
	Sign    string // the verdict without colour
	Verdict string
	Tests   []link // what tests it; without an anchor if it is not on the page
}

type experiment struct {
	*lab.Experiment
	Anchor   string
	Headline string // what the chart shows; empty where there is none
	Figure   *figure
	Grid     grid
}

type table struct {
	*lab.Table
	Anchor string
	Grid   grid
}

// A grid is a table of figures.
type grid struct {
	Caption string
	Corner  string // heading of the column of names
	Head    []heading
	Rows    []gridRow
}

type heading struct{ Name, Unit, Sense string }

type gridRow struct {
	Name   string
	Tag    string // what it is besides
	Absent string
	Cells  []gridCell
}

type gridCell struct {
	Value  string // empty where there is none
	Spread string
	Ratio  string
	Best   bool
	Mark   string // of a comparison
	Sign   string // the mark without colour
	Why    string // there is no value
}

func newPage(r *lab.Result) (*page, error) {
	s, err := newSheet(heading1(r.Title, r.Command))
	if err != nil {
		return nil, err
	}
	p := &page{
		sheet:   s,
		Command: r.Command,
		Facts:   facts(r),
		Partial: r.Partial,
		Notes:   r.Notes,
		Deck:    len(r.Claims) > 0 || slices.ContainsFunc(r.Experiments, func(e lab.Experiment) bool { return e.Finding != "" }),
	}
	anchors := namer{"claims": true, "run": true}
	for i := range r.Experiments {
		e := &r.Experiments[i]
		x := experiment{Experiment: e, Anchor: anchors.name(e.Name), Headline: headline(e), Grid: numbersOf(e)}
		if x.Figure, err = p.figure(newChart(e), e.Name); err != nil {
			return nil, err
		}
		p.Experiments = append(p.Experiments, x)
	}
	for i := range r.Tables {
		t := &r.Tables[i]
		p.Tables = append(p.Tables, table{Table: t, Anchor: anchors.name("table-" + t.Name), Grid: cellsOf(t)})
	}
	for _, c := range r.Claims {
		sign, verdict := verdictOf(c.Verdict)
		figure, _, _ := strings.Cut(c.Figures, "; ")
		p.Claims = append(p.Claims, claim{Claim: c, Figure: figure, Sign: sign, Verdict: verdict, Tests: p.tests(c.By)})
	}
	p.contents()
	return p, nil
}

// headline says in one sentence what the chart of an experiment shows: which series is
// highest where all have been measured, and how far above the lowest. It is empty
// where nothing was measured.
func headline(e *lab.Experiment) string {
	x, ends := ends(e)
	at := fmt.Sprintf("at %s %s", xText(quantityOf(e.X.Unit), x), e.X.Label)
	y := quantityOf(e.Y.Unit)
	switch len(ends) {
	case 0:
		return ""
	case 1:
		return fmt.Sprintf("%s: %s is %s, %s", ends[0].name, e.Y.Label, y.withUnit(ends[0].point.Median), at)
	}
	byMedian := func(a, b end) int { return cmp.Compare(a.point.Median, b.point.Median) }
	low, high := slices.MinFunc(ends, byMedian), slices.MaxFunc(ends, byMedian)
	switch {
	case low.top >= high.low:
		return fmt.Sprintf("No difference beyond the spread: %s, %s", e.Y.Label, at)
	case low.point.Median <= 0:
		return fmt.Sprintf("%s: %s with %s, %s with %s, %s", e.Y.Label, y.withUnit(low.point.Median), low.name, y.withUnit(high.point.Median), high.name, at)
	}
	return fmt.Sprintf("%s: %s the %s of %s, %s", high.name, times(high.point.Median/low.point.Median), e.Y.Label, low.name, at)
}

// An end is a series where it is compared with the others.
type end struct {
	name     string
	point    lab.Point
	low, top float64 // the middle half of the samples
}

// ends returns the series at the highest x at which most were measured. Where there
// are very many x the last ones count together, as one sample may be anything.
func ends(e *lab.Experiment) (x float64, most []end) {
	xs := xsOf(e)
	together := max(1, len(xs)/mostRows)
	for i := together - 1; i < len(xs); i += together {
		from := xs[i-together+1]
		var here []end
		for _, s := range e.Series {
			if joined := joinPoints(s, from, xs[i]); joined != nil {
				here = append(here, *joined)
			}
		}
		if len(here) > 0 && len(here) >= len(most) {
			x, most = xs[i], here
		}
	}
	return x, most
}

// joinPoints makes one of a series' points from one x to another; nil: there are none.
func joinPoints(s lab.Series, from, to float64) *end {
	var samples []float64
	for _, p := range s.Points {
		switch {
		case p.X < from || p.X > to || !p.Measured():
		case len(p.Samples) > 0:
			samples = append(samples, p.Samples...)
		default:
			samples = append(samples, p.Min, p.Median, p.Max)
		}
	}
	if len(samples) == 0 {
		return nil
	}
	slices.Sort(samples)
	quarter := len(samples) / 4
	return &end{name: s.Name, point: lab.NewPoint(to, samples), low: samples[quarter], top: samples[len(samples)-1-quarter]}
}

// tests finds what is named in a claim, separated by commas: an experiment or a
// table of that name, or the first of those that begin with it and a hyphen,
// such as performance-30x256.
func (p *page) tests(by string) []link {
	var names, anchors []string
	for _, e := range p.Experiments {
		names, anchors = append(names, e.Name), append(anchors, e.Anchor)
	}
	for _, t := range p.Tables {
		names, anchors = append(names, t.Name), append(anchors, t.Anchor)
	}
	var tests []link
	for name := range strings.SplitSeq(by, ",") {
		name = strings.TrimSpace(name)
		test := link{Title: name}
		i := slices.Index(names, name)
		if i < 0 {
			i = slices.IndexFunc(names, func(n string) bool { return strings.HasPrefix(n, name+"-") })
		}
		if i >= 0 {
			test.Anchor = anchors[i]
		}
		tests = append(tests, test)
	}
	return tests
}

// heading1 is the title of a page, which must not be empty.
func heading1(title, command string) string {
	if title == "" {
		return command
	}
	return title
}

func (p *page) contents() {
	if len(p.Claims) > 0 {
		p.TOC = append(p.TOC, link{"claims", fmt.Sprintf("Claims (%d)", len(p.Claims))})
	}
	for _, e := range p.Experiments {
		p.TOC = append(p.TOC, link{e.Anchor, e.Title})
	}
	for _, t := range p.Tables {
		p.TOC = append(p.TOC, link{t.Anchor, t.Title})
	}
}

// facts lists where, when and under which limits a run was.
func facts(r *lab.Result) []fact {
	return append([]fact{
		{"Date", date(r.Started)},
		{"Took", duration(r.Seconds)},
	}, machineFacts(r.Machine)...)
}

func machineFacts(m lab.Machine) []fact {
	all := []fact{
		{"CPU", m.CPU},
		{"CPUs", count(m.CPUs, "that the program may use")},
		{"Memory", ""},
		{"Kernel", ""},
		{"Go", strings.TrimPrefix(m.Go, "go")},
		{"Open files", ""},
		{"Ports", count(m.Ports, "for one source address")},
	}
	if m.Memory > 0 {
		all[2].Value = quantityOf("B").withUnit(float64(m.Memory))
	}
	if m.Kernel != "" {
		all[3].Value = "Linux " + m.Kernel
	}
	if m.OpenFiles > 0 {
		all[5].Value = "at most " + exact(float64(m.OpenFiles)) + " for a process"
	}
	return slices.DeleteFunc(all, func(f fact) bool { return f.Value == "" })
}

func count(n int, of string) string {
	if n == 0 {
		return ""
	}
	return exact(float64(n)) + " " + of
}

func date(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format("2 January 2006, 15:04 MST")
}

// duration writes seconds for people.
func duration(seconds float64) string {
	if seconds < 60 {
		return quantityOf("s").withUnit(seconds)
	}
	d := time.Duration(seconds * float64(time.Second)).Round(time.Second)
	h, m, s := d/time.Hour, d%time.Hour/time.Minute, d%time.Minute/time.Second
	if h > 0 {
		return fmt.Sprintf("%d h %d min", h, m)
	}
	return fmt.Sprintf("%d min %d s", m, s)
}

// verdictOf returns a verdict's sign and its name for people.
func verdictOf(v lab.Verdict) (sign, name string) {
	switch v {
	case lab.Confirmed:
		return "✓", "confirmed"
	case lab.Refuted:
		return "✗", "refuted"
	case lab.Depends:
		return "≈", "depends"
	}
	return "?", string(v)
}

// mostRows is how many rows the page shows of an experiment. The result file
// has all.
const mostRows = 50

// numbersOf is the table under a chart: a row for each x, a column for each series.
func numbersOf(e *lab.Experiment) grid {
	xs := xsOf(e)
	x := quantityOf(e.X.Unit)
	shown := pick(len(xs), mostRows)
	var written []float64
	for _, i := range shown {
		written = append(written, mediansAt(e, xs[i])...)
	}
	y := quantityOf(e.Y.Unit).numbers(written)
	g := grid{Corner: e.X.Label}
	for _, s := range e.Series {
		g.Head = append(g.Head, heading{Name: s.Name, Unit: y.unit()})
	}
	for _, i := range shown {
		row := gridRow{Name: xText(x, xs[i])}
		for _, s := range e.Series {
			row.Cells = append(row.Cells, pointCell(y, pointAt(s, xs[i])))
		}
		g.Rows = append(g.Rows, row)
	}
	g.Caption = withUnit(e.Y.Label, y.unit()) + ": median and, below it, smallest – largest sample."
	if len(shown) < len(xs) {
		g.Caption += fmt.Sprintf(" %d of %s rows; all are in %s.", len(shown), exact(float64(len(xs))), ResultFile)
	}
	return g
}

// xsOf returns every x of an experiment, in order.
func xsOf(e *lab.Experiment) []float64 {
	var xs []float64
	for _, s := range e.Series {
		for _, p := range s.Points {
			xs = append(xs, p.X)
		}
	}
	slices.Sort(xs)
	return slices.Compact(xs)
}

// mediansAt returns what the series have at x.
func mediansAt(e *lab.Experiment, x float64) []float64 {
	var all []float64
	for _, s := range e.Series {
		if p := pointAt(s, x); p != nil && p.Measured() {
			all = append(all, p.Median)
		}
	}
	return all
}

// pointAt returns a series' point at x, or none.
func pointAt(s lab.Series, x float64) *lab.Point {
	i := slices.IndexFunc(s.Points, func(p lab.Point) bool { return p.X == x })
	if i < 0 {
		return nil
	}
	return &s.Points[i]
}

// pick chooses at most most of n indices, evenly, the first and the last among them.
func pick(n, most int) []int {
	var chosen []int
	if n <= most {
		for i := range n {
			chosen = append(chosen, i)
		}
		return chosen
	}
	for i := range most {
		chosen = append(chosen, i*(n-1)/(most-1))
	}
	return chosen
}

func withUnit(name, unit string) string {
	if unit == "" {
		return name
	}
	return name + " (" + unit + ")"
}

func pointCell(n numbers, p *lab.Point) gridCell {
	switch {
	case p == nil:
		return gridCell{}
	case !p.Measured():
		return gridCell{Why: p.Absent}
	}
	return gridCell{Value: n.text(p.Median), Spread: spread(n, *p)}
}

// spread writes the range of a point's samples; nothing if there is none.
func spread(n numbers, p lab.Point) string {
	if p.Min == p.Max {
		return ""
	}
	return n.text(p.Min) + "\u2009–\u2009" + n.text(p.Max) // thin spaces
}

// cellsOf is a table with ratios to its reference row.
func cellsOf(t *lab.Table) grid {
	g := grid{}
	var columns []numbers
	for j, c := range t.Columns {
		n := quantityOf(c.Unit).numbers(columnOf(t, j))
		columns = append(columns, n)
		g.Head = append(g.Head, heading{Name: c.Name, Unit: n.unit(), Sense: sense(c)})
	}
	reference := referenceOf(t)
	for i, r := range t.Rows {
		row := gridRow{Name: r.Name, Absent: r.Absent}
		if i == reference {
			row.Tag = "reference"
		}
		for j := range t.Columns {
			if r.Absent != "" {
				break
			}
			if j >= len(r.Cells) {
				row.Cells = append(row.Cells, gridCell{})
				continue
			}
			cell := pointCell(columns[j], &r.Cells[j])
			cell.Ratio = ratioTo(t, reference, i, j)
			cell.Best = bestOf(t, j) == i
			row.Cells = append(row.Cells, cell)
		}
		g.Rows = append(g.Rows, row)
	}
	g.Caption = "Each figure is the median; below it, smallest – largest sample."
	if !hasSpread(t) {
		g.Caption = "Each figure is of one sample."
	}
	if reference >= 0 {
		g.Caption += " × is the ratio to " + t.Reference + "."
	}
	return g
}

// hasSpread reports whether some cell has samples that differ.
func hasSpread(t *lab.Table) bool {
	for _, r := range t.Rows {
		for _, p := range r.Cells {
			if p.Measured() && p.Min != p.Max {
				return true
			}
		}
	}
	return false
}

// judged reports whether the figures of a column are better or worse.
func judged(c lab.Column) bool { return c.Ratio || c.Higher }

func sense(c lab.Column) string {
	switch {
	case c.Higher:
		return "more is better"
	case c.Ratio:
		return "less is better"
	}
	return ""
}

// cellAt returns a cell, or nil if it was not measured.
func cellAt(t *lab.Table, row, column int) *lab.Point {
	r := t.Rows[row]
	if r.Absent != "" || column >= len(r.Cells) || !r.Cells[column].Measured() {
		return nil
	}
	return &r.Cells[column]
}

// columnOf returns the medians of a column.
func columnOf(t *lab.Table, column int) []float64 {
	var all []float64
	for i := range t.Rows {
		if p := cellAt(t, i, column); p != nil {
			all = append(all, p.Median)
		}
	}
	return all
}

// referenceOf returns the row to which ratios refer, or -1 if it is not there.
func referenceOf(t *lab.Table) int {
	return slices.IndexFunc(t.Rows, func(r lab.Row) bool { return t.Reference != "" && r.Name == t.Reference && r.Absent == "" })
}

// ratioTo writes a cell's ratio to the reference, if it is to have one.
func ratioTo(t *lab.Table, reference, row, column int) string {
	if reference < 0 || !t.Columns[column].Ratio {
		return ""
	}
	p, of := cellAt(t, row, column), cellAt(t, reference, column)
	if p == nil || of == nil || of.Median == 0 {
		return ""
	}
	return times(p.Median / of.Median)
}

// bestOf returns the row with the best figure of a column, or -1 if there is
// nothing to choose.
func bestOf(t *lab.Table, column int) int {
	if !judged(t.Columns[column]) || len(columnOf(t, column)) < 2 {
		return -1
	}
	best := -1
	var bestMedian float64
	for i := range t.Rows {
		p := cellAt(t, i, column)
		if p == nil {
			continue
		}
		if best < 0 || p.Median != bestMedian && (p.Median > bestMedian) == t.Columns[column].Higher {
			best, bestMedian = i, p.Median
		}
	}
	return best
}
