package sim

import (
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/epinet/epi/apps/lab"
)

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// What several tests have reached adds up; the simulation itself and the portable driver
// do not count.
func TestCoverage_AddsUp(t *testing.T) {
	c := coverage{}
	for _, text := range []string{
		"mode: set\ngithub.com/epinet/epi/conn.go:1.1,2.2 3 0\ngithub.com/epinet/epi/conn.go:3.1,4.2 1 1\n",
		"mode: set\ngithub.com/epinet/epi/conn.go:1.1,2.2 3 1\ngithub.com/epinet/epi/conn.go:3.1,4.2 1 0\n" +
			"github.com/epinet/epi/loop.go:1.1,2.2 4 0\n" +
			"github.com/epinet/epi/internal/driver/sockets.go:1.1,2.2 2 1\n" +
			"github.com/epinet/epi/internal/driver/portable.go:1.1,2.2 9 0\n" +
			"github.com/epinet/epi/internal/driver/simulated.go:1.1,2.2 9 1\n",
	} {
		if err := c.read(write(t, "cover", text)); err != nil {
			t.Fatal(err)
		}
	}
	packages := byPackage(c.byFile())
	if root := packages["."]; root != (share{8, 4}) || root.percent() != 50 {
		t.Errorf("the root: %+v", root)
	}
	if drivers := packages["internal/driver"]; drivers != (share{2, 2}) {
		t.Errorf("the drivers: %+v", drivers)
	}
	if err := c.read(write(t, "cover", "mode: set\nnonsense\n")); err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("nonsense: %v", err)
	}
}

func TestPlanted(t *testing.T) {
	p, err := readPlanted(write(t, "plant.json", `{"seeds": 1000, "faults": [
		{"list": "a", "fault": "one", "outcome": "caught", "seed": 0, "steps": 3},
		{"list": "b", "fault": "two", "outcome": "survives"},
		{"list": "a", "fault": "three", "outcome": "caught", "seed": 700, "steps": 9},
		{"list": "b", "fault": "four", "outcome": "caught", "seed": 31000000, "steps": 2}
	]}`))
	if err != nil {
		t.Fatal(err)
	}
	table := p.table()
	var names []string
	for _, r := range table.Rows {
		names = append(names, r.Name)
	}
	if !slices.Equal(names, []string{"a", "b", "all"}) {
		t.Errorf("rows %v", names)
	}
	for _, want := range []struct {
		row     int
		figures []float64
	}{
		{0, []float64{2, 2, 100, 0, 0, 350, 6}},
		{1, []float64{2, 1, 50, 1, 0}},
		{2, []float64{4, 3, 75, 1, 0, 350, 6}},
	} {
		var figures []float64
		for _, c := range table.Rows[want.row].Cells {
			figures = append(figures, c.Median)
		}
		if !slices.Equal(figures, want.figures) {
			t.Errorf("row %d: %v, want %v", want.row, figures, want.figures)
		}
	}
	if !slices.Equal(table.Notes, []string{"b: “two” survives."}) {
		t.Errorf("notes %q", table.Notes)
	}
	points := p.chart().Series[0].Points
	if first, last := points[0], points[len(points)-1]; first.X != 1 || first.Median != 50 || last.X != 1000 || last.Median != 75 {
		t.Errorf("the chart goes from %v to %v", first, last)
	}
}

func TestReadPlanted_RefusesWhatIsNone(t *testing.T) {
	for _, name := range []string{filepath.Join(t.TempDir(), "none"), write(t, "other", "{}"), write(t, "text", "text")} {
		if _, err := readPlanted(name); err == nil || !strings.Contains(err.Error(), "--planted") || !strings.Contains(err.Error(), "./internal/plant -o") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The levels share the time, and in each its tests.
func TestBound(t *testing.T) {
	s := &study{Config: Config{For: time.Minute}}
	var all time.Duration
	for _, p := range programs {
		if p.level == 0 {
			continue
		}
		bound := s.bound(p, programs)
		d, err := time.ParseDuration(bound[1])
		if bound[0] != "-for" || err != nil {
			t.Fatal(bound, err)
		}
		all += d * time.Duration(p.parts)
	}
	if math.Abs((all - time.Minute).Seconds()) > 1e-6 {
		t.Errorf("%v in all", all)
	}
	s.Seeds = 7
	if bound := s.bound(programs[0], programs); !slices.Equal(bound, []string{"-seeds", "7"}) {
		t.Errorf("%v", bound)
	}
}

// finder is a test that finds something: a shell script with the flags of one.
const finder = `#!/bin/sh
while [ $# -gt 0 ]; do
	case $1 in
	-record) record=$2 ;;
	-test.coverprofile) profile=$2 ;;
	esac
	shift
done
printf '%s\n' '{"test":"TestX/part","seeds":3,"seconds":0.5,"failed":"seed 2 fails: lost\n1 of 9 steps are needed. To play them again:\n\n\tgo test -run X -seed 2 -steps 4\n\nstep 4","faults":{"reset":5},"checks":{"byte":7}}' >"$record"
printf 'mode: set\ngithub.com/epinet/epi/conn.go:1.1,2.2 3 1\n' >"$profile"
exit 1
`

// What a test finds is shown, with what it has played.
func TestRun_Finding(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("it needs a shell")
	}
	s := &study{coverage: coverage{}, dir: t.TempDir()}
	s.Seeds = 3
	if err := s.run(t.Context(), write(t, "finder", finder), program{name: "x", title: "x", level: 3, parts: 1}, programs); err != nil {
		t.Fatal(err)
	}
	s.describe()
	if len(s.result.Findings) != 1 || !strings.HasPrefix(s.result.Findings[0], "TestX/part: seed 2 fails: lost\n") {
		t.Errorf("findings %q", s.result.Findings)
	}
	const note = "A finding: TestX/part: seed 2 fails: lost; to play it again: go test -run X -seed 2 -steps 4"
	if !slices.Equal(s.result.Notes, []string{note}) {
		t.Errorf("notes %q", s.result.Notes)
	}
	if want := []Line{
		{"level 3", "3 schedules, 6 a second; 5 faults injected, 7 things checked"},
		{"reached", "100.0 % of 3 statements of epi (the root package)"},
	}; !slices.Equal(s.result.Summary, want) {
		t.Errorf("summary %q", s.result.Summary)
	}
	schedules := s.result.Tables[slices.IndexFunc(s.result.Tables, func(t lab.Table) bool { return t.Name == "schedules" })]
	if len(schedules.Rows) != 2 || schedules.Rows[0].Name != "Level 3: x, part" {
		t.Errorf("rows %+v", schedules.Rows)
	}
}

func TestOrdersOf(t *testing.T) {
	if n := ordersOf("=== RUN TestA\n    x_test.go:3: 12 orders\n    x_test.go:3: 30 orders\n"); n != 42 {
		t.Errorf("%d", n)
	}
}
