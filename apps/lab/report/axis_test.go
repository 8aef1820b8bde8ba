package report

import (
	"image/color"
	"math"
	"slices"
	"strings"
	"testing"

	"gonum.org/v1/plot"

	"github.com/epinet/epi/apps/lab"
)

func TestNumbers(t *testing.T) {
	for _, c := range []struct {
		v    float64
		want string
	}{
		{0, "0"}, {1, "1"}, {1.234, "1.23"}, {9.996, "10.0"}, {12.34, "12.3"}, {99.96, "100"}, {123.4, "123"}, {999.4, "999"}, {999.6, "1,000"},
		{10000, "10,000"}, {1234567, "1,234,567"}, {0.0209, "0.0209"}, {0.5, "0.500"}, {-1234.5, "-1,234"}, {-0.5, "-0.500"}, {1e18, "1e+18"}, {1e-7, "1e-07"},
	} {
		if got := number(c.v); got != c.want {
			t.Errorf("number(%v) = %q, want %q", c.v, got, c.want)
		}
	}
	for _, c := range []struct {
		unit string
		v    float64
		want string
	}{
		{"s", 0.000012, "12 µs"}, {"s", 1.5, "1.50 s"}, {"s", 0, "0 s"}, {"us", 1500, "1.50 ms"}, {"ms", 0.25, "250 µs"}, {"ns", 0.5, "0.500 ns"},
		{"B", 100, "100 B"}, {"B", 2048, "2 KiB"}, {"B/s", 3 << 30, "3 GiB/s"}, {"", 20000, "20,000"}, {"1/s", 168000, "168,000 1/s"}, {"s", -0.002, "-2 ms"},
	} {
		if got := quantityOf(c.unit).withUnit(c.v); got != c.want {
			t.Errorf("%v %s is written %q, want %q", c.v, c.unit, got, c.want)
		}
	}
	for _, c := range []struct {
		ratio float64
		want  string
	}{{1, "1.00×"}, {0.9449, "0.94×"}, {12.34, "12.3×"}, {3120, "3,120×"}, {0.0123, "0.0123×"}, {0, "0×"}} {
		if got := times(c.ratio); got != c.want {
			t.Errorf("times(%v) = %q, want %q", c.ratio, got, c.want)
		}
	}
}

func TestNumbersThatBelongTogether(t *testing.T) {
	for _, c := range []struct {
		unit   string
		values []float64
		want   string // the heading's unit, and the values
	}{
		{"s", []float64{1.6e-6, 496e-6}, "µs 1.60 496"},
		{"s", []float64{0.5e-3, 0.4}, "ms 0.500 400"},
		{"s", []float64{1e-6, 2}, " 1 µs 2 s"},
		{"B", []float64{94, 386, 19541}, "B 94 386 19,541"},
		{"1/s", []float64{1, 1e6}, "1/s 1 1,000,000"},
		{"s", []float64{0, 0}, "s 0 0"},
		{"s", nil, "s"},
	} {
		n := quantityOf(c.unit).numbers(c.values)
		words := []string{n.unit()}
		for _, v := range c.values {
			words = append(words, n.text(v))
		}
		if got := strings.Join(words, " "); got != c.want {
			t.Errorf("%v %s: %q, want %q", c.values, c.unit, got, c.want)
		}
	}
}

func TestAxes(t *testing.T) {
	for _, c := range []struct {
		name     string
		axis     lab.Axis
		values   []float64
		vertical bool
		label    string
		ticks    string
	}{
		{"counts", lab.Axis{Label: "conns"}, []float64{0, 10000}, false, "conns", "0 2,000 4,000 6,000 8,000 10,000"},
		{"a tick at the end", lab.Axis{Label: "conns"}, []float64{0, 9983}, false, "conns", "0 2,000 4,000 6,000 8,000 10,000"},
		{"far from 0", lab.Axis{Label: "n"}, []float64{90, 100}, false, "n", "90 92 94 96 98 100"},
		{"up from 0", lab.Axis{Label: "time", Unit: "s"}, []float64{90e-6, 98e-6}, true, "time (µs)", "0 20 40 60 80 100"},
		{"milliseconds", lab.Axis{Label: "time", Unit: "s"}, []float64{0, 0.0042}, true, "time (ms)", "0 1 2 3 4 5"},
		{"fractions", lab.Axis{Label: "time", Unit: "s"}, []float64{0, 1.2}, true, "time (s)", "0 0.2 0.4 0.6 0.8 1 1.2"},
		{"rates", lab.Axis{Label: "throughput", Unit: "B/s"}, []float64{0, 3 << 30}, true, "throughput (GiB/s)", "0 0.5 1 1.5 2 2.5 3"},
		{"millions", lab.Axis{Label: "requests", Unit: "1/s"}, []float64{0, 2e6}, true, "requests (1/s)", "0 500,000 1M 1.5M 2M"},
		{"things that have no halves", lab.Axis{Label: "n"}, []float64{1, 2, 4}, false, "n", "0 1 2 3 4"},
		{"one value", lab.Axis{Label: "n"}, []float64{7}, false, "n", "0 2 4 6"},
		{"nothing but 0", lab.Axis{Label: "n"}, []float64{0}, true, "n", "0 0.2 0.4 0.6 0.8 1"},
		{"negative", lab.Axis{Label: "n"}, []float64{-5, 5}, true, "n", "-6 -4 -2 0 2 4 6"},
		{"decades", lab.Axis{Label: "idle", Log: true}, []float64{1, 10000}, false, "idle (log scale)", "1 10 100 1,000 10,000"},
		{"decades with 0", lab.Axis{Label: "idle", Log: true}, []float64{0, 10, 10000}, false, "idle (log scale)", "0 10 100 1,000 10,000"},
		{"units of their own", lab.Axis{Label: "time", Unit: "s", Log: true}, []float64{1e-6, 1e-2}, true, "time (log scale)", "1 µs 10 µs 100 µs 1 ms 10 ms"},
		{"half a decade", lab.Axis{Label: "time", Unit: "s", Log: true}, []float64{3e-6, 6e-6}, true, "time (log scale)", "2 µs 5 µs 10 µs"},
		{"bytes", lab.Axis{Label: "size", Unit: "B", Log: true}, []float64{64, 1 << 20}, false, "size (log scale)", "64 B 256 B 1 KiB 4 KiB 16 KiB 64 KiB 256 KiB 1 MiB"},
		{"a unit", lab.Axis{Label: "rate", Unit: "1/s", Log: true}, []float64{10, 1000}, true, "rate (1/s, log scale)", "10 100 1,000"},
		{"nothing above 0", lab.Axis{Label: "n", Log: true}, []float64{0, 0}, false, "n", "0 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ax := newAxis(c.axis, c.values, 6, c.vertical)
			ticks := slices.Clone(ax.ticks)
			slices.SortFunc(ticks, func(a, b plot.Tick) int { return int(math.Copysign(1, a.Value-b.Value)) })
			var labels []string
			for _, tick := range ticks {
				if tick.Value < ax.min-1e-9 || tick.Value > ax.max+1e-9 {
					t.Errorf("the tick %q stands outside", tick.Label)
				}
				if tick.Label != "" {
					labels = append(labels, tick.Label)
				}
			}
			if got := strings.Join(labels, " "); got != c.ticks || ax.label != c.label {
				t.Errorf("%q with %q, want %q with %q", ax.label, got, c.label, c.ticks)
			}
			for _, v := range c.values {
				if at := ax.at(v); !(at >= ax.min-1e-9 && at <= ax.max+1e-9) {
					t.Errorf("%v is at %v, outside of %v to %v", v, at, ax.min, ax.max)
				}
			}
		})
	}
}

// TestLooksDiffer expects that series are told apart without their colours.
func TestLooksDiffer(t *testing.T) {
	seen := map[look]int{}
	for i := range 2 * len(markers) {
		l := lookOf(i)
		l.color = 0
		if j, ok := seen[l]; ok {
			t.Errorf("series %d and %d look alike without colour", i, j)
		}
		seen[l] = i
	}
	for i := range len(markers) {
		a, b := lookOfPair(i)
		if a.color != b.color || a.marker == b.marker || a.dash == b.dash {
			t.Errorf("pair %d: %v, %v", i, a, b)
		}
	}
}

// TestColorsHaveContrast holds the palettes against WCAG 2: 4.5:1 for text, 3:1
// for graphics.
func TestColorsHaveContrast(t *testing.T) {
	for name, p := range map[string]palette{"light": light, "dark": dark} {
		for i, c := range p.series {
			if got := contrast(c, p.page); got < 3 {
				t.Errorf("%s: series %d has a contrast of %.2f", name, i, got)
			}
		}
		if contrast(p.ink, p.page) < 7 || contrast(p.axis, p.page) < 4.5 {
			t.Errorf("%s: texts have contrasts of %.2f and %.2f", name, contrast(p.ink, p.page), contrast(p.axis, p.page))
		}
	}
}

func contrast(a, b color.Color) float64 {
	luminance := func(c color.Color) float64 {
		n := c.(color.NRGBA)
		linear := func(v uint8) float64 {
			s := float64(v) / 255
			if s <= 0.04045 {
				return s / 12.92
			}
			return math.Pow((s+0.055)/1.055, 2.4)
		}
		return 0.2126*linear(n.R) + 0.7152*linear(n.G) + 0.0722*linear(n.B)
	}
	x, y := luminance(a), luminance(b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

func TestThinKeepsTheSpread(t *testing.T) {
	var points []lab.Point
	for x := range 10000 {
		points = append(points, lab.NewPoint(float64(x), []float64{1}))
	}
	points[5000].Max, points[7000].Min = 50, -50
	thinned := thin(points)
	var least, most float64
	for _, p := range thinned {
		least, most = min(least, p.Min), max(most, p.Max)
		if p.Median != 1 {
			t.Errorf("a median of %v", p.Median)
		}
	}
	if len(thinned) > mostPoints || least != -50 || most != 50 {
		t.Errorf("%d points from %v to %v", len(thinned), least, most)
	}
}
