package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/epinet/epi/apps/lab"
	labreport "github.com/epinet/epi/apps/lab/report"
	"github.com/epinet/epi/apps/lab/study"
)

const labStudyHelp = `Compare select, poll and epoll (level, edge and one-shot): the experiments of
the deck from which epi comes, on the package poll and without the engine.

  conn           time from connect to accepted, by connections already open
  performance    send and receive: the program echoes whatever it reads
  performance_2  send and receive with a record for each connection, which is
                 found by a linear scan, in a map or by its slot
  idle           cost of one active connection among idle ones
  pairs          the libevent benchmark: socket pairs in a ring
  threads        boss and workers: how many workers for which handler
  waiters        threads waiting for one descriptor: how many wake
  edge_out       EPOLLOUT added and removed by hand against edge
  rearm          what is reported of a signal, of a half-read pipe and of a
                 closed descriptor

Server and client are processes of their own, on a CPU each. Each point is the
median of rounds in which all take turns, with minimum and maximum.

The directory given by --out gets result.json, index.html and a PNG for each
chart. Interrupted or out of resources, the study keeps what it has measured.

Exit codes: 0 done, 1 failed or interrupted, 2 called wrongly.`

const labStudyExample = `  epi lab study --quick
  epi lab study --only performance_2,idle --out /tmp/study
  epi lab study --full --max 18000`

// A studyRun is the flags of a command that runs a study.
type studyRun struct {
	config      study.Config
	quick, full bool
	toy         bool
	out         string
}

// resultName is the file of a result in its directory.
const resultName = "result.json"

func labStudyCommand() *cobra.Command {
	var s studyRun
	cmd := &cobra.Command{
		Use:     "study",
		Short:   "Compare select, poll and epoll",
		Long:    labStudyHelp,
		Example: labStudyExample,
		Args:    unexpectedArgument,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return s.study(cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.BoolVar(&s.quick, "quick", false, "about four minutes: fewer rounds and messages")
	flags.BoolVar(&s.full, "full", false, "the deck's own figures: hours")
	flags.BoolVar(&s.toy, "toy", false, "next to nothing: shows that everything works")
	flags.StringSliceVar(&s.config.Only, "only", nil, "`names` of experiments, separated by commas (default all)")
	flags.Var(countFrom1(&s.config.Max), "max", "`number` of connections at most (default what the experiment is for, and open files allow)")
	flags.StringVar(&s.out, "out", "epi-lab-study", "`directory` for the results")
	_ = flags.MarkHidden("toy") // fails only for a flag that does not exist
	cmd.MarkFlagsMutuallyExclusive("quick", "full", "toy")
	return cmd
}

func (s *studyRun) size() study.Size {
	switch {
	case s.quick:
		return study.Quick
	case s.full:
		return study.Full
	case s.toy:
		return study.Toy
	}
	return study.Normal
}

func (s *studyRun) study(stdout, stderr io.Writer) error {
	s.config.Size = s.size()
	if err := s.config.Check(); err != nil {
		return fmt.Errorf("--only %w", err)
	}
	// Before the measuring, which takes long.
	if err := os.MkdirAll(s.out, 0o755); err != nil {
		return failure{fmt.Errorf("--out %s: %w; choose a directory that can be written", s.out, err)}
	}
	result, err := runStudy(s.config, stderr)
	if err != nil {
		return failure{err}
	}
	result.Command = s.command()
	if len(result.Experiments)+len(result.Tables) == 0 {
		return failure{fmt.Errorf("nothing was measured: %s", result.Partial)}
	}
	result.Claims = study.Claims(result)
	if err := labreport.Write(s.out, result); err != nil {
		return failure{fmt.Errorf("--out %s: %w; choose a directory that can be written", s.out, err)}
	}
	printObserved(stdout, result)
	fmt.Fprintf(stdout, "report       %s\nresult       %s\n", filepath.Join(s.out, "index.html"), filepath.Join(s.out, resultName))
	if result.Partial != "" {
		return failure{fmt.Errorf("the study is partial: %s; what was measured is in %s", result.Partial, s.out)}
	}
	return nil
}

// command is the command line that asks for the same again.
func (s *studyRun) command() string {
	line := "epi lab study"
	if s.config.Size != study.Normal {
		line += " --" + string(s.config.Size)
	}
	if len(s.config.Only) > 0 {
		line += " --only " + strings.Join(s.config.Only, ",")
	}
	if s.config.Max > 0 {
		line += fmt.Sprintf(" --max %d", s.config.Max)
	}
	return line
}

// printObserved prints what the experiments show.
func printObserved(out io.Writer, r *lab.Result) {
	for _, e := range r.Experiments {
		fmt.Fprintf(out, "%s\n  %s\n", e.Title, e.Observed)
	}
	for _, note := range r.Notes {
		fmt.Fprintf(out, "note         %s\n", note)
	}
	fmt.Fprintf(out, "duration     %v\n", time.Duration(r.Seconds*float64(time.Second)).Round(time.Second))
}

// runStudy runs a study until it is done or a signal ends it. A second signal
// ends the program at once; the children end with it.
func runStudy(config study.Config, stderr io.Writer) (*lab.Result, error) {
	if err := raiseOpenFiles(); err != nil {
		return nil, err
	}
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program, to run parts of it as other processes: %w", err)
	}
	ctx, end := interruptibleOnce()
	defer end()
	config.Child = func(role string) *exec.Cmd { return exec.Command(program, "lab", "child", role) }
	p := &progress{out: stderr, terminal: isTerminal(stderr)}
	config.Progress = p.show
	defer p.clear()
	return study.Run(ctx, config)
}

// A progress is a line on a terminal that the next one replaces. Elsewhere it
// is a line for each experiment.
type progress struct {
	out      io.Writer
	terminal bool

	mu   sync.Mutex
	last string // guarded by mu; the experiment that was shown
}

// progressWidth keeps the line from wrapping.
const progressWidth = 79

func (p *progress) show(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.terminal {
		text := []rune(line)
		_, _ = fmt.Fprintf(p.out, "\r\x1b[K%s", string(text[:min(len(text), progressWidth)]))
		return
	}
	place, _, _ := strings.Cut(line, " ")
	if place != p.last {
		_, _ = fmt.Fprintln(p.out, line)
	}
	p.last = place
}

func (p *progress) clear() {
	if p.terminal {
		_, _ = io.WriteString(p.out, "\r\x1b[K")
	}
}

// labChildCommand is a part of a study in a process of its own.
func labChildCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "child ROLE",
		Short:  "A part of a study, which commands it on standard input",
		Hidden: true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("child takes one role: server or client")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := raiseOpenFiles(); err != nil {
				return failure{err}
			}
			return failure{study.Child(args[0], os.Stdin, cmd.OutOrStdout())}
		},
	}
}
