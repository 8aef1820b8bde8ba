package report

import (
	"bytes"
	"cmp"
	"fmt"
	"html"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/epinet/epi/apps/lab"
)

// A chart is a drawing of series in the deck's form.
type chart struct {
	title string
	x, y  lab.Axis
	lines []line
	notes []string // what a reader of the drawing must know

	joined int     // how many measured points one drawn point stands for, at most
	above  float64 // the largest spread that the y axis does not show, else 0
}

// A line is one series with its look.
type line struct {
	name   string
	points []lab.Point // by x
	look   look
}

// A shape is the size of a drawing, its legend left out, and how many labels its
// axes have room for.
type shape struct {
	class          string
	width, height  vg.Length
	xTicks, yTicks int
}

var (
	wide   = shape{class: "wide", width: 860, height: 400, xTicks: 8, yTicks: 6}
	narrow = shape{class: "narrow", width: 380, height: 330, xTicks: 4, yTicks: 6}
)

const (
	pngDPI = 120 // 1.7 times the pixels of a screen, which is sharp enough in print

	titleSize  = 15
	labelSize  = 13
	tickSize   = 12
	legendSize = 12
	lineWidth  = 1.8
	markerSize = 3

	// Above mostPoints, neighbours are drawn as one point: more could not be
	// seen, and the page would grow by megabytes.
	mostPoints = 300
	// Above mostMarkers, the markers of a line would touch each other.
	mostMarkers = 24
)

// newChart makes the chart of an experiment. It returns nil if there is no
// point to draw.
func newChart(e *lab.Experiment) *chart {
	c := &chart{title: cmp.Or(headline(e), e.Title), x: e.X, y: e.Y}
	for i, s := range e.Series {
		c.add(s, s.Name, lookOf(i))
	}
	return c.finish()
}

// add appends a series.
func (c *chart) add(s lab.Series, name string, l look) {
	points := slices.DeleteFunc(slices.Clone(s.Points), func(p lab.Point) bool { return !p.Measured() })
	slices.SortStableFunc(points, func(a, b lab.Point) int {
		switch {
		case a.X < b.X:
			return -1
		case a.X > b.X:
			return 1
		}
		return 0
	})
	drawn := thin(points)
	if joined := (len(points) + len(drawn) - 1) / max(1, len(drawn)); joined > c.joined {
		c.joined = joined
	}
	c.lines = append(c.lines, line{name: name, points: drawn, look: l})
}

// thin joins neighbours until at most mostPoints are left.
func thin(points []lab.Point) []lab.Point {
	if len(points) <= mostPoints {
		return points
	}
	each := (len(points) + mostPoints - 1) / mostPoints
	var thinned []lab.Point
	for group := range slices.Chunk(points, each) {
		joined := lab.Point{X: (group[0].X + group[len(group)-1].X) / 2, Min: math.Inf(1), Max: math.Inf(-1)}
		var medians []float64
		for _, p := range group {
			medians = append(medians, p.Median)
			joined.Min, joined.Max = min(joined.Min, p.Min), max(joined.Max, p.Max)
		}
		joined.Median = lab.Median(medians)
		thinned = append(thinned, joined)
	}
	return thinned
}

// finish computes what depends on all lines. It returns nil without points.
func (c *chart) finish() *chart {
	if len(c.values(func(p lab.Point) []float64 { return []float64{p.X} })) == 0 {
		return nil
	}
	if c.joined > 1 {
		c.notes = append(c.notes, fmt.Sprintf("Where points lie too close to be told apart, up to %d neighbours are drawn as one: their median, with the spread of all of them.", c.joined))
	}
	median := slices.Max(c.values(func(p lab.Point) []float64 { return []float64{p.Median} }))
	top := slices.Max(c.values(func(p lab.Point) []float64 { return []float64{p.Max} }))
	if !c.y.Log && median > 0 && top > farSpread*median {
		c.above = top
		c.notes = append(c.notes, fmt.Sprintf("The spread reaches up to %s, beyond the chart.", quantityOf(c.y.Unit).withUnit(top)))
	}
	return c
}

// values collects numbers of all points.
func (c *chart) values(of func(lab.Point) []float64) []float64 {
	var values []float64
	for _, l := range c.lines {
		for _, p := range l.points {
			values = append(values, of(p)...)
		}
	}
	return values
}

// axes returns the axes for a shape.
func (c *chart) axes(s shape) (x, y *axis) {
	xs := c.values(func(p lab.Point) []float64 { return []float64{p.X} })
	ys := c.values(func(p lab.Point) []float64 {
		if c.above > 0 {
			return []float64{p.Min, p.Median * nearSpread}
		}
		return []float64{p.Min, p.Median, p.Max}
	})
	horizontal, vertical := newAxis(c.x, xs, s.xTicks, false), newAxis(c.y, ys, s.yTicks, true)
	return &horizontal, &vertical
}

// draw draws the chart, its legend on top.
func (c *chart) draw(canvas draw.Canvas, s shape, p palette) {
	x, y := c.axes(s)
	l := c.legend(canvas.Max.X-canvas.Min.X, p)
	l.draw(canvas, c.lines, p)
	pl := plot.New()
	pl.BackgroundColor = nil
	for _, a := range []struct {
		plot *plot.Axis
		axis *axis
	}{{&pl.X, x}, {&pl.Y, y}} {
		a.plot.Min, a.plot.Max = a.axis.min, a.axis.max
		a.plot.Tick.Marker = a.axis
		a.plot.Label.Text = a.axis.label
		a.plot.Label.TextStyle = textStyle(labelSize, p, a.plot.Label.TextStyle)
		a.plot.Label.Padding = vg.Points(5)
		a.plot.Tick.Label = textStyle(tickSize, p, a.plot.Tick.Label)
		a.plot.Tick.Length = vg.Points(5)
		a.plot.Tick.LineStyle = draw.LineStyle{Color: p.axis, Width: vg.Points(0.75)}
		a.plot.LineStyle = draw.LineStyle{Color: p.axis, Width: vg.Points(0.75)}
		a.plot.Padding = 0
	}
	fit(&pl.X, s.width-80)
	fit(&pl.Y, s.height-60)
	pl.Add(&drawing{chart: c, x: x, y: y, palette: p})
	pl.Draw(draw.Crop(canvas, 0, 0, 0, -l.height()))
}

// fit makes the label of an axis smaller until it has room.
func fit(a *plot.Axis, room vg.Length) {
	for a.Label.TextStyle.Font.Size > 8 && a.Label.TextStyle.Width(a.Label.Text) > room {
		a.Label.TextStyle.Font.Size -= 0.5
	}
	a.Label.Text = shorten(a.Label.TextStyle, a.Label.Text, room)
}

func textStyle(size float64, p palette, s text.Style) text.Style {
	s.Font = font.Font{Typeface: "Liberation", Variant: "Sans", Size: vg.Points(size)}
	s.Color = p.ink
	s.Handler = plot.DefaultTextHandler
	return s
}

// A drawing is the lines of a chart between its axes, as a plot.Plotter.
type drawing struct {
	*chart
	x, y *axis
	palette
}

// Plot draws the grid, then every band, then the lines: no band hides a line.
func (d *drawing) Plot(c draw.Canvas, pl *plot.Plot) {
	toX, toY := pl.Transforms(&c)
	at := func(x, y float64) vg.Point {
		return vg.Point{X: toX(d.x.at(x)), Y: toY(d.y.clamp(y))}
	}
	gridLine := draw.LineStyle{Color: d.grid, Width: vg.Points(0.75)}
	for _, t := range d.y.ticks {
		if !t.IsMinor() {
			c.StrokeLine2(gridLine, c.Min.X, toY(t.Value), c.Max.X, toY(t.Value))
		}
	}
	for _, l := range d.lines {
		d.band(&c, l, at)
	}
	for i, l := range d.lines {
		d.line(&c, i, l, at)
	}
}

// band draws the spread between the smallest and the largest samples; for a
// point alone, which a band could not show, a whisker.
func (d *drawing) band(c *draw.Canvas, l line, at func(x, y float64) vg.Point) {
	color := d.series[l.look.color]
	if len(l.points) == 1 {
		p := l.points[0]
		const half = 4
		from, to := at(p.X, p.Min), at(p.X, p.Max)
		whisker := draw.LineStyle{Color: color, Width: vg.Points(1.2)}
		c.StrokeLine2(whisker, from.X, from.Y, to.X, to.Y)
		c.StrokeLine2(whisker, from.X-half, from.Y, from.X+half, from.Y)
		c.StrokeLine2(whisker, to.X-half, to.Y, to.X+half, to.Y)
		return
	}
	var outline []vg.Point
	for _, p := range l.points {
		outline = append(outline, at(p.X, p.Max))
	}
	for _, p := range slices.Backward(l.points) {
		outline = append(outline, at(p.X, p.Min))
	}
	c.FillPolygon(d.palette.band(l.look.color), outline)
}

func (d *drawing) line(c *draw.Canvas, i int, l line, at func(x, y float64) vg.Point) {
	var points []vg.Point
	for _, p := range l.points {
		points = append(points, at(p.X, p.Median))
	}
	c.StrokeLines(d.stroke(l.look), points)
	every := (len(points) + mostMarkers - 1) / mostMarkers
	for j, p := range points {
		if every == 1 || j%every == (i*every/len(d.lines)+every/2)%every { // not above each other's
			d.mark(c, l.look, p)
		}
	}
}

func (p palette) stroke(l look) draw.LineStyle {
	return draw.LineStyle{Color: p.series[l.color], Width: vg.Points(lineWidth), Dashes: dashes[l.dash]}
}

// The measures of a legend.
const (
	legendSample = 34 // length of a piece of line
	legendGap    = 6  // between it and the name
	legendRow    = 19
	legendApart  = 20 // between columns
	legendBelow  = 10
)

// A legend is the names of the lines in columns.
type legend struct {
	names  []string
	rows   int
	widths []vg.Length // of the columns
	style  text.Style
}

// legend lays the names out in as many columns as have room.
func (c *chart) legend(room vg.Length, p palette) legend {
	l := legend{style: textStyle(legendSize, p, text.Style{XAlign: draw.XLeft, YAlign: draw.YCenter})}
	longest := room - legendSample - legendGap
	if len(c.lines) > 4 && room > 600 {
		longest = (room-legendApart)/2 - legendSample - legendGap // one long name is not to cost the others a column
	}
	for _, line := range c.lines {
		name := line.name
		if len(line.points) == 0 {
			name += " (no points)"
		}
		l.names = append(l.names, shorten(l.style, name, longest))
	}
	for columns := len(l.names); ; columns-- {
		l.rows = (len(l.names) + columns - 1) / columns
		l.widths = l.widths[:0]
		var used vg.Length
		for column := range slices.Chunk(l.names, l.rows) {
			var width vg.Length
			for _, name := range column {
				width = max(width, legendSample+legendGap+l.style.Width(name)+legendApart)
			}
			l.widths = append(l.widths, width)
			used += width
		}
		if columns == 1 || used-legendApart <= room {
			return l
		}
	}
}

func (l *legend) height() vg.Length { return vg.Length(l.rows)*legendRow + legendBelow }

// draw draws the legend at the top.
func (l *legend) draw(canvas draw.Canvas, lines []line, p palette) {
	x := canvas.Min.X
	for i, name := range l.names {
		if i > 0 && i%l.rows == 0 {
			x += l.widths[i/l.rows-1]
		}
		y := canvas.Max.Y - vg.Length(i%l.rows)*legendRow - legendRow/2
		canvas.StrokeLine2(p.stroke(lines[i].look), x, y, x+legendSample, y)
		p.mark(&canvas, lines[i].look, vg.Point{X: x + legendSample/2, Y: y})
		canvas.FillText(l.style, vg.Point{X: x + legendSample + legendGap, Y: y}, name)
	}
}

// shorten cuts the middle out of a text until it has room: long names differ
// mostly at their ends.
func shorten(style text.Style, s string, room vg.Length) string {
	runes := []rune(s)
	for keep := len(runes); style.Width(s) > room && keep > 3; {
		keep--
		s = string(runes[:(keep+1)/2]) + "…" + string(runes[len(runes)-keep/2:])
	}
	return s
}

// The free edge of a drawing.
const (
	edge      = 6
	edgeRight = 14 // where the last label of x ends
)

func margin(c draw.Canvas) draw.Canvas { return draw.Crop(c, edge, -edgeRight, edge, -edge) }

// size returns the size of a drawing with its legend.
func (c *chart) size(s shape) (width, height vg.Length) {
	l := c.legend(s.width-edge-edgeRight, light)
	return s.width, s.height + l.height()
}

// png writes the chart on white. It may be shown alone, so it has its title.
func (c *chart) png(w io.Writer) error {
	const titleHeight = 26
	width, height := c.size(wide)
	canvas := vgimg.NewWith(vgimg.UseWH(width, height+titleHeight), vgimg.UseDPI(pngDPI))
	whole := margin(draw.New(canvas))
	style := textStyle(titleSize, light, text.Style{XAlign: draw.XLeft, YAlign: draw.YTop})
	whole.FillText(style, vg.Point{X: whole.Min.X, Y: whole.Max.Y}, shorten(style, c.title, whole.Max.X-whole.Min.X))
	c.draw(draw.Crop(whole, 0, 0, 0, -titleHeight), wide, light)
	_, err := vgimg.PngCanvas{Canvas: canvas}.WriteTo(w)
	return err
}

var (
	svgStart  = regexp.MustCompile(`(?s)^.*?<svg[^>]*>`)
	svgStyle  = regexp.MustCompile(`style="[^"]*"`) // a quote in a text is escaped
	svgColor  = regexp.MustCompile(`#` + strings.ToUpper(strconv.FormatInt(variableMark, 16)) + `([0-9A-Fa-f]{2})`)
	svgFamily = regexp.MustCompile(`font-family:[^;]*;font-variant:[^;]*;font-weight:[^;]*;font-style:[^;]*;`)
)

// svg returns the chart as an element for the page, whose style sheet has its
// colours and font.
func (c *chart) svg(s shape) (string, error) {
	width, height := c.size(s)
	canvas := vgsvg.New(width, height)
	c.draw(margin(draw.New(canvas)), s, variables)
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return "", err
	}
	text := b.String()
	text = text[len(svgStart.FindString(text)):]
	text = svgStyle.ReplaceAllStringFunc(text, func(style string) string {
		style = svgFamily.ReplaceAllString(style, "")
		return svgColor.ReplaceAllStringFunc(style, func(c string) string {
			i, _ := strconv.ParseInt(c[len(c)-2:], 16, 0)
			return variableValue(int(i))
		})
	})
	return fmt.Sprintf("<svg class=%q viewBox=\"0 0 %g %g\" role=\"img\" aria-label=\"%s\">",
		s.class, width.Points(), height.Points(), html.EscapeString(c.alternative())) + text, nil
}

// alternative is the chart in words.
func (c *chart) alternative() string {
	var b strings.Builder
	x, y := quantityOf(c.x.Unit), quantityOf(c.y.Unit)
	xs := c.values(func(p lab.Point) []float64 { return []float64{p.X} })
	fmt.Fprintf(&b, "Line chart: %s. Across: %s, from %s to %s. Up: %s.", c.title, c.x.Label,
		x.withUnit(slices.Min(xs)), x.withUnit(slices.Max(xs)), c.y.Label)
	for _, l := range c.lines {
		switch n := len(l.points); n {
		case 0:
			fmt.Fprintf(&b, " %s: no points.", l.name)
		case 1:
			fmt.Fprintf(&b, " %s: %s at %s.", l.name, y.withUnit(l.points[0].Median), x.withUnit(l.points[0].X))
		default:
			fmt.Fprintf(&b, " %s: from %s to %s.", l.name, y.withUnit(l.points[0].Median), y.withUnit(l.points[n-1].Median))
		}
	}
	return b.String()
}
