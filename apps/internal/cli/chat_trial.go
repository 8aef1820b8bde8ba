package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

const trialHelp = `Serve one chat by several nodes on this machine, to see what a cluster does: each is
a process of its own, "epi chat" with a [cluster], and has its own addresses, web
page and data. Kill one, and the others go on; it is started again, unless it was drained.

The first node listens at the given ports, the next ones at those that follow.

SIGINT or SIGTERM drains all nodes and ends.`

// restartAfter is how long a node of a trial that was killed stays away.
const restartAfter = 2 * time.Second

// A trial is a cluster on one machine.
type trial struct {
	nodes  int
	data   string
	irc    int
	web    int
	admin  int
	routes int
	sets   []string

	mu    sync.Mutex // guards what follows
	out   io.Writer
	ended bool
	procs []*exec.Cmd // by node, nil while it is away
}

func chatClusterCommand() *cobra.Command {
	var t trial
	cmd := &cobra.Command{
		Use:     "cluster",
		Short:   "Try a chat on several nodes, all on this machine",
		Long:    trialHelp,
		Example: "  epi chat cluster --nodes 3",
		Args:    unexpectedArgument,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if t.nodes != 1 && (t.nodes < 3 || t.nodes > 9) {
				return fmt.Errorf("--nodes %d: write 1, or from 3 to 9: two bear no failure", t.nodes)
			}
			if t.data == "" {
				own, err := ownData()
				if err != nil {
					return failure{err}
				}
				t.data = own + "-cluster"
			}
			t.out = cmd.OutOrStdout()
			if err := t.run(); err != nil {
				return failure{err}
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.IntVar(&t.nodes, "nodes", 3, "`number` of nodes")
	flags.StringVar(&t.data, "data", "", "`directory` for what lasts, of all nodes (default epi-chat-cluster where the system keeps a user's data)")
	flags.IntVar(&t.irc, "irc-port", 6667, "`port` of the first node for IRC")
	flags.IntVar(&t.web, "web-port", 8067, "`port` of the first node for browsers")
	flags.IntVar(&t.admin, "admin-port", 9067, "`port` of the first node for /cluster, /live, /metrics and so on")
	flags.IntVar(&t.routes, "node-port", 6222, "`port` of the first node for the other nodes")
	flags.StringArrayVar(&t.sets, "set", nil, "`KEY=VALUE` of the configuration, for all nodes; repeatable")
	return cmd
}

// name is a node's: a, b, c and so on.
func (t *trial) name(node int) string { return string(rune('a' + node)) }

// A clusterNode is a node that another command starts as a process.
type clusterNode struct {
	name      string
	data      string
	listen    []string
	admin     string
	address   string // for the other nodes
	advertise string
	peers     []string
	secret    string   // of the cloaks
	sets      []string // more of the configuration
}

// arguments are those of the command that serves a node.
func (n clusterNode) arguments() []string {
	args := []string{"chat", "--cluster", "--data", n.data, "--admin", n.admin}
	for _, address := range n.listen {
		args = append(args, "--listen", address)
	}
	sets := []string{
		"server.name=" + n.name + ".localhost",
		"users.cloak-secret=" + n.secret,
		"cluster.node=" + n.name,
		"cluster.listen=" + n.address,
		"cluster.advertise=" + n.advertise,
		"cluster.peers=" + strings.Join(n.peers, ","),
	}
	for _, set := range append(sets, n.sets...) {
		args = append(args, "--set", set)
	}
	return args
}

// node is one of the trial's.
func (t *trial) node(i int, secret string) clusterNode {
	at := func(first, i int) string { return fmt.Sprintf("127.0.0.1:%d", first+i) }
	n := clusterNode{
		name: t.name(i), data: filepath.Join(t.data, t.name(i)),
		listen: []string{"irc://" + at(t.irc, i), "ws://" + at(t.web, i)}, admin: at(t.admin, i),
		address: at(t.routes, i), secret: secret, sets: t.sets,
	}
	for other := range t.nodes {
		if other != i {
			n.peers = append(n.peers, at(t.routes, other))
		}
	}
	return n
}

// secret is that of the nodes' cloaks, which must be the same.
func (t *trial) secret() (string, error) {
	if err := os.MkdirAll(t.data, 0o700); err != nil {
		return "", fmt.Errorf("--data: %w", err)
	}
	secret, err := keptCloakSecret(t.data)
	return string(secret), err
}

func (t *trial) run() error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	secret, err := t.secret()
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	t.procs = make([]*exec.Cmd, t.nodes)
	stop := make(chan struct{})
	nodes := make(chan error, t.nodes)
	var running sync.WaitGroup
	for node := range t.nodes {
		running.Go(func() { nodes <- t.keep(node, program, secret, stop) })
	}
	err = t.await(signals, nodes)
	close(stop)
	t.end()
	ended := make(chan struct{})
	go func() { running.Wait(); close(ended) }()
	for {
		select {
		case <-signals:
			t.end() // their second one
		case <-ended:
			return err
		}
	}
}

// await waits for a signal, for a node that has failed, or until all have ended.
func (t *trial) await(signals <-chan os.Signal, nodes <-chan error) error {
	for range t.nodes {
		select {
		case <-signals:
			return nil
		case err := <-nodes:
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// keep runs a node, and again when it was killed, until the trial ends or the node ends by
// itself, as one that is drained does.
func (t *trial) keep(node int, program, secret string, stop <-chan struct{}) error {
	for {
		err := t.runOnce(node, exec.Command(program, t.node(node, secret).arguments()...))
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() >= 0 { // it was not killed
			if err != nil {
				return fmt.Errorf("node %s: %w", t.name(node), err)
			}
			t.print(node, "has ended")
			return nil
		}
		t.print(node, "has ended: "+exit.String()+"; it is started again")
		select {
		case <-stop:
			return nil
		case <-time.After(restartAfter):
		}
	}
}

// runOnce runs a node to its end. Each of its lines begins with its name.
func (t *trial) runOnce(node int, cmd *exec.Cmd) error {
	out, in := io.Pipe()
	cmd.Stdout, cmd.Stderr = in, in
	ownGroup(cmd)
	t.mu.Lock()
	if t.ended {
		t.mu.Unlock()
		return nil
	}
	err := cmd.Start()
	if err == nil {
		t.procs[node] = cmd
	}
	t.mu.Unlock()
	if err != nil {
		return err
	}
	t.print(node, fmt.Sprintf("is process %d", cmd.Process.Pid))
	var read sync.WaitGroup
	read.Go(func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			t.print(node, lines.Text())
		}
		_, _ = io.Copy(io.Discard, out) // a line was too long
	})
	err = cmd.Wait()
	_ = in.Close()
	read.Wait()
	t.mu.Lock()
	t.procs[node] = nil
	t.mu.Unlock()
	return err
}

func (t *trial) print(node int, line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, _ = fmt.Fprintf(t.out, "%s: %s\n", t.name(node), line)
}

// end gives all nodes the signal to drain.
func (t *trial) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	for _, cmd := range t.procs {
		if cmd != nil {
			_ = cmd.Process.Signal(syscall.SIGTERM)
		}
	}
}
