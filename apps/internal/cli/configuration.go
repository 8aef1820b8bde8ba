package cli

import (
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// A configuration is where a server's comes from: a file, and single keys over it.
type configuration struct {
	file string
	sets []string
}

// addFlags adds --config and --set. example is a key with a value, and more is said of
// the file.
func (c *configuration) addFlags(flags *pflag.FlagSet, example, more string) {
	flags.Var(fileValue(&c.file), "config", "TOML `file` with the configuration"+more+" (default none)")
	flags.StringArrayVar(&c.sets, "set", nil, "`key=value` of the configuration, such as "+example+"; repeatable")
}

// isEmpty reports whether neither was given.
func (c *configuration) isEmpty() bool { return c.file == "" && len(c.sets) == 0 }

// configCommand prints the default configuration.
func configCommand(text string) *cobra.Command {
	return &cobra.Command{
		Use:   "config",
		Short: "Print the default configuration, with comments",
		Args:  unexpectedArgument,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := io.WriteString(cmd.OutOrStdout(), text)
			return err
		},
	}
}
