package cli

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/epinet/epi/apps/chat/config"
	"github.com/epinet/epi/apps/lab/cluster"
)

const labClusterHelp = `Put a chat on several nodes to the test: clients on all of them talk, join, part and
want the same nicks, while nodes are killed, one or all of them, stopped, cut off from
the others, and wait for a slow disk (which needs strace), and NATS changes its leaders.
With --old, the nodes begin as another build, and are replaced one at a time, and back.
With --namespaces, they do not reach each other in one direction, or two of them do not
in both, and packets are lost and late.
Afterwards all nodes must have one history, with everything in it that anybody was
shown; everybody must have seen it in that order; no two nodes may have put messages of a
channel in order at the same time; no nick may have been two clients' at
the same time; nobody may have been put out of a channel, and all nodes must show those as
members who are.

Exit codes: 0 all was so, 1 it was not, or the nodes did not come together again.`

// A clusterCheck is the command's run.
type clusterCheck struct {
	run        cluster.Config
	faults     string
	durability string
	log        string
	old        string

	dir    string
	secret string
	sets   []string // more of the nodes' configuration
}

func labClusterCommand() *cobra.Command {
	var c clusterCheck
	cmd := &cobra.Command{
		Use:   "cluster",
		Short: "Check what a chat on several nodes promises, while nodes fail",
		Long:  labClusterHelp,
		Example: `  epi lab cluster --for 1m
  epi lab cluster --for 1h --faults stop,freeze
  sudo epi lab cluster --namespaces --for 15m
  epi lab cluster --for 5m --faults upgrade,kill --old ./epi-before`,
		Args: unexpectedArgument,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if c.run.Faults, err = cluster.ParseFaults(c.faults, cluster.Possible(c.old != "", c.run.Namespaces)); err != nil {
				return fmt.Errorf("--faults: %w", err)
			}
			if c.durability != "commit" && c.durability != config.ClusterDurability {
				return fmt.Errorf("--durability %q: write commit or %s", c.durability, config.ClusterDurability)
			}
			if c.run.Nodes < 3 || c.run.Nodes > 9 {
				return fmt.Errorf("--nodes %d: write a number from 3 to 9", c.run.Nodes)
			}
			ctx, end := interruptible()
			defer end()
			if err := c.check(ctx, cmd.OutOrStdout()); err != nil {
				return failure{err}
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.DurationVar(&c.run.For, "for", time.Minute, "`duration` of the faults")
	flags.StringVar(&c.faults, "faults", "all", "`faults`: some of kill, stop, cut, freeze, crash, leader, slow, upgrade, oneway, split, loss, delay with commas, or all, or none")
	flags.BoolVar(&c.run.Namespaces, "namespaces", false, "each node is in a network namespace of its own, where packets are lost one by one; needs root")
	flags.StringVar(&c.durability, "durability", "commit", "history.durability of the nodes: `commit` or cluster")
	flags.IntVar(&c.run.Nodes, "nodes", 3, "`number` of nodes")
	flags.IntVar(&c.run.Clients, "clients", 3, "`number` of clients on each node")
	flags.Uint64Var(&c.run.Seed, "seed", 1, "`number` that chooses faults and what clients do; when they do it no seed chooses")
	flags.StringVar(&c.old, "old", "", "another build of this `program`, for upgrades (default none)")
	flags.StringVar(&c.log, "log", "", "`file` for what the nodes say (default none)")
	cmd.AddCommand(labClusterCostCommand())
	return cmd
}

func (c *clusterCheck) check(ctx context.Context, out io.Writer) (err error) {
	defaults, err := config.Read("", nil)
	if err != nil {
		return err
	}
	c.run.Lease = time.Duration(defaults.Cluster.Lease)
	if c.dir, err = os.MkdirTemp("", "epi-cluster"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(c.dir)) }()
	program, err := os.Executable()
	if err != nil {
		return err
	}
	log := io.Discard
	if c.log != "" {
		file, err := os.Create(c.log)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		log = file
	}
	c.secret = rand.Text()
	c.run.Two = c.old != ""
	c.run.Command = func(p cluster.Place) *exec.Cmd {
		if p.Old {
			return c.command(c.old, p, log)
		}
		return c.command(program, p, log)
	}
	c.run.Ready, c.run.StepDown = c.ready, stepDown
	began := time.Now()
	c.run.Logf = func(format string, args ...any) {
		_, _ = fmt.Fprintf(out, "%6.1fs %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}
	result, err := cluster.Run(ctx, c.run)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out, "faults %v; %d messages, %d echoed, %d refused, shown %d times; at most %.1f s without an echo at all\n",
		result.Injected, result.Said, result.Echoed, result.Refused, result.Shown, result.Longest.Seconds())
	for i, fault := range result.Faults {
		if i == 20 {
			_, _ = fmt.Fprintf(out, "and %d more\n", len(result.Faults)-i)
			break
		}
		_, _ = fmt.Fprintln(out, fault)
	}
	if len(result.Faults) > 0 {
		return fmt.Errorf("%d things were not as they must be", len(result.Faults))
	}
	_, err = fmt.Fprintln(out, "one order on all nodes, everything shown is kept, every nick had one user")
	return err
}

func (c *clusterCheck) command(program string, p cluster.Place, log io.Writer) *exec.Cmd {
	n := clusterNode{
		name: p.Name, data: filepath.Join(c.dir, p.Name), listen: []string{"irc://" + p.IRC}, admin: p.Admin,
		address: p.Listen, advertise: p.Advertise, peers: p.Peers, secret: c.secret,
		sets: c.settings(),
	}
	cmd := exec.Command(program, n.arguments()...)
	cmd.Stdout, cmd.Stderr = log, log
	ownGroup(cmd)
	return cmd
}

// settings are what all nodes have beyond the defaults.
func (c *clusterCheck) settings() []string {
	sets := []string{"history.unregistered=true", "throttle.enabled=false"}
	if c.durability != "" {
		sets = append(sets, "history.durability="+c.durability)
	}
	if c.run.Namespaces { // where nobody else is
		sets = append(sets, "cluster.plain=true")
	}
	return append(sets, c.sets...)
}

// askEvery is the time between two looks at a node.
const askEvery = 100 * time.Millisecond

// ready waits until a node knows all others.
func (c *clusterCheck) ready(ctx context.Context, p cluster.Place) error {
	var last error
	for {
		status, err := readStatus(ctx, p)
		if err == nil && status.Valid && len(status.Members) == c.run.Nodes {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("it is no member together with all others: %w", last)
		}
		if last = err; err == nil {
			last = fmt.Errorf("it knows %v, and waits for %q", status.Members, status.Waits)
		}
		select {
		case <-ctx.Done():
		case <-time.After(askEvery):
		}
	}
}

func readStatus(ctx context.Context, p cluster.Place) (s clusterStatus, err error) {
	answer, err := askAdmin(ctx, p, http.MethodGet, "/cluster")
	if err != nil {
		return s, err
	}
	defer answer.Body.Close()
	return s, json.NewDecoder(answer.Body).Decode(&s)
}

// stepDown has NATS choose other leaders.
func stepDown(ctx context.Context, p cluster.Place) error {
	answer, err := askAdmin(ctx, p, http.MethodPost, "/cluster/step-down")
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if text, _ := io.ReadAll(answer.Body); answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", answer.Status, text)
	}
	return nil
}

// askAdmin makes a request to the admin server of a node.
func askAdmin(ctx context.Context, p cluster.Place, method, path string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://"+p.Admin+path, nil)
	if err != nil {
		return nil, err
	}
	client := http.Client{Transport: &http.Transport{DialContext: p.Dial, DisableKeepAlives: true}}
	return client.Do(request)
}
