// Package study measures select, poll and epoll against each other: the
// experiments of the deck on event-driven programming from which epi comes, and
// its claims held against what was measured.
//
// An experiment runs on package poll, or on poll(2) itself where the scan over
// the descriptors belongs to the program; the engine has no part in it. Beside
// the deck's contestants there are the poll operations of io_uring. Server and
// client are processes of their own, each on a CPU of its own:
//
//	the study (this process)
//	  │ lines of JSON over pipes; a child ends when its input ends
//	  ├──► child server, CPU 0: opens, serves, reports what it cost
//	  └──► child client, CPU 1: connects, loads, reports how long it took
//
// Everything stays on addresses of this machine. Each point is the median of
// rounds in which all series take turns, with their minimum and maximum.
package study

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/epinet/epi/apps/lab"
	"github.com/epinet/epi/uring"
)

// A Size says how much a study measures.
type Size string

// The sizes. Toy measures next to nothing: it shows that everything works.
const (
	Toy    Size = "toy"
	Quick  Size = "quick"  // about four minutes
	Normal Size = "normal" // about a quarter of an hour
	Full   Size = "full"   // the deck's own figures, hours
)

// A Config says what to measure, and how.
type Config struct {
	Size Size     // default: Normal
	Only []string // names of experiments; default: all
	Max  int      // most connections; default: what open files and the size allow

	// Child makes the command that calls Child with the role in another
	// process, with nothing but its arguments set.
	Child func(role string) *exec.Cmd
	// Progress is called with what is running. It may be nil.
	Progress func(line string)
}

// An experiment measures and puts what it has measured into the bench's result,
// also when it fails in the middle.
type experiment struct {
	name string
	run  func(*bench) error
}

var experiments = []experiment{
	{"conn", (*bench).conn},
	{"performance", (*bench).performance},
	{"performance_2", (*bench).performance2},
	{"idle", (*bench).idle},
	{"pairs", (*bench).pairs},
	{"threads", (*bench).threads},
	{"waiters", (*bench).waiters},
	{"edge_out", (*bench).edgeOut},
	{"rearm", (*bench).rearm},
}

// Names returns the names of the experiments, in the order in which they run.
func Names() []string {
	var names []string
	for _, e := range experiments {
		names = append(names, e.name)
	}
	return names
}

// ErrUnknown: Config.Only names no experiment.
var ErrUnknown = errors.New("there is no such experiment")

// Check refuses a Config that asks for what does not exist.
func (c Config) Check() error {
	for _, name := range c.Only {
		if !slices.Contains(Names(), name) {
			return fmt.Errorf("%q: %w; choose from %s", name, ErrUnknown, strings.Join(Names(), ", "))
		}
	}
	return nil
}

// Run measures. When ctx ends or a child fails, the result has what was
// measured so far and says so in Partial. The error is for a study that could
// not begin.
func Run(ctx context.Context, cfg Config) (*lab.Result, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	if cfg.Size == "" {
		cfg.Size = Normal
	}
	b, err := newBench(ctx, cfg)
	if err != nil {
		return nil, err
	}
	var failed []string
	for i, e := range experiments {
		if len(cfg.Only) > 0 && !slices.Contains(cfg.Only, e.name) {
			continue
		}
		b.name, b.place = e.name, fmt.Sprintf("%d/%d", i+1, len(experiments))
		err := e.run(b)
		if ctx.Err() != nil {
			failed = append(failed, "interrupted during "+e.name)
			break
		}
		if err != nil {
			failed = append(failed, fmt.Sprintf("%s: %v", e.name, err))
		}
	}
	b.result.Partial = strings.Join(failed, "; ")
	b.result.Seconds = time.Since(b.result.Started).Seconds()
	return b.result, nil
}

// A bench is one study under way.
type bench struct {
	ctx    context.Context
	cfg    Config
	result *lab.Result
	sizes  sizes
	most   int    // connections that a pair of processes can have
	limit  string // what limits them
	cpus   []int  // that this process may use
	name   string // of the experiment that runs
	place  string // of it among all
}

func newBench(ctx context.Context, cfg Config) (*bench, error) {
	sizes, ok := sizesOf[cfg.Size]
	if !ok {
		return nil, fmt.Errorf("size %q: choose toy, quick, normal or full", cfg.Size)
	}
	b := &bench{ctx: ctx, cfg: cfg, sizes: sizes, result: &lab.Result{
		Title:   "select, poll and epoll: the study",
		Command: "epi lab study --" + string(cfg.Size),
		Started: time.Now(),
		Machine: lab.ThisMachine(),
	}}
	b.most = int(b.result.Machine.OpenFiles) - spareFiles
	b.limit = fmt.Sprintf("the limit of %d open files for a process", b.result.Machine.OpenFiles)
	if room := b.result.Machine.Ports * sourceAddresses; b.most > room {
		b.most, b.limit = room, fmt.Sprintf("%d ports on each of %d source addresses", b.result.Machine.Ports, sourceAddresses)
	}
	if b.most < 1 {
		return nil, fmt.Errorf("%s leaves no room for connections: raise it with ulimit -n", b.limit)
	}
	if cfg.Max > 0 && cfg.Max > b.most {
		b.note("--max %d: only %d connections fit: %s", cfg.Max, b.most, b.limit)
	}
	if cfg.Max > 0 && cfg.Max < b.most {
		b.most, b.limit = cfg.Max, fmt.Sprintf("--max %d", cfg.Max)
	}
	var err error
	if b.cpus, err = allowedCPUs(); err != nil {
		b.note("server and client are not pinned to CPUs: %v", err)
	} else if len(b.cpus) < 2 {
		b.note("server and client share the only CPU of this machine: times have both in them")
	}
	return b, nil
}

// backends returns those that there are here, and notes what is missing.
func (b *bench) backends() []backend {
	err := probeRing()
	if err == nil {
		return backends
	}
	b.note("io_uring is left out: %v", err)
	return slices.DeleteFunc(slices.Clone(backends), func(k backend) bool { return k.call == backendRing })
}

// probeRing says why there is no io_uring here, if so.
var probeRing = func() error {
	_, err := uring.Probe()
	return err
}

// serverCPU and clientCPU are the CPUs of the children, or anyCPU.
func (b *bench) serverCPU() int {
	if len(b.cpus) == 0 {
		return anyCPU
	}
	return b.cpus[0]
}

func (b *bench) clientCPU() int {
	if len(b.cpus) == 0 {
		return anyCPU
	}
	return b.cpus[len(b.cpus)-1]
}

func (b *bench) note(format string, args ...any) {
	note := fmt.Sprintf(format, args...)
	if !slices.Contains(b.result.Notes, note) {
		b.result.Notes = append(b.result.Notes, note)
	}
}

func (b *bench) progress(format string, args ...any) {
	if b.cfg.Progress != nil {
		b.cfg.Progress(fmt.Sprintf("%s %-13s ", b.place, b.name) + fmt.Sprintf(format, args...))
	}
}

// fit cuts a number of connections to what is possible, and says so.
func (b *bench) fit(conns int) int {
	if conns <= b.most {
		return conns
	}
	b.note("%s: %d connections instead of %d: %s", b.name, b.most, conns, b.limit)
	return b.most
}

// fitAll keeps the numbers that are possible; the largest one is cut.
func (b *bench) fitAll(numbers []int) []int {
	var fit []int
	for _, n := range numbers {
		fit = append(fit, b.fit(n))
	}
	return slices.Compact(fit)
}

// A chart collects the samples of an experiment's series.
type chart struct {
	names []string // in the order of the legend
	lines map[string]map[float64][]float64
}

func newChart() *chart { return &chart{lines: map[string]map[float64][]float64{}} }

func (c *chart) add(series string, x, sample float64) {
	line := c.lines[series]
	if line == nil {
		line = map[float64][]float64{}
		c.lines[series] = line
		c.names = append(c.names, series)
	}
	line[x] = append(line[x], sample)
}

// into gives an experiment its series.
func (c *chart) into(e lab.Experiment) lab.Experiment {
	for _, name := range c.names {
		s := lab.Series{Name: name}
		for x, samples := range c.lines[name] {
			s.Points = append(s.Points, lab.NewPoint(x, samples))
		}
		slices.SortFunc(s.Points, func(a, b lab.Point) int {
			if a.X < b.X {
				return -1
			}
			return 1
		})
		e.Series = append(e.Series, s)
	}
	return e
}

// publish puts a chart into the result, if anything was measured, with what
// observe sees in it.
func (b *bench) publish(c *chart, e lab.Experiment, observe func(lab.Experiment) string) {
	if len(c.names) == 0 {
		return
	}
	e = c.into(e)
	e.Observed = observe(e)
	b.result.Experiments = append(b.result.Experiments, e)
}

// A grid collects the samples of a table.
type grid struct {
	rows  []string
	cells map[string]map[string][]float64 // by row and column
}

func newGrid() *grid { return &grid{cells: map[string]map[string][]float64{}} }

func (g *grid) add(row, column string, sample float64) {
	cells := g.cells[row]
	if cells == nil {
		cells = map[string][]float64{}
		g.cells[row] = cells
		g.rows = append(g.rows, row)
	}
	cells[column] = append(cells[column], sample)
}

// publishTable puts a grid into the result. Rows that miss a column, because
// the study was interrupted, are absent.
func (b *bench) publishTable(g *grid, t lab.Table) {
	for _, name := range g.rows {
		row := lab.Row{Name: name}
		for _, column := range t.Columns {
			samples := g.cells[name][column.Name]
			if len(samples) == 0 {
				row = lab.Row{Name: name, Absent: "not measured: the study ended before"}
				break
			}
			row.Cells = append(row.Cells, lab.NewPoint(0, samples))
		}
		t.Rows = append(t.Rows, row)
	}
	if len(t.Rows) > 0 {
		b.result.Tables = append(b.result.Tables, t)
	}
}
