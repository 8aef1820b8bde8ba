package cli

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/epinet/epi/apps/world/inputs"
	"github.com/epinet/epi/apps/world/sim"
)

const worldReplayHelp = `Make a world again from what changed it, as "epi world --log-inputs FILE" wrote it
down, and compare its state with the hashes in the log, one for each 100 ticks.

Exit codes: 0 all hashes are the same, 1 one differs or the file is no log, 2 called
wrongly.`

func worldReplayCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "replay FILE",
		Short:   "Make a world again from its log of inputs, and compare",
		Long:    worldReplayHelp,
		Example: "  epi world replay world.log",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := replayFile(args[0])
			if err != nil {
				return failure{fmt.Errorf("%s: %w", args[0], err)}
			}
			newReport(cmd.OutOrStdout(), asJSON).print(replayEvent{"replay", s.Ticks, s.Calls, s.Hashes, s.Cut})
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	return cmd
}

func replayFile(name string) (s inputs.Summary, err error) {
	file, err := os.Open(name)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return inputs.Replay(io.Reader(file), sim.Alone)
}

// A replayEvent is what a replay has found.
type replayEvent struct {
	Event  string `json:"event"`
	Ticks  uint64 `json:"ticks"`
	Calls  uint64 `json:"calls"`
	Hashes uint64 `json:"hashes"` // that are the same
	Cut    bool   `json:"cut"`    // the log ends within a record
}

func (e replayEvent) text() string {
	cut := ""
	if e.Cut {
		cut = "; the log ends within a record"
	}
	return fmt.Sprintf("%s, %s: %s the same%s\n", plural(int64(e.Ticks), "tick"), plural(int64(e.Calls), "call"), plural(int64(e.Hashes), "hash sum"), cut)
}
