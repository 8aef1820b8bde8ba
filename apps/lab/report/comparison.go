package report

import (
	"fmt"
	"strings"

	"github.com/epinet/epi/apps/lab"
	"github.com/epinet/epi/apps/lab/compare"
)

// A comparisonPage is a comparison as the template shows it.
type comparisonPage struct {
	sheet
	Sides    []side
	Warnings []string
	Counts   []markCount
	Groups   []group
	Only     []only
}

type side struct {
	Letter  string
	Command string
	Facts   []fact
}

type markCount struct {
	Mark       compare.Mark
	Sign, Name string
	Number     string
}

type group struct {
	Anchor, Title string
	Figure        *figure
	Grid          grid
	Empty         bool
	Overall       []string
}

// only is what one side alone has.
type only struct {
	Letter string
	Things []string
}

func newComparisonPage(c *compare.Comparison) (*comparisonPage, error) {
	s, err := newSheet(comparisonTitle(c))
	if err != nil {
		return nil, err
	}
	p := &comparisonPage{
		sheet:    s,
		Sides:    []side{newSide("A", c.A), newSide("B", c.B)},
		Warnings: c.Warnings,
		Counts:   countsOf(c),
	}
	anchors := namer{}
	for i := range c.Groups {
		g := &c.Groups[i]
		view := group{Anchor: anchors.name(g.Kind + "-" + g.Name), Title: g.Title, Grid: gridOfGroup(g), Empty: len(g.Cells) == 0}
		for _, o := range g.Overall {
			view.Overall = append(view.Overall, o.Row+": "+overallText(o))
		}
		if view.Figure, err = p.figure(pairChart(g), g.Name); err != nil {
			return nil, err
		}
		p.Groups = append(p.Groups, view)
		p.TOC = append(p.TOC, link{view.Anchor, view.Title})
	}
	for _, o := range []only{{"A", c.OnlyA}, {"B", c.OnlyB}} {
		if len(o.Things) > 0 {
			p.Only = append(p.Only, o)
		}
	}
	return p, nil
}

func comparisonTitle(c *compare.Comparison) string {
	a, b := heading1(c.A.Title, c.A.Command), heading1(c.B.Title, c.B.Command)
	if a == b {
		return a + ": A and B compared"
	}
	return a + " (A) and " + b + " (B) compared"
}

func newSide(letter string, s compare.Side) side {
	return side{Letter: letter, Command: s.Command, Facts: append([]fact{
		{"File", s.Path},
		{"Date", date(s.Started)},
		{"Took", duration(s.Seconds)},
	}, machineFacts(s.Machine)...)}
}

func countsOf(c *compare.Comparison) []markCount {
	var counts []markCount
	for _, m := range compare.Marks {
		sign, name := markOf(m)
		counts = append(counts, markCount{Mark: m, Sign: sign, Name: name, Number: exact(float64(c.Counts[m]))})
	}
	return counts
}

// markOf returns a mark's sign and its name for people.
func markOf(m compare.Mark) (sign, name string) {
	switch m {
	case compare.Better:
		return "✓", "better"
	case compare.Worse:
		return "✗", "worse"
	case compare.Within:
		return "≈", "within the spread"
	}
	return "?", "one sample only"
}

// pairChart draws the series that both sides have. It returns nil for a table.
func pairChart(g *compare.Group) *chart {
	if g.A == nil || g.B == nil {
		return nil
	}
	c := &chart{title: g.Title + ", A and B", x: g.A.X, y: g.A.Y}
	i := 0
	for _, a := range g.A.Series {
		for _, b := range g.B.Series {
			if a.Name != b.Name {
				continue
			}
			lookA, lookB := lookOfPair(i)
			c.add(a, "A: "+a.Name, lookA)
			c.add(b, "B: "+b.Name, lookB)
			i++
			break
		}
	}
	return c.finish()
}

// mostPointRows is how many points of a series the page of a comparison shows.
const mostPointRows = 20

// shownCells returns the cells of a group that are shown: of each series only
// at most most points.
func shownCells(g *compare.Group, most int) []compare.Cell {
	if g.Kind == "table" {
		return g.Cells
	}
	var shown []compare.Cell
	for _, row := range rowsOf(g) {
		for _, i := range pick(len(row), most) {
			shown = append(shown, row[i])
		}
	}
	return shown
}

// rowsOf returns the cells of each series, or of each row of a table.
func rowsOf(g *compare.Group) [][]compare.Cell {
	var rows [][]compare.Cell
	for i, c := range g.Cells {
		if i == 0 || c.Row != g.Cells[i-1].Row {
			rows = append(rows, nil)
		}
		rows[len(rows)-1] = append(rows[len(rows)-1], c)
	}
	return rows
}

func gridOfGroup(g *compare.Group) grid {
	shown := shownCells(g, mostPointRows)
	view := grid{Corner: "Row", Head: []heading{{Name: "Column"}, {Name: "A"}, {Name: "B"}, {Name: "B / A"}, {Name: "B is"}}}
	if g.Kind == "experiment" {
		view.Corner, view.Head[0].Name = "Series", "At"
		if len(shown) > 0 {
			view.Head[0].Name = shown[0].XLabel
		}
	}
	for _, c := range shown {
		sign, name := markOf(c.Mark)
		view.Rows = append(view.Rows, gridRow{Name: c.Row, Cells: []gridCell{
			{Value: cellName(c)},
			sideCell(c, c.A),
			sideCell(c, c.B),
			{Value: ratioText(c)},
			{Value: name, Mark: string(c.Mark), Sign: sign},
		}})
	}
	view.Caption = "Median and, below it, smallest – largest sample. " + senseOf(g)
	if len(shown) < len(g.Cells) {
		view.Caption += fmt.Sprintf(" %d of %s rows; epi lab compare --json has all.", len(shown), exact(float64(len(g.Cells))))
	}
	return view
}

// senseOf says which way is better.
func senseOf(g *compare.Group) string {
	var higher, lower int
	for _, c := range g.Cells {
		if c.Higher {
			higher++
		} else {
			lower++
		}
	}
	switch {
	case higher == 0:
		return "Less is better."
	case lower == 0:
		return "More is better."
	}
	return "Whether more or less is better depends on the column."
}

// overallText says how a whole series differs.
func overallText(o compare.Overall) string {
	return fmt.Sprintf("B/A is %s on the whole (geometric mean of %s points, from %s to %s)",
		times(o.Ratio), exact(float64(o.Points)), times(o.Min), times(o.Max))
}

// cellName is what a cell is, besides its row.
func cellName(c compare.Cell) string {
	if c.X == nil {
		return c.Column
	}
	return xText(quantityOf(c.XUnit), *c.X)
}

// xText writes an x as exactly as it is.
func xText(q quantity, x float64) string {
	if q.laddered() {
		return q.withUnit(x)
	}
	return strings.TrimSpace(exact(x) + " " + q.steps[0].unit)
}

func sideCell(c compare.Cell, p lab.Point) gridCell {
	n := quantityOf(c.Unit).numbers([]float64{c.A.Median, c.B.Median})
	cell := gridCell{Value: strings.TrimSpace(n.text(p.Median) + " " + n.unit()), Spread: spread(n, p)}
	return cell
}

// ratioText writes B/A; from nothing there is no ratio.
func ratioText(c compare.Cell) string {
	if c.A.Median == 0 && c.B.Median != 0 {
		return ""
	}
	return times(c.Ratio)
}
