package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

const labHelp = `Measure on this machine. Servers and clients are processes of their own that
talk over addresses of this machine only.`

func labCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lab",
		Short: "Measure select, poll, epoll and servers on this machine",
		Long:  labHelp,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath())
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(labMeasuring()...)
	cmd.AddCommand(labLiveCommand(), labClusterCommand(), compareCommand())
	return cmd
}
