package report

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/epinet/epi/apps/internal/plaintext"
	"github.com/epinet/epi/apps/lab"
	"github.com/epinet/epi/apps/lab/compare"
)

// columns is the width that text keeps to where names and figures allow it.
const columns = 100

// Text writes a result for a terminal.
func Text(w io.Writer, r *lab.Result) error {
	r = clean(r)
	var t terminal
	t.heading(heading1(r.Title, r.Command), '=')
	t.field("Command", r.Command)
	for _, f := range facts(r) {
		t.field(f.Name, f.Value)
	}
	if r.Partial != "" {
		t.line("")
		t.wrap("PARTIAL: ", "the run ended early: "+r.Partial)
	}
	t.notes(r.Notes)
	t.claims(r.Claims)
	for i := range r.Experiments {
		t.experiment(&r.Experiments[i])
	}
	for i := range r.Tables {
		t.table(&r.Tables[i])
	}
	_, err := io.WriteString(w, plaintext.Lines(t.String()))
	return err
}

// TextComparison writes a comparison for a terminal.
func TextComparison(w io.Writer, c *compare.Comparison) error {
	var t terminal
	t.heading(comparisonTitle(c), '=')
	for _, s := range []struct {
		letter string
		compare.Side
	}{{"A", c.A}, {"B", c.B}} {
		t.field(s.letter, fmt.Sprintf("%s: %s, %s", s.Path, s.Command, date(s.Started)))
	}
	if len(c.Warnings) > 0 {
		t.line("")
	}
	for _, warning := range c.Warnings {
		t.wrap("WARNING: ", warning)
	}
	for i := range c.Groups {
		t.group(&c.Groups[i])
	}
	for _, o := range []only{{"A", c.OnlyA}, {"B", c.OnlyB}} {
		if len(o.Things) > 0 {
			t.heading("Only in "+o.Letter, '-')
		}
		for _, thing := range o.Things {
			t.wrap("- ", thing)
		}
	}
	t.line("")
	var counts []string
	for _, m := range countsOf(c) {
		counts = append(counts, m.Number+" "+m.Name)
	}
	t.wrap("B against A: ", strings.Join(counts, ", ")+".")
	_, err := io.WriteString(w, plaintext.Lines(t.String()))
	return err
}

// A terminal collects lines.
type terminal struct{ bytes.Buffer }

func (t *terminal) line(text string) {
	t.WriteString(strings.TrimRight(text, " "))
	t.WriteByte('\n')
}

// heading writes a line that is underlined.
func (t *terminal) heading(text string, under rune) {
	if t.Len() > 0 {
		t.line("")
	}
	t.line(text)
	t.line(strings.Repeat(string(under), min(utf8.RuneCountInString(text), columns)))
}

// fieldWidth is that of the names in front of the facts about a run.
const fieldWidth = 12

func (t *terminal) field(name, value string) {
	if value != "" {
		t.wrap(pad(name, fieldWidth, true)+" ", value)
	}
}

// wrap writes text behind a prefix, its further lines below its first unless
// the prefix leaves them too little room.
func (t *terminal) wrap(prefix, text string) {
	indent := strings.Repeat(" ", min(utf8.RuneCountInString(prefix), columns/4))
	line := prefix
	empty := true
	for _, word := range strings.Fields(text) {
		switch {
		case empty:
			line += word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > columns:
			t.line(line)
			line = indent + word
		default:
			line += " " + word
		}
		empty = false
	}
	t.line(line)
}

func (t *terminal) notes(notes []string) {
	if len(notes) > 0 {
		t.line("")
	}
	for _, n := range notes {
		t.wrap("Note: ", n)
	}
}

func (t *terminal) claims(claims []lab.Claim) {
	if len(claims) == 0 {
		return
	}
	t.heading("Claims", '-')
	for i, c := range claims {
		if i > 0 {
			t.line("")
		}
		_, verdict := verdictOf(c.Verdict)
		t.wrap(pad(strings.ToUpper(verdict), fieldWidth, true)+" ", c.Text)
		t.field("figures", c.Figures)
		t.field("threshold", c.Threshold)
		t.field("why", c.Reason)
		t.field("tested by", c.By)
	}
}

func (t *terminal) experiment(e *lab.Experiment) {
	t.heading(e.Title, '-')
	if e.About != "" {
		t.wrap("", e.About)
	}
	t.field("the deck", e.Finding)
	t.field("this run", e.Observed)
	t.line("")
	if newChart(e) == nil {
		t.line("Nothing was measured.")
	} else {
		t.series(e)
	}
	t.notes(e.Notes)
}

// mostTextColumns is how many x of an experiment a terminal shows.
const mostTextColumns = 7

// series writes a line for each series, with the medians at some of its x.
func (t *terminal) series(e *lab.Experiment) {
	xs := xsOf(e)
	shown := pick(len(xs), mostTextColumns)
	g := textGrid{head: []string{""}}
	var written []float64
	for _, i := range shown {
		g.head = append(g.head, xText(quantityOf(e.X.Unit), xs[i]))
		written = append(written, mediansAt(e, xs[i])...)
	}
	y := quantityOf(e.Y.Unit).numbers(written)
	g.head = append(g.head, "spread")
	for _, s := range e.Series {
		row := []string{s.Name}
		for _, i := range shown {
			cell := "–"
			if p := pointAt(s, xs[i]); p != nil && p.Measured() {
				cell = y.text(p.Median)
			}
			row = append(row, cell)
		}
		g.rows = append(g.rows, append(row, widest(s)))
	}
	caption := withUnit(e.Y.Label, y.unit()) + " by " + e.X.Label
	if len(shown) < len(xs) {
		caption += fmt.Sprintf(" (%d of %s)", len(shown), exact(float64(len(xs))))
	}
	t.wrap("", caption+"; medians; spread is (largest - smallest) / median, at most")
	t.grid(g)
}

// widest returns the largest relative spread that is known in a series.
func widest(s lab.Series) string {
	most := -1.0
	for _, p := range s.Points {
		if p.Measured() && p.Median != 0 && p.HasSpread() {
			most = max(most, (p.Max-p.Min)/math.Abs(p.Median))
		}
	}
	switch {
	case most < 0:
		return "–"
	case most >= 10:
		return times(math.Round(most))
	}
	return fmt.Sprintf("%.0f%%", 100*most)
}

func (t *terminal) table(table *lab.Table) {
	t.heading(table.Title, '-')
	if table.About != "" {
		t.wrap("", table.About)
	}
	t.line("")
	view := cellsOf(table)
	g := textGrid{head: []string{""}}
	for _, h := range view.Head {
		g.head = append(g.head, strings.TrimSpace(h.Name+" "+h.Unit), "")
	}
	for i := range view.Head {
		g.narrow = append(g.narrow, 2+2*i) // ratios stand beside their figures
	}
	marked := false
	for _, r := range view.Rows {
		if r.Absent != "" {
			continue
		}
		row := []string{r.Name}
		for _, c := range r.Cells {
			value := c.Value
			switch {
			case value == "":
				value = "– "
			case c.Best:
				value, marked = value+"*", true
			default:
				value += " "
			}
			row = append(row, value, c.Ratio)
		}
		g.rows = append(g.rows, row)
	}
	t.grid(g)
	for _, r := range view.Rows {
		if r.Absent != "" {
			t.wrap(r.Name+": absent: ", r.Absent)
		}
		for j, c := range r.Cells {
			if c.Why != "" {
				t.wrap(r.Name+": "+view.Head[j].Name+": absent: ", c.Why)
			}
		}
	}
	var legend []string
	if marked {
		legend = append(legend, "* best")
	}
	if referenceOf(table) >= 0 {
		legend = append(legend, "× to "+table.Reference)
	}
	if len(legend) > 0 {
		t.line("(" + strings.Join(append(legend, "medians"), "; ") + ")")
	}
	t.notes(table.Notes)
}

// mostTextPoints is how many points of a series a comparison shows on a terminal.
const mostTextPoints = 8

// overallOf says how a series differs as a whole.
func overallOf(g *compare.Group, row string) string {
	for _, o := range g.Overall {
		if o.Row == row {
			return fmt.Sprintf(": B/A %s on the whole (%s points)", times(o.Ratio), exact(float64(o.Points)))
		}
	}
	return ""
}

// group writes what is compared under its series, or rows.
func (t *terminal) group(g *compare.Group) {
	t.heading(g.Title, '-')
	if len(g.Cells) == 0 {
		t.line("A and B have no figure of it in common.")
		return
	}
	what := "column"
	if g.Kind == "experiment" {
		what = g.Cells[0].XLabel
	}
	table := textGrid{head: []string{what, "A", "(min – max)", "B", "(min – max)", "B/A", "B is"}}
	table.narrow, table.left = []int{2, 4}, []int{6}
	var last string
	for i, c := range shownCells(g, mostTextPoints) {
		if i == 0 || c.Row != last {
			table.titles = append(table.titles, title{before: len(table.rows), text: cut(c.Row, longestName) + overallOf(g, c.Row)})
			last = c.Row
		}
		a, b := sideCell(c, c.A), sideCell(c, c.B)
		_, name := markOf(c.Mark)
		ratio := ratioText(c)
		if ratio == "" {
			ratio = "–"
		}
		table.rows = append(table.rows, []string{"  " + cellName(c), a.Value, bracket(a.Spread), b.Value, bracket(b.Spread), ratio, name})
	}
	if table.width() > columns {
		table = table.without(2, 4) // a ratio is not to stand far from its figures
		t.line("(the ranges would not fit in: the page and --json have them)")
	}
	t.grid(table)
	if shown := len(table.rows); shown < len(g.Cells) {
		t.line(fmt.Sprintf("(%d of %s rows; --json has all)", shown, exact(float64(len(g.Cells)))))
	}
	t.line("(" + strings.TrimSuffix(senseOf(g), ".") + ")")
}

func bracket(spread string) string {
	if spread == "" {
		return ""
	}
	return "(" + strings.ReplaceAll(spread, "\u2009", "") + ")"
}

// A textGrid is an aligned table: the first column to the left, others to the
// right. One that is too wide is continued below.
type textGrid struct {
	head   []string
	rows   [][]string
	titles []title
	narrow []int // columns that stand close to the one before, and never without it
	left   []int // columns besides the first that are aligned to the left
}

// without returns g less some columns, none aligned to the left.
func (g textGrid) without(columns ...int) textGrid {
	keep := func(cells []string) []string {
		var kept []string
		for i, cell := range cells {
			if !slices.Contains(columns, i) {
				kept = append(kept, cell)
			}
		}
		return kept
	}
	less := textGrid{head: keep(g.head), titles: g.titles}
	for _, row := range g.rows {
		less.rows = append(less.rows, keep(row))
	}
	for _, i := range g.left {
		for _, gone := range columns {
			if gone < i {
				i--
			}
		}
		less.left = append(less.left, i)
	}
	return less
}

// A title is a line between rows.
type title struct {
	before int
	text   string
}

// longestName is where names in the first column are cut.
const longestName = 44

func (t *terminal) grid(g textGrid) {
	for _, row := range g.rows {
		row[0] = cut(row[0], longestName)
	}
	heads, widths := g.measure()
	for from := 1; from < len(g.head); {
		used, to := widths[0], from
		for to < len(g.head) && (to == from || slices.Contains(g.narrow, to) || used+g.gap(to)+widths[to]+g.following(to, widths) <= columns) {
			used += g.gap(to) + widths[to]
			to++
		}
		if from > 1 {
			t.line("")
		}
		t.part(g, heads, widths, from, to)
		from = to
	}
}

// width returns how wide g is in one piece.
func (g *textGrid) width() int {
	_, widths := g.measure()
	total := widths[0]
	for column := 1; column < len(widths); column++ {
		total += g.gap(column) + widths[column]
	}
	return total
}

// following returns the width of the narrow columns that go with one.
func (g *textGrid) following(column int, widths []int) int {
	width := 0
	for next := column + 1; next < len(g.head) && slices.Contains(g.narrow, next); next++ {
		width += g.gap(next) + widths[next]
	}
	return width
}

func (g *textGrid) gap(column int) int {
	if slices.Contains(g.narrow, column) {
		return 1
	}
	return 2
}

// measure breaks headings into lines and returns the width of every column.
func (g *textGrid) measure() (heads [][]string, widths []int) {
	for column, head := range g.head {
		width := 0
		for _, row := range g.rows {
			if column < len(row) {
				width = max(width, utf8.RuneCountInString(row[column]))
			}
		}
		lines := breakWords(head, max(width, 12)) // a heading is better broken than a table
		if column == 0 {
			lines = []string{head}
		}
		for _, l := range lines {
			width = max(width, utf8.RuneCountInString(l))
		}
		heads, widths = append(heads, lines), append(widths, width)
	}
	return heads, widths
}

// part writes the first column and those in [from, to).
func (t *terminal) part(g textGrid, heads [][]string, widths []int, from, to int) {
	selected := []int{0}
	most := len(heads[0])
	for column := from; column < to; column++ {
		selected = append(selected, column)
		most = max(most, len(heads[column]))
	}
	write := func(cell func(column int) string) {
		var line strings.Builder
		for i, column := range selected {
			if i > 0 {
				line.WriteString(strings.Repeat(" ", g.gap(column)))
			}
			line.WriteString(pad(cell(column), widths[column], column == 0 || slices.Contains(g.left, column)))
		}
		t.line(line.String())
	}
	for i := range most {
		write(func(column int) string {
			if skip := most - len(heads[column]); i >= skip {
				return heads[column][i-skip]
			}
			return ""
		})
	}
	titles := g.titles
	for i, row := range g.rows {
		for len(titles) > 0 && titles[0].before <= i {
			t.line(titles[0].text)
			titles = titles[1:]
		}
		write(func(column int) string {
			if column < len(row) {
				return row[column]
			}
			return ""
		})
	}
}

// pad fills text up to a width.
func pad(text string, width int, left bool) string {
	fill := strings.Repeat(" ", max(0, width-utf8.RuneCountInString(text)))
	if left {
		return text + fill
	}
	return fill + text
}

// cut takes the middle out of a text that is too long.
func cut(text string, most int) string {
	runes := []rune(text)
	if len(runes) <= most {
		return text
	}
	return string(runes[:most/2]) + "…" + string(runes[len(runes)-(most-most/2-1):])
}

// breakWords breaks text into lines of at most width, if its words allow it.
func breakWords(text string, width int) []string {
	var lines []string
	for _, word := range strings.Fields(text) {
		if n := len(lines) - 1; n >= 0 && utf8.RuneCountInString(lines[n])+1+utf8.RuneCountInString(word) <= width {
			lines[n] += " " + word
			continue
		}
		lines = append(lines, word)
	}
	return lines
}
