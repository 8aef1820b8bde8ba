//go:build !linux

package cli

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"
)

// labMeasuring returns the commands that measure, which say that they cannot:
// what they measure are system calls of Linux.
func labMeasuring() []*cobra.Command {
	return []*cobra.Command{
		needsLinux("study", "Measure the readiness calls of Linux"),
		needsLinux("claims", "Judge what is said about them by measurements"),
		needsLinux("peers", "Measure servers side by side"),
		needsLinux("show", "Play with the readiness calls in the browser"),
		needsLinux("sim", "Play the engine against a kernel made of seeds"),
	}
}

func needsLinux(name, short string) *cobra.Command {
	return &cobra.Command{
		Use:                name,
		Short:              short + " (needs Linux)",
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return fmt.Errorf("%s needs Linux, and this is %s: run it on a Linux machine; epi lab compare reads its results anywhere", cmd.CommandPath(), runtime.GOOS)
		},
	}
}
