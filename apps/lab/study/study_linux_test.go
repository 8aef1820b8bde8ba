package study

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/apps/lab"
	"github.com/epinet/epi/internal/epitest"
)

// fewFiles are enough for a child itself and some connections.
const fewFiles = 32

func TestMain(m *testing.M) {
	epitest.Main(m, map[string]func([]string) error{
		"server":                func([]string) error { return Child("server", os.Stdin, os.Stdout) },
		"client":                func([]string) error { return Child("client", os.Stdin, os.Stdout) },
		"server with few files": func([]string) error { return childWithFewFiles("server") },
		"client with few files": func([]string) error { return childWithFewFiles("client") },
		"deaf":                  func([]string) error { os.Exit(3); return nil }, // ends without a word
		"mute": func([]string) error { // reads and never answers
			_, _ = os.Stdin.Read(make([]byte, 1<<10))
			return errors.New("something terrible")
		},
	})
}

func childWithFewFiles(role string) error {
	files := unix.Rlimit{Cur: fewFiles, Max: fewFiles}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return err
	}
	return Child(role, os.Stdin, os.Stdout)
}

// as makes children with a role of TestMain, or with the one asked for.
func as(role string) func(string) *exec.Cmd {
	return func(wanted string) *exec.Cmd {
		if role != "" {
			wanted = role
		}
		return epitest.Command(wanted)
	}
}

func runToy(t *testing.T, cfg Config) *lab.Result {
	t.Helper()
	cfg.Size = Toy
	if cfg.Child == nil {
		cfg.Child = as("")
	}
	r, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// What each experiment has to give at toy size.
var shapes = []struct {
	name   string
	charts map[string][]string // series by chart
	tables map[string][]string // rows by table
}{
	{"conn", map[string][]string{"conn": {"select", "poll", "epoll level", "epoll edge", ringLevel, ringEdge}}, nil},
	{"performance", map[string][]string{
		"performance-30x256":     {"select", pollAsPrinted, pollAsMeant, "epoll level", "epoll edge", "epoll one-shot", ringLevel, ringEdge},
		"performance-30x256-cpu": {"select", pollAsPrinted, pollAsMeant, "epoll level", "epoll edge", "epoll one-shot", ringLevel, ringEdge},
	}, map[string][]string{"performance-30x256": {"select", pollAsPrinted, pollAsMeant, "epoll level", "epoll edge", "epoll one-shot", ringLevel, ringEdge}}},
	{"performance_2", map[string][]string{
		"performance_2-30x256": {pollAsPrinted, pollAsMeant,
			"epoll level, linear", "epoll level, map", "epoll level, slot",
			"epoll edge, linear", "epoll edge, map", "epoll edge, slot",
			"epoll one-shot, linear", "epoll one-shot, map", "epoll one-shot, slot",
			ringLevel + ", slot", ringEdge + ", slot"},
	}, map[string][]string{"performance_2-30x256": nil}},
	{"idle", map[string][]string{
		"idle":         {"select", "poll", "epoll level", "epoll edge", "epoll one-shot", ringLevel, ringEdge},
		"idle-latency": {"select", "poll", "epoll level", "epoll edge", "epoll one-shot", ringLevel, ringEdge},
	}, nil},
	{"pairs", map[string][]string{"pairs": {"select", "poll", "epoll level", "epoll edge", "epoll one-shot", ringLevel, ringEdge}}, nil},
	{"threads", map[string][]string{"threads": {"no work", "10 µs of work", "100 µs of work", "1 ms blocked"}}, nil},
	{"waiters", map[string][]string{"waiters": {"epoll level", "epoll edge", "epoll one-shot"}}, nil},
	{"edge_out", map[string][]string{
		"edge_out":     {"epoll level", "epoll edge", "epoll one-shot"},
		"edge_out-cpu": {"epoll level", "epoll edge", "epoll one-shot"},
	}, nil},
	{"rearm", map[string][]string{"signal": {askLevel, askEdge, askOneShot, askRearmed}},
		map[string][]string{"rearm": {askLevel, askEdge, askOneShot, askRearmed}, "closing": {rowAlone, rowDuplicate}}},
}

func TestEveryExperimentHasItsShape(t *testing.T) {
	if len(shapes) != len(experiments) {
		t.Errorf("%d experiments are tested of %d", len(shapes), len(experiments))
	}
	for _, shape := range shapes {
		t.Run(shape.name, func(t *testing.T) {
			r := runToy(t, Config{Only: []string{shape.name}})
			if probeRing() != nil {
				t.Skip(r.Notes)
			}
			if r.Partial != "" {
				t.Fatalf("partial: %s", r.Partial)
			}
			for name, series := range shape.charts {
				expectChart(t, experimentOf(r, name), name, series)
			}
			for name, rows := range shape.tables {
				expectTable(t, tablesOf(r, name), name, rows)
			}
		})
	}
}

func expectChart(t *testing.T, e *lab.Experiment, name string, series []string) {
	t.Helper()
	if e == nil {
		t.Fatalf("there is no chart %s", name)
	}
	if e.Title == "" || e.About == "" || e.Observed == "" || e.X.Label == "" || e.Y.Label == "" {
		t.Errorf("chart %s lacks a text: %+v", name, e)
	}
	var got []string
	for _, s := range e.Series {
		got = append(got, s.Name)
		for i, p := range s.Points {
			if p.Min > p.Median || p.Median > p.Max || len(p.Samples) != sizesOf[Toy].rounds || i > 0 && p.X <= s.Points[i-1].X {
				t.Errorf("chart %s, %s: point %d is %+v", name, s.Name, i, p)
			}
		}
	}
	if !slices.Equal(got, series) {
		t.Errorf("chart %s has the series %q, want %q", name, got, series)
	}
}

func expectTable(t *testing.T, tables []*lab.Table, name string, rows []string) {
	t.Helper()
	if len(tables) != 1 {
		t.Fatalf("there are %d tables %s", len(tables), name)
	}
	var got []string
	for _, row := range tables[0].Rows {
		got = append(got, row.Name)
		if row.Absent != "" || len(row.Cells) != len(tables[0].Columns) {
			t.Errorf("table %s: row %+v", name, row)
		}
	}
	if rows != nil && !slices.Equal(got, rows) {
		t.Errorf("table %s has the rows %q, want %q", name, got, rows)
	}
}

func TestWithoutIOUringTheOthersAreMeasured(t *testing.T) {
	probe := probeRing
	probeRing = func() error { return errors.New("sysctl forbids it") }
	defer func() { probeRing = probe }()
	for name, want := range map[string][]string{
		"performance": {"select", pollAsPrinted, pollAsMeant, "epoll level", "epoll edge", "epoll one-shot"},
		"idle":        {"select", "poll", "epoll level", "epoll edge", "epoll one-shot"},
	} {
		r := runToy(t, Config{Only: []string{name}})
		expectChart(t, &r.Experiments[0], r.Experiments[0].Name, want)
		if !slices.Contains(r.Notes, "io_uring is left out: sysctl forbids it") {
			t.Errorf("%s: the notes are %q", name, r.Notes)
		}
	}
}

// The facts do not depend on speed, so their figures are known.
func TestFacts(t *testing.T) {
	r := runToy(t, Config{Only: []string{"rearm"}})
	for _, want := range []struct {
		table, row string
		cells      []float64
	}{
		{"rearm", askLevel, []float64{9, 1, 1, 1}},
		{"rearm", askEdge, []float64{3, 1, 0, 1}},
		{"rearm", askOneShot, []float64{1, 1, 0, 0}},
		{"rearm", askRearmed, []float64{3, 1, 0, 0}},
		{"closing", rowAlone, []float64{1, 0, 0}},
		{"closing", rowDuplicate, []float64{1, 1, 0}},
	} {
		table := tablesOf(r, want.table)[0]
		for i, column := range table.Columns {
			if p, ok := cell(table, want.row, column.Name); !ok || p.Median != want.cells[i] {
				t.Errorf("%s, %s, %s: %v, want %v", want.table, want.row, column.Name, p.Median, want.cells[i])
			}
		}
	}
}

// The smallest --max is for one connection: fewer than are opened at each step.
func TestHunt22_MaxOfOne(t *testing.T) {
	for _, shape := range shapes {
		r := runToy(t, Config{Only: []string{shape.name}, Max: 1})
		for _, e := range r.Experiments {
			for _, s := range e.Series {
				for _, p := range s.Points {
					if strings.Contains(e.X.Label, "connections") && (p.X < 0 || p.X > 1) {
						t.Errorf("%s, %s has a point at %g %s", e.Name, s.Name, p.X, e.X.Label)
					}
				}
			}
		}
	}
}

func TestMaxBoundsConnectionsAndIsNoted(t *testing.T) {
	r := runToy(t, Config{Only: []string{"idle"}, Max: 11})
	e := experimentOf(r, "idle")
	if e == nil || last(&e.Series[0]).X != 10 {
		t.Errorf("the most idle connections are %+v, want 10", e)
	}
	if notes := strings.Join(r.Notes, "\n"); !strings.Contains(notes, "--max 11") {
		t.Errorf("the notes are %q", notes)
	}
}

// A limit that was not foreseen ends the growing, not the experiment.
func TestTooFewOpenFilesAreNoted(t *testing.T) {
	for _, limited := range []string{"server", "client"} {
		t.Run(limited, func(t *testing.T) {
			r := runToy(t, Config{Only: []string{"idle"}, Child: func(role string) *exec.Cmd {
				if role == limited {
					role += " with few files"
				}
				return as(role)(role)
			}})
			e := experimentOf(r, "idle")
			if r.Partial != "" || e == nil || last(&e.Series[1]).X >= 40 || last(&e.Series[1]).X < 1 {
				t.Errorf("partial %q, measured %+v", r.Partial, e)
			}
			if notes := strings.Join(r.Notes, "\n"); !strings.Contains(notes, "too many open files; raise the limit") {
				t.Errorf("the notes are %q", notes)
			}
		})
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, cfg := range []Config{{Only: []string{"bogus"}}, {Size: "huge"}} {
		if r, err := Run(t.Context(), cfg); err == nil {
			t.Errorf("%+v gives %+v", cfg, r)
		}
	}
}

func TestChildThatDiesMakesTheResultPartial(t *testing.T) {
	for role, words := range map[string]string{"deaf": "exit status 3", "mute": "something terrible"} {
		t.Run(role, func(t *testing.T) {
			r := runToy(t, Config{Only: []string{"rearm"}, Child: as(role)})
			if !strings.Contains(r.Partial, words) || strings.Contains(r.Partial, "\n") {
				t.Errorf("partial is %q, which does not say %q on one line", r.Partial, words)
			}
		})
	}
}

func TestInterruptKeepsWhatWasMeasured(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	r, err := Run(ctx, Config{Size: Toy, Child: as(""), Only: []string{"rearm", "waiters"}, Progress: func(line string) {
		if strings.Contains(line, "waiters") && strings.Contains(line, "round 2") {
			interrupt()
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(r.Partial, "interrupted during waiters") {
		t.Errorf("partial is %q", r.Partial)
	}
	if e := experimentOf(r, "waiters"); e == nil || len(e.Series[0].Points[0].Samples) != 1 {
		t.Errorf("of the first round there is %+v", e)
	}
}
