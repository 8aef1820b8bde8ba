package compare

import (
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/epinet/epi/apps/lab"
)

func TestMarks(t *testing.T) {
	several := func(samples ...float64) lab.Point { return lab.NewPoint(0, samples) }
	noSamples := func(median, least, most float64) lab.Point {
		return lab.Point{Median: median, Min: least, Max: most}
	}
	for _, c := range []struct {
		name   string
		a, b   lab.Point
		higher bool
		want   Mark
		ratio  float64
	}{
		{"less", several(10, 11, 12), several(7, 8, 9), false, Better, 8.0 / 11},
		{"more", several(10, 11, 12), several(13, 14, 15), false, Worse, 14.0 / 11},
		{"more of what is good", several(10, 11, 12), several(13, 14, 15), true, Better, 14.0 / 11},
		{"less of what is good", several(10, 11, 12), several(7, 8, 9), true, Worse, 8.0 / 11},
		{"ranges overlap", several(10, 11, 12), several(11.9, 13, 14), false, Within, 13.0 / 11},
		{"ranges touch", several(10, 11, 12), several(12, 13, 14), false, Within, 13.0 / 11},
		{"one within the other", several(1, 11, 20), several(10, 11, 12), false, Within, 1},
		{"samples that are all the same", several(2, 2, 2), several(3, 3, 3), false, Worse, 1.5},
		{"the same", several(5), several(5), false, Within, 1},
		{"one sample", several(5), several(4), false, Unknown, 0.8},
		{"one sample and several", several(5), several(1, 2, 3), false, Unknown, 0.4},
		{"samples were not kept", noSamples(5, 4, 6), noSamples(8, 7, 9), false, Worse, 1.6},
		{"nothing was kept", noSamples(5, 5, 5), noSamples(8, 8, 8), false, Unknown, 1.6},
		{"from nothing", several(0, 0), several(1, 2), false, Worse, 0},
		{"nothing to nothing", several(0, 0), several(0, 0), false, Within, 1},
		{"to nothing", several(1, 2), several(0, 0), false, Better, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			cell, ok := compared(c.a, c.b, c.higher)
			if !ok || cell.Mark != c.want || math.Abs(cell.Ratio-c.ratio) > 1e-12 {
				t.Errorf("%v, ratio %v (%v), want %v, %v", cell.Mark, cell.Ratio, ok, c.want, c.ratio)
			}
		})
	}
	for _, p := range []lab.Point{{Absent: "no strace"}, {Median: math.NaN()}, {Max: math.Inf(1)}} {
		if _, ok := compared(p, several(1, 2), false); ok {
			t.Errorf("%v was compared", p)
		}
	}
}

func TestCompare(t *testing.T) {
	seconds := lab.Axis{Label: "time", Unit: "s"}
	series := func(name string, factor float64, xs ...float64) lab.Series {
		s := lab.Series{Name: name}
		for _, x := range xs {
			s.Points = append(s.Points, lab.NewPoint(x, []float64{factor * (x + 1), factor * (x + 1.1), factor * (x + 1.2)}))
		}
		return s
	}
	row := func(name string, values ...float64) lab.Row {
		r := lab.Row{Name: name}
		for _, v := range values {
			r.Cells = append(r.Cells, lab.NewPoint(0, []float64{v, v * 1.01}))
		}
		return r
	}
	machine := lab.Machine{Kernel: "6.1", CPU: "x", CPUs: 2, Memory: 1 << 33, Go: "go1.26", OpenFiles: 1024, Ports: 100}
	a := &lab.Result{
		Command: "epi lab study", Machine: machine,
		Experiments: []lab.Experiment{
			{Name: "conn", Title: "Conn", X: lab.Axis{Label: "conns"}, Y: seconds, Series: []lab.Series{series("poll", 1, 0, 1, 2), series("gone", 1, 0), series("twice", 1, 5), series("twice", 2, 5)}},
			{Name: "rate", Y: lab.Axis{Unit: "1/s"}, Series: []lab.Series{series("epoll", 1, 1, 2)}},
			{Name: "units", Y: lab.Axis{Unit: "ms"}},
			{Name: "old"},
		},
		Tables: []lab.Table{{
			Name: "t", Columns: []lab.Column{{Name: "cpu", Unit: "µs"}, {Name: "rate", Unit: "1/s", Higher: true}, {Name: "gone"}},
			Rows: []lab.Row{row("epi", 5, 100, 1), row("libuv", 6, 90, 1), row("short", 1)},
		}},
	}
	other := machine
	other.Kernel, other.CPU, other.Memory = "6.2", "y", 1<<33+4096
	b := &lab.Result{
		Command: "epi lab study --full", Machine: other, Partial: "interrupted",
		Experiments: []lab.Experiment{
			{Name: "units", Y: seconds},
			{Name: "rate", Y: lab.Axis{Unit: "1/s"}, Series: []lab.Series{series("epoll", 3, 1, 2)}},
			{Name: "conn", X: lab.Axis{Label: "conns"}, Y: seconds, Series: []lab.Series{series("new", 1, 0), series("twice", 3, 5), series("twice", 1, 5), series("poll", 2, 1, 2, 3)}},
		},
		Tables: []lab.Table{{
			Name: "t", Columns: []lab.Column{{Name: "rate", Unit: "1/s", Higher: true}, {Name: "new"}, {Name: "cpu", Unit: "µs"}},
			Rows: []lab.Row{row("short", 1), {Name: "libuv", Absent: "not installed"}, row("epi", 150, 7, 4)},
		}},
	}
	c := Compare("a", a, "b", b)

	warnings := strings.Join(c.Warnings, "\n")
	for _, words := range []string{"machine, CPU: A has x, B has y", "kernel: A has 6.1, B has 6.2", "command: A has epi lab study, B has epi lab study --full", "B is partial: interrupted", "experiment units is left out"} {
		if !strings.Contains(warnings, words) {
			t.Errorf("no warning %q in %q", words, warnings)
		}
	}
	if len(c.Warnings) != 5 {
		t.Errorf("%d warnings: %q", len(c.Warnings), warnings)
	}
	onlyA := []string{"experiment old", `series "gone" of experiment conn`, `1 of the points of series "poll" of experiment conn`, `column "gone" () of table t`, `row "libuv" of table t (not installed)`}
	onlyB := []string{`series "new" of experiment conn`, `1 of the points of series "poll" of experiment conn`, `column "new" () of table t`}
	if !slices.Equal(c.OnlyA, onlyA) || !slices.Equal(c.OnlyB, onlyB) {
		t.Errorf("only A: %q\nonly B: %q", c.OnlyA, c.OnlyB)
	}

	type cell struct {
		group, row, column string
		x                  float64
		mark               Mark
		ratio              float64
	}
	var cells []cell
	for _, g := range c.Groups {
		for _, c := range g.Cells {
			x := -1.0
			if c.X != nil {
				x = *c.X
			}
			cells = append(cells, cell{g.Name, c.Row, c.Column, x, c.Mark, math.Round(c.Ratio*100) / 100})
		}
	}
	want := []cell{
		{"conn", "poll", "time", 1, Worse, 2},
		{"conn", "poll", "time", 2, Worse, 2},
		{"conn", "twice", "time", 5, Worse, 3},
		{"conn", "twice", "time", 5, Better, 0.5},
		{"rate", "epoll", "", 1, Better, 3},
		{"rate", "epoll", "", 2, Better, 3},
		{"t", "epi", "cpu", -1, Better, 0.8},
		{"t", "epi", "rate", -1, Better, 1.5},
	}
	if !slices.Equal(cells, want) {
		t.Errorf("cells %v\nwant %v", cells, want)
	}
	if c.Counts[Better] != 5 || c.Counts[Worse] != 3 || c.Counts[Within] != 0 || len(c.Counts) != len(Marks) {
		t.Errorf("counts %v", c.Counts)
	}
	if o := c.Groups[0].Overall; len(o) != 1 || o[0].Row != "poll" || o[0].Points != 2 || math.Abs(o[0].Ratio-2) > 1e-9 {
		t.Errorf("overall %v", o)
	}
	if text, err := json.Marshal(c); err != nil || !strings.Contains(string(text), `"only_a"`) {
		t.Errorf("as JSON: %s, %v", text, err)
	}
}

func TestNothingInCommon(t *testing.T) {
	c := Compare("a", &lab.Result{Command: "epi lab study"}, "b", &lab.Result{Command: "epi lab study"})
	if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0], "in common") {
		t.Errorf("warnings %q", c.Warnings)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	r := &lab.Result{Command: "epi lab study"}
	name := filepath.Join(dir, "result.json")
	if err := r.Write(name); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, name} {
		if got, err := Load(path); err != nil || got.Command != r.Command {
			t.Errorf("%s: %v, %v", path, got, err)
		}
	}
	other := filepath.Join(dir, "other")
	if err := os.WriteFile(other, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{other, filepath.Join(dir, "none"), t.TempDir()} {
		if _, err := Load(path); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "result.json of a lab command") {
			t.Errorf("%s: error %v", path, err)
		}
	}
	if _, err := Load(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}
