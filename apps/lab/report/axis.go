package report

import (
	"math"
	"slices"
	"strings"

	"gonum.org/v1/plot"

	"github.com/epinet/epi/apps/lab"
)

// An axis places values on a chart. Its coordinates are the values in a unit of
// readable size, or their logarithms: gonum's own logarithmic scale has no
// place for the 0 with which many of our x begin.
type axis struct {
	quantity quantity
	label    string
	unit     step
	log      bool
	whole    bool    // what is counted has no halves
	min, max float64 // coordinates of the ends
	zero     float64 // coordinate of 0 and below on a logarithmic axis
	ticks    []plot.Tick
}

// Spread may lie so far above the medians that these would be flattened to a
// line at the bottom. Above farSpread times the largest median the axis ends at
// nearSpread times it, and what is above is cut off.
const (
	farSpread  = 3
	nearSpread = 1.5
)

// newAxis makes an axis on which all values have a place. It has about wanted
// labels. A vertical axis begins at 0 where it is linear, so that heights can be
// compared, and ends at a tick.
func newAxis(a lab.Axis, values []float64, wanted int, vertical bool) axis {
	ax := axis{quantity: quantityOf(a.Unit), log: a.Log}
	lo, hi := slices.Min(values), slices.Max(values)
	ax.log = ax.log && hi > 0
	ax.whole = !vertical && !ax.quantity.laddered() && !slices.ContainsFunc(values, func(v float64) bool { return v != math.Trunc(v) })
	if ax.log {
		ax.logarithmic(values, wanted)
	} else {
		ax.linear(lo, hi, wanted, vertical)
	}
	ax.label = ax.name(a)
	return ax
}

func (ax *axis) name(a lab.Axis) string {
	switch {
	case ax.log && (ax.quantity.laddered() || a.Unit == ""):
		return a.Label + " (log scale)"
	case ax.log:
		return a.Label + " (" + ax.unit.unit + ", log scale)"
	case ax.unit.unit == "" || strings.EqualFold(ax.unit.unit, a.Label):
		return a.Label
	}
	return a.Label + " (" + ax.unit.unit + ")"
}

func (ax *axis) linear(lo, hi float64, wanted int, vertical bool) {
	ax.unit = ax.quantity.stepFor(max(math.Abs(lo), math.Abs(hi)))
	lo, hi = ax.at(lo), ax.at(hi)
	if lo > 0 && (vertical || lo <= hi/3 || lo == hi) {
		lo = 0
	}
	if lo == hi {
		lo, hi = lo-1, hi+1
		if lo == -1 {
			lo = 0
		}
	}
	d := niceStep(hi-lo, wanted)
	if ax.whole {
		d = max(d, 1)
	}
	if missing := math.Ceil(hi/d)*d - hi; missing < (hi-lo)/20 {
		hi += missing // a tick at the end, where it costs little
	}
	first, last := math.Ceil(lo/d-1e-9), math.Floor(hi/d+1e-9)
	if vertical {
		first, last = math.Floor(lo/d+1e-9), math.Ceil(hi/d-1e-9)
		lo, hi = first*d, last*d
	}
	for i := first; i <= last; i++ {
		ax.ticks = append(ax.ticks, plot.Tick{Value: i * d, Label: tickNumber(i * d)})
	}
	ax.min, ax.max = lo, hi
}

// niceStep returns 1, 2 or 5 times a power of ten, such that width has about
// wanted of it.
func niceStep(width float64, wanted int) float64 {
	rough := width / float64(wanted)
	power := math.Pow(10, math.Floor(math.Log10(rough)))
	for _, m := range []float64{1, 2, 5} {
		if m*power >= rough*(1-1e-9) {
			return m * power
		}
	}
	return 10 * power
}

// tickNumber writes a round number without digits that say nothing.
func tickNumber(v float64) string {
	switch abs := math.Abs(v); {
	case abs >= 1e9:
		return exact(roundTo(v/1e9)) + "G"
	case abs >= 1e6:
		return exact(roundTo(v/1e6)) + "M"
	case abs < 1e-12:
		return "0" // what adding up left over
	}
	return exact(roundTo(v))
}

// roundTo takes away what binary fractions add to a round number.
func roundTo(v float64) float64 {
	p := math.Pow(10, 9-math.Ceil(math.Log10(math.Max(math.Abs(v), 1e-300))))
	if math.IsInf(p, 0) || p == 0 {
		return v
	}
	return math.Round(v*p) / p
}

func (ax *axis) logarithmic(values []float64, wanted int) {
	positive := slices.DeleteFunc(slices.Clone(values), func(v float64) bool { return v <= 0 })
	lo, hi := slices.Min(positive), slices.Max(positive)
	ax.unit = ax.quantity.stepFor(hi)
	if ax.quantity.laddered() {
		ax.unit = ax.quantity.stepFor(0) // each tick says its own
	}
	ax.min, ax.max = math.Log10(lo), math.Log10(hi)
	if ax.max-ax.min < 0.5 { // a third of a decade has no tick
		ax.min, ax.max = ax.min-0.25, ax.max+0.25
	}
	width := ax.max - ax.min
	ax.min, ax.max = ax.min-width/40, ax.max+width/40 // no marker on the edge
	ax.ticksBetween(wanted)
	ax.zero = ax.min - max(0.3, width/8)
	if len(positive) < len(values) {
		ax.ticks = append(ax.ticks, plot.Tick{Value: ax.zero, Label: "0"})
		ax.min = ax.zero
	}
}

// ticksBetween sets the ticks of a logarithmic axis: powers of ten, or of two
// for bytes; where few of these fit in, 2 and 5 times as well.
func (ax *axis) ticksBetween(wanted int) {
	base := 10.0
	if ax.quantity.binary() {
		base = 2
	}
	per := math.Log10(base)
	first, last := math.Ceil(ax.min/per-1e-9), math.Floor(ax.max/per+1e-9)
	every := max(1, math.Ceil((last-first+1)/float64(wanted+2)))
	major := func(coordinate float64) {
		ax.ticks = append(ax.ticks, plot.Tick{Value: coordinate, Label: ax.tickLabel(math.Pow(10, coordinate))})
	}
	for i := first; i <= last; i++ {
		if int(math.Abs(i))%int(every) == 0 {
			major(i * per)
		}
	}
	if base == 2 {
		return
	}
	few := len(ax.ticks) < 3
	for i := first - 1; i <= last; i++ {
		for m := 2.0; m < base; m++ {
			at := i*per + math.Log10(m)
			switch {
			case at < ax.min || at > ax.max:
			case few && (m == 2 || m == 5):
				major(at)
			case every == 1:
				ax.ticks = append(ax.ticks, plot.Tick{Value: at})
			}
		}
	}
}

func (ax *axis) tickLabel(v float64) string {
	v = roundTo(v)
	if !ax.quantity.laddered() {
		return tickNumber(v)
	}
	s := ax.quantity.stepFor(v)
	return tickNumber(roundTo(v*ax.quantity.given/s.size)) + " " + s.unit
}

// at returns the coordinate of a value.
func (ax *axis) at(v float64) float64 {
	switch {
	case !ax.log:
		return v * ax.quantity.given / ax.unit.size
	case v <= 0:
		return ax.zero
	}
	return math.Log10(v)
}

// clamp is at, for what may lie above the end of the axis.
func (ax *axis) clamp(v float64) float64 { return min(ax.at(v), ax.max) }

// Ticks makes axis a plot.Ticker.
func (ax *axis) Ticks(_, _ float64) []plot.Tick { return ax.ticks }
