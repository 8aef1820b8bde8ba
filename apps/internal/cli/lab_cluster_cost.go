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
Both get the same clients in the same channels, who say the same number of lines a second.
What counts is the CPU time of all threads of all nodes for a line that comes to a client,
and how long a line is under way: to clients of the same node and to those of others.
Rounds are interleaved. Only Linux says what the nodes use.`,
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
	flags.IntVar(&c.load.Channels, "channels", 3, "`number` of channels, with all clients in each")
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
	case c.load.Clients < 1, c.load.Channels < 1, c.load.Rate < 1, c.rounds < 1, c.load.For <= 0:
		return errors.New("--clients, --channels, --rate, --rounds and --for: write what is above 0")
	}
	return nil
}

func (c *clusterCost) measure(ctx context.Context, out io.Writer) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	programs := []string{program}
	if c.old != "" {
		programs = []string{c.old, program}
	}
	for round := range c.rounds {
		for _, program := range programs {
			var alone time.Duration
			for _, nodes := range []int{1, c.nodes} {
				cost, err := c.once(ctx, program, nodes)
				if err != nil {
					return err
				}
				if nodes == 1 {
					alone = max(cost.PerDelivery(), 1)
				}
				_, _ = fmt.Fprintf(out, "round %d, %s, %d nodes: %.2f µs a delivery (%.2f ×) of %d; p50 and p99 in ms: same node %.1f and %.1f, other nodes %.1f and %.1f\n",
					round+1, filepath.Base(program), nodes, micros(cost.PerDelivery()), float64(cost.PerDelivery())/float64(alone), cost.Deliveries,
					micros(cluster.Quantile(cost.Near, 0.5))/1000, micros(cluster.Quantile(cost.Near, 0.99))/1000,
					micros(cluster.Quantile(cost.Far, 0.5))/1000, micros(cluster.Quantile(cost.Far, 0.99))/1000)
			}
		}
	}
	return nil
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// once measures a number of nodes; one is a chat without a cluster.
func (c *clusterCost) once(ctx context.Context, program string, nodes int) (cost *cluster.Cost, err error) {
	check := &clusterCheck{run: cluster.Config{Nodes: nodes}, secret: rand.Text(), sets: []string{"limits.per-address=0"}}
	if check.dir, err = os.MkdirTemp("", "epi-cluster"); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(check.dir)) }()
	check.run.Ready = check.ready
	check.run.Command = func(p cluster.Place) *exec.Cmd { return check.command(program, p, io.Discard) }
	if nodes == 1 {
		check.run.Ready = accepts
		check.run.Command = func(p cluster.Place) *exec.Cmd { return check.alone(program, p) }
	}
	return cluster.Measure(ctx, check.run, c.load)
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
