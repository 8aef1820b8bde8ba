package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/epinet/epi/apps/course/exam"
	"github.com/epinet/epi/apps/internal/plaintext"
)

const courseCheckHelp = `Hold a server program of yours against a chapter's exercise. It may be in any
language. It is started once for each check, with a port in place of {port} and in
the environment as PORT, and must listen there on 127.0.0.1. It is looked at from
outside: over TCP, by signals, through /proc, and by strace where that is installed;
a check that cannot be made is skipped and says why.

Exit codes: 0 all checks passed, 1 one failed, 2 called wrongly.

Exercises:
`

func courseCheckCommand() *cobra.Command {
	var exercises strings.Builder
	for _, e := range exam.Exercises() {
		fmt.Fprintf(&exercises, "  %2d  %s\n", e.Chapter, e.Title)
	}
	return &cobra.Command{
		Use:   "check CHAPTER -- COMMAND [ARGUMENT...]",
		Short: "Hold a server program of yours against an exercise",
		Long:  courseCheckHelp + strings.TrimSuffix(exercises.String(), "\n"),
		Example: `  epi course check 7 -- ./myserver {port}
  epi course check 8 -- python3 chat.py
  epi course check 7 -- go run ./examples/course/echo {port}`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 {
				return errors.New("a chapter and the command of a server are needed, as in: epi course check 7 -- ./myserver {port}")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			chapter, err := strconv.Atoi(args[0])
			if err != nil {
				return fmt.Errorf("chapter %q is not a number", args[0])
			}
			ctx, end := interruptible()
			defer end()
			return checkServer(ctx, cmd.OutOrStdout(), chapter, args[1:])
		},
	}
}

func checkServer(ctx context.Context, out io.Writer, chapter int, command []string) error {
	count := map[exam.Verdict]int{}
	err := exam.Run(ctx, chapter, command, func(r exam.Result) {
		count[r.Verdict]++
		fmt.Fprintf(out, "%-8s %s\n", r.Verdict, r.Check)
		if r.Text != "" {
			fmt.Fprintf(out, "         %s\n", plaintext.Line(oneLine(errors.New(r.Text))))
		}
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d passed, %d failed, %d skipped\n", count[exam.Passed], count[exam.Failed], count[exam.Skipped])
	if n := count[exam.Failed]; n > 0 {
		return failure{fmt.Errorf("%d of the checks of chapter %d failed", n, chapter)}
	}
	return nil
}
