package report

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// A step is one unit of a ladder of units, such as ms in the ladder of time.
type step struct {
	unit string
	size float64 // in the ladder's first unit
}

var (
	timeSteps = []step{{"ns", 1}, {"µs", 1e3}, {"ms", 1e6}, {"s", 1e9}}
	byteSteps = []step{{"B", 1}, {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}}
	rateSteps = []step{{"B/s", 1}, {"KiB/s", 1 << 10}, {"MiB/s", 1 << 20}, {"GiB/s", 1 << 30}, {"TiB/s", 1 << 40}}
)

// unitNames are other spellings of units, the Greek letter mu among them.
var unitNames = map[string]string{
	"us": "µs", "μs": "µs", "second": "s", "seconds": "s",
	"bytes": "B", "byte": "B", "bytes/s": "B/s",
}

// A quantity is what the numbers of an axis or a column are: a unit and the
// ladder of larger and smaller ones in which it may be written as well.
type quantity struct {
	steps []step
	given float64 // the size of the unit of the numbers
}

func quantityOf(unit string) quantity {
	if name, ok := unitNames[unit]; ok {
		unit = name
	}
	for _, steps := range [][]step{timeSteps, byteSteps, rateSteps} {
		for _, s := range steps {
			if s.unit == unit {
				return quantity{steps: steps, given: s.size}
			}
		}
	}
	return quantity{steps: []step{{unit, 1}}, given: 1}
}

// laddered reports whether numbers may be written in more than one unit.
func (q quantity) laddered() bool { return len(q.steps) > 1 }

// binary reports whether the units of q are powers of two apart.
func (q quantity) binary() bool { return q.laddered() && q.steps[1].size == 1<<10 }

// stepFor returns the largest unit that v has at least one of.
func (q quantity) stepFor(v float64) step {
	v = math.Abs(v) * q.given
	if v == 0 {
		for _, s := range q.steps {
			if s.size == q.given {
				return s
			}
		}
	}
	best := q.steps[0]
	for _, s := range q.steps {
		if v >= s.size*(1-1e-9) { // a unit that was computed may miss 1 by a rounding
			best = s
		}
	}
	return best
}

// A writer of numbers that belong together writes them all in one unit, so that
// they can be compared at a glance. Where they lie too far apart for that, each
// has a unit of its own.
type numbers struct {
	quantity
	common step
	own    bool
}

// tooFar is the ratio between the largest and the smallest number above which
// one unit leaves unreadable ones.
const tooFar = 1e3

func (q quantity) numbers(values []float64) numbers {
	var sizes []float64
	for _, v := range values {
		if v != 0 {
			sizes = append(sizes, math.Abs(v))
		}
	}
	if len(sizes) == 0 {
		return numbers{quantity: q, common: q.stepFor(0)}
	}
	slices.Sort(sizes)
	return numbers{
		quantity: q,
		common:   q.stepFor(min(sizes[len(sizes)/2], 10*sizes[0])), // the smallest is at least 0.1 of it
		own:      q.laddered() && sizes[len(sizes)-1] > tooFar*sizes[0],
	}
}

// unit is what a heading has to say, empty when each number says it.
func (n numbers) unit() string {
	if n.own {
		return ""
	}
	return n.common.unit
}

// in returns v in the common unit.
func (n numbers) in(v float64) float64 { return v * n.given / n.common.size }

// text writes v, with its unit if the heading does not say it.
func (n numbers) text(v float64) string {
	if n.own {
		return n.withUnit(v)
	}
	return number(n.in(v))
}

// withUnit writes v with its own unit.
func (q quantity) withUnit(v float64) string {
	s := q.stepFor(v)
	return strings.TrimSpace(number(v*q.given/s.size) + " " + s.unit)
}

// digits are the significant digits of a number that is not whole.
const digits = 3

// number writes v for people: at least three significant digits, and commas
// between thousands.
func number(v float64) string {
	abs := math.Abs(v)
	switch {
	case abs >= 1e15 || abs > 0 && abs < 1e-4:
		return strconv.FormatFloat(v, 'g', digits, 64)
	case abs >= 999.5 || v == math.Trunc(v):
		return thousands(strconv.FormatFloat(v, 'f', 0, 64))
	}
	rounded, _ := strconv.ParseFloat(strconv.FormatFloat(abs, 'g', digits, 64), 64)
	decimals := max(0, digits-1-int(math.Floor(math.Log10(rounded))))
	return strconv.FormatFloat(v, 'f', decimals, 64)
}

// exact writes v with as many digits as it has, for values of x.
func exact(v float64) string {
	if v == math.Trunc(v) && math.Abs(v) < 1e15 {
		return thousands(strconv.FormatFloat(v, 'f', 0, 64))
	}
	if math.Abs(v) >= 1e4 {
		return number(v)
	}
	return strconv.FormatFloat(v, 'g', 6, 64)
}

// thousands puts commas into a whole number.
func thousands(text string) string {
	sign := ""
	if strings.HasPrefix(text, "-") {
		sign, text = "-", text[1:]
	}
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return sign + text
}

// times writes a ratio.
func times(ratio float64) string {
	if ratio >= 100 {
		return number(math.Round(ratio)) + "×"
	}
	if ratio >= 10 {
		return strconv.FormatFloat(ratio, 'f', 1, 64) + "×"
	}
	if ratio >= 0.095 {
		return strconv.FormatFloat(ratio, 'f', 2, 64) + "×"
	}
	return number(ratio) + "×"
}
