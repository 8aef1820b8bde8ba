//go:build !linux

package cli

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"
)

// courseCheckCommand says that it cannot: it watches a server through Linux's /proc.
func courseCheckCommand() *cobra.Command {
	return &cobra.Command{
		Use:                "check",
		Short:              "Hold a server program of yours against an exercise (needs Linux)",
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return fmt.Errorf("%s needs Linux, and this is %s: run it on a Linux machine, or in a container", cmd.CommandPath(), runtime.GOOS)
		},
	}
}
