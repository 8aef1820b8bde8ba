package cli

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/epinet/epi/apps/lab/cluster"
	"github.com/epinet/epi/internal/epitest"
)

// TestClusterHoldsItsPromises starts three nodes and lets clients talk on all of them. With faults,
// which take longer, epi lab cluster has it.
func TestClusterHoldsItsPromises(t *testing.T) {
	t.Parallel()
	stdout, stderr := start(t, "lab", "cluster", "--for", "1s", "--faults", "none", "--clients", "2").end(exitDone)
	if !strings.Contains(stdout, "one order on all nodes") {
		t.Errorf("it says %q and %q", stdout, stderr)
	}
}

// TestClusterInNamespaces: nodes in network namespaces lose packets, and afterwards there is none of
// the interfaces on this machine that was not there before, and no name of a namespace.
func TestClusterInNamespaces(t *testing.T) {
	if err := cluster.Namespaces(); err != nil {
		t.Skip(err)
	}
	t.Parallel()
	before := networkOf(t)
	stdout, stderr := start(t, "lab", "cluster", "--namespaces", "--for", "1s", "--faults", "loss", "--clients", "2").end(exitDone)
	for _, want := range []string{"loss node ", "a→b", "one order on all nodes"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("it says %q and %q, without %q", stdout, stderr, want)
		}
	}
	if after := networkOf(t); !slices.Equal(after, before) {
		t.Errorf("there were %q before, and are %q", before, after)
	}
}

// networkOf returns the interfaces of this machine, and the names of namespaces (ip-netns(8)).
func networkOf(t *testing.T) (names []string) {
	t.Helper()
	interfaces, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range interfaces {
		names = append(names, i.Name)
	}
	spaces, _ := filepath.Glob("/run/netns/*")
	return append(names, spaces...)
}

// TestNodeDrains: "epi chat drain" ends the node of a directory, and no other.
func TestNodeDrains(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	if code, _, stderr := call("chat", "drain", "--data", data); code != exitFailed || !strings.Contains(stderr, "no node") {
		t.Errorf("without a node: exit code %d, %q", code, stderr)
	}
	p := start(t, "chat", "--json", "--cluster", "--listen", "irc://127.0.0.1:0", "--admin", ":0", "--data", data,
		"--set", "cluster.node=only", "--set", "users.cloak-secret=x", "--set", "cluster.lease=5m") // longer than it may not be run
	begun := await[startEvent](p, "start")
	ctx, cancel := context.WithTimeout(t.Context(), epitest.Patience)
	defer cancel()
	alone := clusterCheck{run: cluster.Config{Nodes: 1}}
	if err := alone.ready(ctx, cluster.Place{Admin: strings.TrimPrefix(begun.Admin, "http://")}); err != nil {
		t.Fatal(err)
	}
	ann := chatAs(t, strings.TrimPrefix(begun.Listen[0], "irc://"), "ann")
	ann.converse("JOIN #x", " 366 ")
	if code, stdout, stderr := call("chat", "drain", "--data", data); code != exitDone || !strings.Contains(stdout, "ended") {
		t.Errorf("exit code %d: %q, %q", code, stdout, stderr)
	}
	ann.converse("", "ERROR ")
	p.end(exitDone)
	if code, _, _ := call("chat", "drain", "--data", data); code != exitFailed {
		t.Errorf("a node that has ended: exit code %d", code)
	}
}

// TestClusterIsRefused: what cannot be a node says why.
func TestClusterIsRefused(t *testing.T) {
	for want, args := range map[string][]string{
		"names no node": {"--cluster", "--data", t.TempDir()},
		"needs --data":  {"--set", "cluster.node=a"},
		"cloak-secret":  {"--set", "cluster.node=a", "--data", t.TempDir()},
		"cluster.peers": {"--set", "cluster.node=a", "--set", "cluster.peers=127.0.0.1:1", "--data", t.TempDir()},
		"cluster.cert":  {"--set", "cluster.node=a", "--set", "cluster.peers=b.example.org:1,c.example.org:1", "--data", t.TempDir()},
		"cluster.lease": {"--set", "cluster.node=a", "--set", "cluster.lease=2s", "--data", t.TempDir()},
	} {
		args = append([]string{"chat", "--listen", "irc://127.0.0.1:0"}, args...)
		if code, _, stderr := call(args...); code == exitDone || !strings.Contains(stderr, want) {
			t.Errorf("%v: exit code %d, %q does not say %q", args, code, stderr, want)
		}
	}
}

// TestClusterCost measures, shortly, one machine and three nodes.
func TestClusterCost(t *testing.T) {
	t.Parallel()
	stdout, stderr := start(t, "lab", "cluster", "cost", "--for", "200ms", "--rounds", "1", "--clients", "3", "--channels", "1", "--rate", "20").end(exitDone)
	for _, want := range []string{"1 nodes: ", "3 nodes: ", "µs a delivery"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("it says %q and %q, without %q", stdout, stderr, want)
		}
	}
	for _, flag := range []string{"--nodes=1", "--clients=0", "--rate=0", "--for=0s"} {
		if code, _, _ := call("lab", "cluster", "cost", flag); code == exitDone {
			t.Errorf("%s is not refused", flag)
		}
	}
}

// TestClusterCheckEndsItsNodes: who ends the command ends the nodes that it has started.
func TestClusterCheckEndsItsNodes(t *testing.T) {
	t.Parallel()
	p := start(t, "lab", "cluster", "--for", "1h", "--faults", "none")
	epitest.WaitUntil(t, "a node has started", func() bool { return len(childrenOf(p.cmd.Process.Pid)) > 0 })
	nodes := childrenOf(p.cmd.Process.Pid)
	p.signal(syscall.SIGTERM)
	p.end(exitFailed)
	for _, pid := range nodes {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("process %d is there after the command has ended: %v", pid, err)
		}
	}
}

// childrenOf returns the processes that a process has started (proc_pid_stat(5)).
func childrenOf(pid int) (children []int) {
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range files {
		text, _ := os.ReadFile(file) // it may have ended
		_, after, _ := strings.Cut(string(text), ") ")
		if fields := strings.Fields(after); len(fields) > 1 && fields[1] == strconv.Itoa(pid) {
			child, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			children = append(children, child)
		}
	}
	return children
}
