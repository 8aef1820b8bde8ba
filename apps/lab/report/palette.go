package report

import (
	"fmt"
	"image/color"
	"math"
	"strings"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// A palette is the colours of a chart.
type palette struct {
	page   color.Color // what is drawn upon
	ink    color.Color // text
	axis   color.Color
	grid   color.Color
	series []color.Color
}

// The colours of series are told apart by people with any of the common kinds
// of colour blindness (after Okabe and Ito, darkened or lightened until they
// have a contrast of at least 3:1 against the page). Nobody depends on them:
// markers and dashes differ, too.
var (
	light = palette{
		page: rgb(0xffffff),
		ink:  rgb(0x1b1f24),
		axis: rgb(0x59636e),
		grid: rgb(0xdfe3e8),
		series: []color.Color{
			rgb(0x0068a8), rgb(0xc44e00), rgb(0x007f5c), rgb(0x9c4a8e),
			rgb(0x8a6500), rgb(0x24292f), rgb(0x1788a6), rgb(0x8c1d3f),
		},
	}
	dark = palette{
		page: rgb(0x12161b),
		ink:  rgb(0xe6e9ed),
		axis: rgb(0x9aa4af),
		grid: rgb(0x333b45),
		series: []color.Color{
			rgb(0x58a6ff), rgb(0xff9340), rgb(0x2ec797), rgb(0xe29bd4),
			rgb(0xe3c04a), rgb(0xe6e9ed), rgb(0x6fd3ee), rgb(0xff7d9c),
		},
	}
	// variables has a colour of its own for each role, which in an SVG is
	// replaced by a CSS variable: so one drawing serves light and dark pages.
	variables = palette{page: variable(0), ink: variable(1), axis: variable(2), grid: variable(3), series: []color.Color{
		variable(4), variable(5), variable(6), variable(7), variable(8), variable(9), variable(10), variable(11),
	}}
)

func rgb(v uint32) color.NRGBA {
	return color.NRGBA{R: uint8(v >> 16), G: uint8(v >> 8), B: uint8(v), A: 0xff}
}

// The first two bytes of the colours of variables, which no drawn one has, and
// a bit in the third.
const (
	variableMark = 0xfe01
	variableBand = 0x80
)

func variable(i uint8) color.NRGBA {
	return color.NRGBA{R: variableMark >> 8, G: variableMark & 0xff, B: i, A: 0xff}
}

// variableValue returns what stands in a style for the colour that variable
// has made of i.
func variableValue(i int) string {
	if i&variableBand != 0 {
		return fmt.Sprintf("var(%s);fill-opacity:%g", variableName(i&^variableBand), bandOpacity)
	}
	return "var(" + variableName(i) + ")"
}

// roles are the variables before those of the series.
var roles = []string{"--page", "--ink", "--axis", "--grid"}

// variableName returns the CSS variable for a role.
func variableName(i int) string {
	if i < len(roles) {
		return roles[i]
	}
	return fmt.Sprintf("--series-%d", i-len(roles))
}

// css declares the variables.
func (p palette) css() string {
	var b strings.Builder
	for i, c := range append([]color.Color{p.page, p.ink, p.axis, p.grid}, p.series...) {
		n := c.(color.NRGBA)
		fmt.Fprintf(&b, "%s:#%02x%02x%02x;", variableName(i), n.R, n.G, n.B)
	}
	return b.String()
}

// bandOpacity is that of the bands behind the lines.
const bandOpacity = 0.15

// band returns the colour of the band of a series. As a variable it is opaque
// and says in another bit that it is not to be: colours that are not opaque
// come back from a canvas with rounding errors.
func (p palette) band(series int) color.Color {
	c := p.series[series].(color.NRGBA)
	if c.R == variableMark>>8 && c.G == variableMark&0xff {
		c.B |= variableBand
		return c
	}
	c.A = uint8(math.Round(bandOpacity * 0xff))
	return c
}

// A look distinguishes a series from the others: numbers of a colour, a marker and a
// way of dashing.
type look struct{ color, marker, dash int }

// A marker is a polygon around a point, in units of markerSize.
type marker []vg.Point

// Those that are filled come first, then the same as outlines.
var markers = []marker{
	polygon(24, 1, 0),
	polygon(4, 1.25, 0.125), // square
	polygon(3, 1.4, 0.25),   // triangle
	polygon(4, 1.4, 0),      // diamond
	polygon(3, 1.4, 0.75),   // triangle that points down
}

// polygon has its corners on a circle, the first one at that part of a turn.
func polygon(corners int, radius, turn float64) marker {
	var m marker
	for i := range corners {
		sin, cos := math.Sincos(2 * math.Pi * (turn + float64(i)/float64(corners)))
		m = append(m, vg.Point{X: vg.Points(radius * cos), Y: vg.Points(radius * sin)})
	}
	return m
}

var dashes = [][]vg.Length{nil, {7, 3}, {2, 2.5}, {9, 3, 2, 3}}

// lookOf returns the look of the i-th series.
func lookOf(i int) look {
	return look{color: i % len(light.series), marker: i % (2 * len(markers)), dash: i % len(dashes)}
}

// lookOfPair returns the looks of the i-th series of two results: the second
// has a solid line and filled markers.
func lookOfPair(i int) (a, b look) {
	b = look{color: i % len(light.series), marker: i % len(markers)}
	a = look{color: b.color, marker: b.marker + len(markers), dash: 1}
	return a, b
}

// mark draws the marker of a look.
func (p palette) mark(c *draw.Canvas, l look, at vg.Point) {
	corners := markers[l.marker%len(markers)]
	var path vg.Path
	for i, corner := range corners {
		to := at.Add(corner.Scale(markerSize))
		if i == 0 {
			path.Move(to)
			continue
		}
		path.Line(to)
	}
	path.Close()
	c.SetColor(p.series[l.color])
	if l.marker >= len(markers) {
		c.SetColor(p.page) // hides the line
	}
	c.Fill(path)
	c.SetLineStyle(draw.LineStyle{Color: p.series[l.color], Width: vg.Points(1.4)})
	c.Stroke(path)
}
