package cli

import (
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/epinet/epi/apps/lab/compare"
	labreport "github.com/epinet/epi/apps/lab/report"
)

const compareHelp = `Compare two results of lab commands, A before and B after: every point and
every figure that both have, with the ratio B/A. A and B are result files, or
directories that hold a result.json.

  better, worse      no sample of A and B overlaps
  within the spread  the samples overlap: the difference may be chance
  one sample only    not enough to decide

A warning says if the machine, the kernel or the command differ.

Exit codes: 0 compared, 1 a file cannot be read or written, 2 called wrongly.`

const compareExample = `  epi lab compare before/ after/
  epi lab compare before/result.json after/result.json --json
  epi lab compare before/ after/ --out difference/`

func compareCommand() *cobra.Command {
	var asJSON bool
	var out string
	cmd := &cobra.Command{
		Use:     "compare A B",
		Short:   "Compare two results",
		Long:    compareHelp,
		Example: compareExample,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return fmt.Errorf("%s: name two, A and B", plural(int64(len(args)), "result"))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := loadBoth(args[0], args[1])
			if err != nil {
				return failure{err}
			}
			if out != "" {
				if err := labreport.WriteComparison(out, c); err != nil {
					return failure{err}
				}
			}
			if asJSON {
				return printed(json.NewEncoder(cmd.OutOrStdout()).Encode(c))
			}
			if err := labreport.TextComparison(cmd.OutOrStdout(), c); err != nil {
				return printed(err)
			}
			if out != "" {
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "page: %s\n", filepath.Join(out, labreport.PageFile))
			}
			return printed(err)
		},
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	cmd.Flags().StringVar(&out, "out", "", "`directory` to make, for a page with both in one chart")
	return cmd
}

func loadBoth(a, b string) (*compare.Comparison, error) {
	before, err := compare.Load(a)
	if err != nil {
		return nil, err
	}
	after, err := compare.Load(b)
	if err != nil {
		return nil, err
	}
	return compare.Compare(a, before, b, after), nil
}

// printed makes a failure of an output that cannot be written.
func printed(err error) error {
	if err == nil {
		return nil
	}
	return failure{fmt.Errorf("print the comparison: %w", err)}
}
