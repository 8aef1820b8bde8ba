package cli

import "github.com/spf13/cobra"

// labMeasuring returns the commands that measure.
func labMeasuring() []*cobra.Command {
	return []*cobra.Command{labStudyCommand(), labClaimsCommand(), labPeersCommand(), labShowCommand(), labSimCommand(), labChildCommand()}
}
