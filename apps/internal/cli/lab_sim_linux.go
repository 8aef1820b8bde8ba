package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	labreport "github.com/epinet/epi/apps/lab/report"
	"github.com/epinet/epi/apps/lab/sim"
)

const labSimHelp = `Play the simulation: the engine and its drivers against a kernel, peers and a clock
that are made of seeds. It is tests in the sources of epi, which are built with the go
command.

  engine      level 1: whole engines
  websocket   level 1: WebSocket servers and clients
  completion  level 2: the completion driver on an io_uring in memory
  readiness   level 3: the readiness driver on a poller in memory: level, edge,
              one-shot, with workers
  sleep       how a loop sleeps and is woken, in all orders

The page has the number of schedules, what went wrong in them, what the checks looked
at, the statements that were reached and, of a file that go run ./internal/plant -o
has written, how many planted faults were caught. The directory given by --out gets
result.json, index.html and a PNG for each chart.

Exit codes: 0 nothing was found, 1 something was, or the run failed or was interrupted,
2 called wrongly.`

const labSimExample = `  epi lab sim --for 1m
  epi lab sim --only engine --seeds 100000 --first 5000000
  epi lab sim --planted plant.json --out /tmp/sim`

// A simRun is the flags of epi lab sim.
type simRun struct {
	config sim.Config
	out    string
}

func labSimCommand() *cobra.Command {
	var s simRun
	cmd := &cobra.Command{
		Use:     "sim",
		Short:   "Play the engine against a kernel made of seeds",
		Long:    labSimHelp,
		Example: labSimExample,
		Args:    unexpectedArgument,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return s.run(cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.DurationVar(&s.config.For, "for", time.Minute, "`duration`, which the levels share, and in each level its tests")
	flags.Var(countFrom1(&s.config.Seeds), "seeds", "`number` of seeds of each test, in place of --for")
	flags.Uint64Var(&s.config.First, "first", 0, "the first `seed`")
	flags.StringSliceVar(&s.config.Only, "only", nil, "`names` of what to play, separated by commas (default all)")
	flags.StringVar(&s.config.Sources, "sources", ".", "`directory` of epi's sources, or of a module that requires it")
	flags.StringVar(&s.config.Planted, "planted", "", "`file` of planted faults' results (default none)")
	flags.StringVar(&s.out, "out", "epi-lab-sim", "`directory` for the results")
	cmd.MarkFlagsMutuallyExclusive("for", "seeds")
	return cmd
}

func (s *simRun) run(stdout, stderr io.Writer) error {
	if err := s.config.Check(); err != nil {
		return fmt.Errorf("--only: %w", err)
	}
	if s.config.For <= 0 {
		return fmt.Errorf("--for %v: write a duration above 0, such as 1m", s.config.For)
	}
	// Before the playing, which takes long.
	if err := os.MkdirAll(s.out, 0o755); err != nil {
		return failure{fmt.Errorf("--out %s: %w; choose a directory that can be written", s.out, err)}
	}
	ctx, end := interruptibleOnce()
	defer end()
	live := &progress{out: stderr, terminal: isTerminal(stderr)}
	s.config.Progress = live.show
	result, err := sim.Run(ctx, s.config)
	live.clear()
	if err != nil {
		return failure{err}
	}
	result.Command = s.command()
	return s.keep(stdout, result)
}

func (s *simRun) keep(stdout io.Writer, result *sim.Result) error {
	if err := labreport.Write(s.out, &result.Result); err != nil {
		return failure{fmt.Errorf("--out %s: %w; choose a directory that can be written", s.out, err)}
	}
	for _, line := range result.Summary {
		fmt.Fprintf(stdout, "%-12s %s\n", line.Name, line.Text)
	}
	fmt.Fprintf(stdout, "report       %s\nresult       %s\n", filepath.Join(s.out, labreport.PageFile), filepath.Join(s.out, resultName))
	for _, finding := range result.Findings {
		fmt.Fprintf(stdout, "\n%s\n", finding)
	}
	switch {
	case len(result.Findings) > 0:
		return failure{errors.New("the simulation has found something: what it is, and how to play it again, is above")}
	case result.Partial != "":
		return failure{fmt.Errorf("the run is partial: %s; what was played is in %s", result.Partial, s.out)}
	}
	return nil
}

// command is the command line that asks for the same again.
func (s *simRun) command() string {
	line := "epi lab sim"
	if s.config.Seeds > 0 {
		line += fmt.Sprintf(" --seeds %d", s.config.Seeds)
	} else {
		line += " --for " + s.config.For.String()
	}
	if s.config.First > 0 {
		line += fmt.Sprintf(" --first %d", s.config.First)
	}
	if len(s.config.Only) > 0 {
		line += " --only " + strings.Join(s.config.Only, ",")
	}
	return line
}
