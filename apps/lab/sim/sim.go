// Package sim runs epi's simulation, whose tests play the engine and its drivers against
// a kernel made of seeds, and makes a result of it: how many schedules were played, what
// went wrong in them, what the checks looked at, which statements that reached, and how
// many planted faults it has caught. docs/simulation.md describes the simulation.
package sim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/epinet/epi/apps/lab"
)

// A Config says what to play. The zero value of a field chooses the default.
type Config struct {
	Sources  string        // a directory of the module epi, or of one that requires it; default: the current one
	Only     []string      // names of programs; default all
	For      time.Duration // shared by the levels, and in each by its tests
	Seeds    int           // of each test, in place of For
	First    uint64        // seed
	Planted  string        // the file that go run ./internal/plant -o has written; empty: none
	Progress func(string)  // is called with what is being done
}

// A program is a test of the simulation.
type program struct {
	name  string
	title string
	level int // 0: it has no seeds, but goes through all orders
	pkg   string
	tests string // pattern
	parts int    // tests with seeds of their own, which share its time
}

// programs are all of them.
var programs = []program{
	{name: "engine", title: "whole engines", level: 1, pkg: ".", tests: "^TestSim_Engine$", parts: 1},
	{name: "websocket", title: "WebSocket", level: 1, pkg: "ws", tests: "^TestSim_WebSocket$", parts: 1},
	{name: "completion", title: "completion driver", level: 2, pkg: "internal/driver", tests: "^TestSim_Completion$", parts: 1},
	{name: "readiness", title: "readiness driver", level: 3, pkg: "internal/driver", tests: "^TestSim_Readiness$", parts: 6},
	{name: "sleep", title: "how a loop sleeps", pkg: ".", tests: "^TestSim_Sleep_"},
}

// levels are how many there are; the first is 1.
const levels = 3

// A Result is what a run has shown.
type Result struct {
	lab.Result
	Findings []string // what failed, each with the command that plays it again
	Summary  []Line   // of the result, for a terminal
}

// A Line is a name and what is said of it.
type Line struct{ Name, Text string }

// Check says what is wrong with the names in c.
func (c Config) Check() error {
	var names []string
	for _, p := range programs {
		names = append(names, p.name)
	}
	for _, name := range c.Only {
		if !slices.Contains(names, name) {
			return fmt.Errorf("unknown program %q: choose %s", name, strings.Join(names, ", "))
		}
	}
	return nil
}

// Run builds the simulation's tests and runs them. When ctx ends, the result is what was
// played so far, marked as partial.
func Run(ctx context.Context, c Config) (*Result, error) {
	s := &study{Config: c, coverage: coverage{}}
	if s.Progress == nil {
		s.Progress = func(string) {}
	}
	var err error
	if s.planted, err = readPlanted(c.Planted); err != nil {
		return nil, err
	}
	if s.module, err = findModule(ctx, cmp.Or(c.Sources, ".")); err != nil {
		return nil, err
	}
	if s.dir, err = os.MkdirTemp("", "epi-sim-"); err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(s.dir) }()
	s.result.Title, s.result.Started, s.result.Machine = "The simulation", time.Now(), lab.ThisMachine()
	if err := s.runAll(ctx); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		s.result.Partial = "interrupted"
	}
	s.result.Seconds = time.Since(s.result.Started).Seconds()
	s.describe()
	return &s.result, nil
}

// A study is one run of Run.
type study struct {
	Config
	module   module
	dir      string // for binaries and what they write
	planted  *planted
	played   []played
	orders   int // of how a loop sleeps
	coverage coverage
	result   Result
}

// chosen returns the programs to run.
func (s *study) chosen() []program {
	return slices.DeleteFunc(slices.Clone(programs), func(p program) bool {
		return len(s.Only) > 0 && !slices.Contains(s.Only, p.name)
	})
}

// runAll runs the programs one after the other, until ctx ends. A program that finds
// something does not keep the others from running.
func (s *study) runAll(ctx context.Context) error {
	chosen := s.chosen()
	for i, p := range chosen {
		s.Progress(fmt.Sprintf("%d/%d building %s", i+1, len(chosen), p.name))
		binary, err := s.module.build(ctx, p.pkg, s.dir)
		if err == nil {
			s.Progress(fmt.Sprintf("%d/%d playing %s", i+1, len(chosen), p.name))
			err = s.run(ctx, binary, p, chosen)
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

// run runs one program.
func (s *study) run(ctx context.Context, binary string, p program, chosen []program) error {
	record, profile := filepath.Join(s.dir, p.name+".json"), filepath.Join(s.dir, p.name+".cover")
	args := []string{"-test.run", p.tests, "-test.v", "-test.timeout", "0", "-test.parallel", "1", "-test.coverprofile", profile}
	if p.level > 0 {
		args = append(args, "-record", record, "-first", fmt.Sprint(s.First))
		args = append(args, s.bound(p, chosen)...)
	}
	out, failed := s.module.test(ctx, binary, p.pkg, args)
	if ctx.Err() != nil {
		return nil
	}
	if err := s.coverage.read(profile); err != nil && failed == nil {
		return err
	}
	if p.level == 0 {
		s.orders = ordersOf(out)
		if failed != nil {
			s.result.Findings = append(s.result.Findings, out)
		}
		return nil
	}
	if strings.Contains(out, "flag provided but not defined") {
		return fmt.Errorf("the sources in %s do not fit this program: update them, or build it from them", s.module.dir)
	}
	records, err := readRecords(record)
	if err != nil {
		return errors.Join(err, failed, errors.New(out))
	}
	for _, r := range records {
		r.program = p
		s.played = append(s.played, r)
		if r.Failed != "" {
			s.result.Findings = append(s.result.Findings, r.Test+": "+r.Failed)
		}
	}
	return nil
}

// bound returns the flags that end a program: the levels that were chosen share the time
// evenly, and so do the tests of a level.
func (s *study) bound(p program, chosen []program) []string {
	if s.Seeds > 0 {
		return []string{"-seeds", fmt.Sprint(s.Seeds)}
	}
	shares, parts := map[int]bool{}, 0
	for _, other := range chosen {
		if other.level > 0 {
			shares[other.level] = true
		}
		if other.level == p.level {
			parts += other.parts
		}
	}
	return []string{"-for", (s.For / time.Duration(len(shares)*parts)).String()}
}
