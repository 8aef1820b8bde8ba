package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/epinet/epi/apps/lab/cluster"
)

// A clusterCost is the command's measurement.
type clusterCost struct {
	nodes  int
	load   cluster.Load
	rounds int
	old    string
}

func labClusterCostCommand() *cobra.Command {
	var c clusterCost
	cmd := &cobra.Command{
		Use:   "cost",
		Short: "Measure what a delivery costs on several nodes, beside one machine alone",
		Long: `Measure what a delivery costs on several nodes, beside one machine alone.
Both get the same clients in the same channels, who say the same number of lines a second:
all of them run all the time, and are measured in turn. What counts is the CPU time of all threads of all nodes for a line that comes to a client,
and how long a line is under way: to clients of the same node and to those of others.
Only Linux says what the nodes use.`,
		Example: `  epi lab cluster cost
  epi lab cluster cost --old ./epi-before --rounds 5`,
		Args: unexpectedArgument,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.validate(); err != nil {
				return err
			}
			ctx, end := interruptible()
			defer end()
			if err := c.measure(ctx, cmd.OutOrStdout()); err != nil {
				return failure{err}
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.IntVar(&c.nodes, "nodes", 3, "`number` of nodes beside the one alone")
	flags.IntVar(&c.load.Clients, "clients", 99, "`number` of clients on all nodes together")
	flags.IntVar(&c.load.Channels, "channels", 3, "`number` of channels")
	flags.IntVar(&c.load.In, "in", 0, "`number` of channels that each client is in; 0: all")
	flags.IntVar(&c.load.Rate, "rate", 200, "`lines` a second, of all clients together")
	flags.DurationVar(&c.load.For, "for", 5*time.Second, "`duration` of a measurement")
	flags.IntVar(&c.rounds, "rounds", 3, "`number` of rounds")
	flags.StringVar(&c.old, "old", "", "another build of this `program`, measured in the same rounds")
	return cmd
}

func (c *clusterCost) validate() error {
	switch {
	case c.nodes < 2 || c.nodes > 9:
		return fmt.Errorf("--nodes %d: write a number from 2 to 9", c.nodes)
	case c.load.In < 0 || c.load.In > c.load.Channels:
		return fmt.Errorf("--in %d: write a number from 0 to that of --channels", c.load.In)
	case c.load.Clients < 1, c.load.Channels < 1, c.load.Rate < 1, c.rounds < 1, c.load.For <= 0:
		return errors.New("--clients, --channels, --rate, --rounds and --for: write what is above 0")
	}
	return nil
}

// A costSide is what is measured: a number of nodes of one program.
type costSide struct {
	program string
	nodes   int
	site    *cluster.Site
	idle    time.Duration // the share of a line in the CPU time that idle nodes use
	dir     string
}

func (s *costSide) close() error {
	if s.site != nil {
		s.site.Close()
	}
	return os.RemoveAll(s.dir)
}

func (c *clusterCost) measure(ctx context.Context, out io.Writer) (err error) {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	programs := []string{program}
	if c.old != "" {
		programs = []string{c.old, program}
	}
	var sides []*costSide
	defer func() {
		for _, s := range sides {
			err = errors.Join(err, s.close())
		}
	}()
	for _, program := range programs {
		for _, nodes := range []int{1, c.nodes} {
			s := &costSide{program: program, nodes: nodes}
			sides = append(sides, s)
			if err := c.open(ctx, s); err != nil {
				return err
			}
		}
	}
	_, _ = fmt.Fprintf(out, "%d clients, %d in each channel, %d lines a second\n", c.load.Clients, c.load.Members(), c.load.Rate)
	for _, s := range sides {
		idle, err := s.site.Idle(ctx)
		if err != nil {
			return err
		}
		s.idle = time.Duration(idle * float64(time.Second) / float64(c.load.Rate))
		_, _ = fmt.Fprintf(out, "%s, %d nodes, while nobody says anything: %.1f%% of a CPU\n", filepath.Base(s.program), s.nodes, 100*idle)
	}
	ratios, above, more := map[string][]float64{}, map[string][]float64{}, map[string][]float64{}
	for round := range c.rounds {
		var alone *cluster.Cost
		var aloneIdle time.Duration
		for _, s := range sides {
			cost, err := s.site.Measure(ctx)
			if err != nil {
				return err
			}
			if s.nodes == 1 {
				alone, aloneIdle = cost, s.idle
			}
			ratio := float64(cost.PerDelivery()) / float64(max(alone.PerDelivery(), 1))
			_, _ = fmt.Fprintf(out, "round %d, %s, %d nodes: %.2f µs a delivery (%.2f ×) of %d, %.0f µs a line, %.0f%% of a CPU; p50 and p99 in ms: same node %.1f and %.1f, other nodes %.1f and %.1f\n",
				round+1, filepath.Base(s.program), s.nodes, micros(cost.PerDelivery()), ratio, cost.Deliveries, micros(cost.PerLine()), 100*cost.CPU.Seconds()/c.load.For.Seconds(),
				micros(cluster.Quantile(cost.Near, 0.5))/1000, micros(cluster.Quantile(cost.Near, 0.99))/1000,
				micros(cluster.Quantile(cost.Far, 0.5))/1000, micros(cluster.Quantile(cost.Far, 0.99))/1000)
			if s.nodes > 1 {
				ratios[s.program] = append(ratios[s.program], ratio)
				above[s.program] = append(above[s.program], float64(cost.PerLine()-s.idle)/float64(max(alone.PerLine()-aloneIdle, 1)))
				more[s.program] = append(more[s.program], micros(cost.PerLine()-s.idle-alone.PerLine()+aloneIdle))
			}
		}
	}
	for _, program := range programs {
		_, _ = fmt.Fprintf(out, "%s: %.2f × in the median of the rounds; beyond what idle nodes use %.2f ×, and %.0f µs more for a line\n",
			filepath.Base(program), median(ratios[program]), median(above[program]), median(more[program]))
	}
	return nil
}

func median(of []float64) float64 {
	slices.Sort(of)
	return (of[(len(of)-1)/2] + of[len(of)/2]) / 2
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// open starts a side; one node is a chat without a cluster.
func (c *clusterCost) open(ctx context.Context, s *costSide) (err error) {
	check := &clusterCheck{run: cluster.Config{Nodes: s.nodes}, secret: rand.Text(), sets: []string{"limits.per-address=0"}}
	if check.dir, err = os.MkdirTemp("", "epi-cluster"); err != nil {
		return err
	}
	s.dir = check.dir
	check.run.Ready = check.ready
	check.run.Command = func(p cluster.Place) *exec.Cmd { return check.command(s.program, p, io.Discard) }
	if s.nodes == 1 {
		check.run.Ready = accepts
		check.run.Command = func(p cluster.Place) *exec.Cmd { return check.alone(s.program, p) }
	}
	s.site, err = cluster.Open(ctx, check.run, c.load)
	return err
}

// alone serves a chat that is no node, and else like the nodes.
func (c *clusterCheck) alone(program string, p cluster.Place) *exec.Cmd {
	args := []string{"chat", "--data", filepath.Join(c.dir, p.Name), "--admin", p.Admin, "--listen", "irc://" + p.IRC}
	for _, set := range c.settings() {
		args = append(args, "--set", set)
	}
	cmd := exec.Command(program, args...)
	ownGroup(cmd)
	return cmd
}

// accepts waits until a chat takes connections.
func accepts(ctx context.Context, p cluster.Place) error {
	for {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", p.IRC)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(askEvery):
		}
	}
}
