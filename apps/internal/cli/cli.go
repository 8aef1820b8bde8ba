// Package cli is the command line of epi: one file for each command, the flags
// and the life that all servers share in server.go, and what they print in
// report.go.
package cli

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/epinet/epi/apps/internal/plaintext"
)

// The exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// A failure is an error of what a command does. All other errors are about how
// it was called.
type failure struct{ error }

func (f failure) Unwrap() error { return f.error }

// Main runs the command line args, without the program's name, and returns the
// exit code: 0 done, 1 failed, 2 called wrongly. An error is one line on stderr.
func Main(args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	out := &output{Writer: stdout}
	root.SetOut(out)
	root.SetErr(stderr)
	cmd, err := root.ExecuteC()
	if lost := out.lost(); lost != nil && (err == nil || errors.Is(err, lost)) {
		err = failure{fmt.Errorf("%w: the output is lost; direct it elsewhere", lost)}
	}
	if err == nil {
		return exitDone
	}
	text := plaintext.Line(oneLine(err))
	if errors.As(err, new(failure)) {
		fmt.Fprintln(stderr, "epi:", text)
		return exitFailed
	}
	if cmd.Name() == "help" {
		cmd = root
	}
	fmt.Fprintf(stderr, "epi: %s; see \"%s --help\"\n", text, cmd.CommandPath())
	return exitUsage
}

// An output is stdout. It remembers that something did not get there: a disk
// that is full must not look like success.
type output struct {
	io.Writer
	mu  sync.Mutex
	err error // guarded by mu; the first
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.Writer.Write(p)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		o.err = err
	}
	return n, err
}

func (o *output) lost() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

// below returns what an output writes to, w itself where it is none.
func below(w io.Writer) io.Writer {
	if o, ok := w.(*output); ok {
		return o.Writer
	}
	return w
}

// oneLine returns an error's text on one line and without the engine's prefix.
func oneLine(err error) string {
	lines := strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' })
	for i, line := range lines {
		lines[i] = strings.ReplaceAll(strings.TrimPrefix(line, "epi: "), ": epi: ", ": ")
	}
	return strings.Join(lines, "; ")
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:                "epi",
		Short:              "Event-driven network servers",
		Version:            version(),
		SilenceErrors:      true,
		SilenceUsage:       true,
		DisableSuggestions: true, // they would be further lines
		CompletionOptions:  cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	root.SetVersionTemplate("epi {{.Version}}\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return flagError(err) })
	root.SetHelpCommand(helpCommand())
	root.AddCommand(echoCommand(), chatCommand(), worldCommand(), loadCommand())
	root.AddCommand(labCommand(), courseCommand())
	return root
}

// version returns the version of the module that the program was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}

// helpCommand is cobra's, but takes an unknown command for an error.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "help [command]",
		Short:  "Help about a command",
		Hidden: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err != nil {
				return err
			}
			if len(rest) > 0 {
				return unexpectedArgument(about, rest)
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}

// unexpectedArgument is the Args of commands that take flags only.
func unexpectedArgument(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return fmt.Errorf("unexpected argument %q: %s takes flags only", args[0], cmd.CommandPath())
}

// flagError names the flag, its value and what to write instead.
func flagError(err error) error {
	var invalid *pflag.InvalidValueError
	if !errors.As(err, &invalid) {
		return err
	}
	flag, cause := invalid.GetFlag(), invalid.Unwrap()
	if flag.Value.Type() == "bool" {
		cause = errors.New("write true or false")
	}
	return fmt.Errorf("--%s %q: %w", flag.Name, invalid.GetValue(), cause)
}
