package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/epinet/epi/apps/internal/sqlitefile"
)

// nodeFile has the process of a node of a cluster, in its --data.
const nodeFile = "cluster.pid"

const drainHelp = `Move this machine's node out of its cluster: its channels go to other nodes, and
what clients then say is in order there; its clients get a last word and come back
at other nodes; then it ends. It is what SIGTERM does; this waits for the end.

The others stay in order while a majority is left: move out one at a time.`

// leaves is how long a node may take to end, by default.
const leaves = 30 * time.Second

func chatDrainCommand() *cobra.Command {
	var data string
	patience := leaves
	cmd := &cobra.Command{
		Use:     "drain",
		Short:   "Move a node out of its cluster, and wait for its end",
		Long:    drainHelp,
		Example: "  epi chat drain --data /var/lib/chat",
		Args:    unexpectedArgument,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if data == "" {
				return errors.New("--data is missing: name the directory of the node")
			}
			pid, err := drainNode(data, patience)
			if err != nil {
				return failure{err}
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "process %d has left the cluster and ended\n", pid)
			return err
		},
	}
	cmd.Flags().StringVar(&data, "data", "", "`directory` of the node")
	cmd.Flags().DurationVar(&patience, "timeout", leaves, "`duration` after which waiting gives up")
	return cmd
}

// drainNode ends the node that serves a directory.
func drainNode(data string, patience time.Duration) (pid int, err error) {
	name := filepath.Join(data, nodeFile)
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("no node of a cluster serves %s: there is no %s", data, nodeFile)
	}
	if err != nil {
		return 0, err
	}
	if pid, err = strconv.Atoi(strings.TrimSpace(string(text))); err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	// The number may be another program's by now: a node that serves has the claim.
	claim, err := sqlitefile.Claim(context.Background(), filepath.Join(data, chatDatabase), 0)
	if err == nil {
		_ = claim.Close() // it was only a look
		return 0, fmt.Errorf("the node that served %s, process %d, is not there any more", data, pid)
	}
	if !errors.Is(err, sqlitefile.ErrClaimed) {
		return 0, fmt.Errorf("see whether a node serves %s: %w", data, err)
	}
	process, err := os.FindProcess(pid)
	if err == nil {
		err = process.Signal(syscall.SIGTERM)
	}
	if err != nil {
		return 0, fmt.Errorf("end process %d: %w", pid, err)
	}
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
			return pid, nil
		}
	}
	return 0, fmt.Errorf("process %d has not ended after %v; see its log", pid, patience)
}

// namesProcess says in the data of a node which process serves it. The result takes that
// back.
func namesProcess(data string) (forget func(), err error) {
	name := filepath.Join(data, nodeFile)
	if err := os.WriteFile(name, fmt.Appendln(nil, os.Getpid()), 0o600); err != nil {
		return nil, err
	}
	return func() { _ = os.Remove(name) }, nil
}
