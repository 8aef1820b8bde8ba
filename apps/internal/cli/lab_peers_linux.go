package cli

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/epinet/epi/apps/lab"
	"github.com/epinet/epi/apps/lab/bench"
	labreport "github.com/epinet/epi/apps/lab/report"
)

const labPeersHelp = `Run servers side by side. Echo: epi with each driver and both models, Go's net,
cloudwego/netpoll, and C programs on epoll, io_uring, libuv and libevent; for
TLS beside net with crypto/tls, for WebSocket beside gorilla/websocket and
coder/websocket, for datagrams beside net. They are built from apps/lab/peers with
the tools of this machine. Chat: epi chat, InspIRCd and ngIRCd of the system's
packages, configured for the run without throttles. Programs: those in examples
beside redis-server (loaded by redis-benchmark), mosquitto, fasthttp (by wrk) and
haproxy. A server that cannot be built or is not installed is listed with what it
lacks.

Server and load generator run on a CPU each; the servers take turns in every
round. For each workload: the server's CPU time per request (of chat and MQTT: per
line or packet that a member of a channel gets), requests per second, latency and context
switches, as medians with minimum and maximum and as ratios to the C program on
epoll, or to the first peer of the scheme; then memory per idle connection, and
system calls per request where strace is installed.

Exit codes: 0 done, 1 failed or interrupted, 2 called wrongly.`

const labPeersExample = `  epi lab peers --quick
  epi lab peers --only chat,chat-busy,chat-rooms
  epi lab peers --only redis-get,redis-set,mqtt,http,proxy
  epi lab peers --only small,medium --servers "C epoll,epi epoll-edge,Go net"`

// A peersRun is the flags of epi lab peers.
type peersRun struct {
	config bench.Config
	quick  bool
	out    string
}

func labPeersCommand() *cobra.Command {
	var p peersRun
	cmd := &cobra.Command{
		Use:     "peers",
		Short:   "Compare epi with other servers",
		Long:    labPeersHelp,
		Example: labPeersExample,
		Args:    unexpectedArgument,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.run(cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.BoolVar(&p.quick, "quick", false, "three short rounds")
	flags.Var(count(&p.config.Rounds), "rounds", "`number` of rounds (default 5)")
	flags.Var(limit(&p.config.Duration), "duration", "`duration` measured in each run (default 1s)")
	flags.StringSliceVar(&p.config.Only, "only", nil, "`names` of workloads, separated by commas (default all)")
	flags.StringSliceVar(&p.config.Servers, "servers", nil, "`names` of servers, separated by commas (default all)")
	flags.Var(count(&p.config.Conns), "idle-conns", "`number` of connections for the table of memory (default 10000)")
	flags.StringVar(&p.config.Sources, "sources", "", "`directory` of a clone of epi, or of its apps/lab/peers (default: looked for upwards)")
	flags.StringVar(&p.out, "out", "epi-lab-peers", "`directory` for the results")
	cmd.MarkFlagsMutuallyExclusive("quick", "rounds")
	cmd.MarkFlagsMutuallyExclusive("quick", "duration")
	cmd.AddCommand(labPeersWorldCommand())
	return cmd
}

// The rounds of --quick.
const (
	quickRounds   = 3
	quickDuration = 300 * time.Millisecond
)

func (p *peersRun) run(stdout, stderr io.Writer) error {
	if err := p.prepare(); err != nil {
		return err
	}
	// Before the measuring, which takes long.
	if err := os.MkdirAll(p.out, 0o755); err != nil {
		return failure{fmt.Errorf("--out %s: %w; choose a directory that can be written", p.out, err)}
	}
	ctx, end := interruptibleOnce()
	defer end()
	live := &progress{out: stderr, terminal: isTerminal(stderr)}
	p.config.Progress = live.show
	result, err := bench.Run(ctx, p.config)
	live.clear()
	if err != nil {
		return err
	}
	result.Command = p.command()
	return p.keep(stdout, result)
}

// prepare fills in what the flags leave open.
func (p *peersRun) prepare() error {
	if p.quick {
		p.config.Rounds, p.config.Duration = quickRounds, quickDuration
	}
	if err := p.config.Check(); err != nil {
		return fmt.Errorf("--only: %w", err)
	}
	if err := raiseOpenFiles(); err != nil {
		return failure{err}
	}
	program, err := os.Executable()
	if err != nil {
		return failure{fmt.Errorf("find this program, to run it as other processes: %w", err)}
	}
	p.config.Self = program
	if p.config.Sources, err = bench.FindSources(p.config.Sources); err != nil {
		return failure{err}
	}
	return nil
}

func (p *peersRun) keep(stdout io.Writer, result *lab.Result) error {
	if err := labreport.Write(p.out, result); err != nil {
		return failure{fmt.Errorf("--out %s: %w; choose a directory that can be written", p.out, err)}
	}
	if err := labreport.Text(stdout, result); err != nil {
		return failure{err}
	}
	fmt.Fprintf(stdout, "\nreport       %s\nresult       %s\n", filepath.Join(p.out, "index.html"), filepath.Join(p.out, resultName))
	if result.Partial != "" {
		return failure{fmt.Errorf("the comparison is partial: %s; what was measured is in %s", result.Partial, p.out)}
	}
	return nil
}

// command is the command line that asks for the same again.
func (p *peersRun) command() string {
	line := "epi lab peers"
	switch {
	case p.quick:
		line += " --quick"
	case p.config.Rounds > 0:
		line += fmt.Sprintf(" --rounds %d", p.config.Rounds)
	}
	if p.config.Duration > 0 && !p.quick {
		line += " --duration " + p.config.Duration.String()
	}
	if len(p.config.Only) > 0 {
		line += " --only " + strings.Join(p.config.Only, ",")
	}
	if len(p.config.Servers) > 0 {
		line += fmt.Sprintf(" --servers %q", strings.Join(p.config.Servers, ","))
	}
	return line
}
