package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/epinet/epi/apps/internal/plaintext"
	"github.com/epinet/epi/apps/lab"
	"github.com/epinet/epi/apps/lab/study"
)

const labClaimsHelp = `Hold the deck's claims on select, poll and epoll against measured data: from a
result of epi lab study (--from), or measured now, as epi lab study --quick.

A claim is confirmed or refuted only by differences that are larger than the
spread of the samples: the middle halves of the samples do not overlap. Otherwise
the verdict is depends, and the table says on what.

Exit codes: 0 done, 1 failed or interrupted, 2 called wrongly.`

const labClaimsExample = `  epi lab claims
  epi lab claims --from epi-lab-study/result.json
  epi lab claims --json`

func labClaimsCommand() *cobra.Command {
	var from string
	var asJSON, toy bool
	cmd := &cobra.Command{
		Use:     "claims",
		Short:   "Hold the deck's claims against measured data",
		Long:    labClaimsHelp,
		Example: labClaimsExample,
		Args:    unexpectedArgument,
		RunE: func(cmd *cobra.Command, _ []string) error {
			size := study.Quick
			if toy {
				size = study.Toy
			}
			result, err := claimsOf(from, size, cmd.ErrOrStderr())
			if err != nil {
				return failure{err}
			}
			if err := printClaims(cmd.OutOrStdout(), result, asJSON); err != nil {
				return failure{err}
			}
			if result.Partial != "" {
				return failure{fmt.Errorf("the study is partial: %s", result.Partial)}
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&from, "from", "", "`file` that epi lab study has written, or its directory (default: measure now)")
	flags.BoolVar(&asJSON, "json", false, "print a JSON array")
	flags.BoolVar(&toy, "toy", false, "measure next to nothing: shows that everything works")
	_ = flags.MarkHidden("toy") // fails only for a flag that does not exist
	return cmd
}

// claimsOf returns a result with its claims.
func claimsOf(from string, size study.Size, stderr io.Writer) (*lab.Result, error) {
	result, err := claimsData(from, size, stderr)
	if err != nil {
		return nil, err
	}
	result.Claims = study.Claims(result)
	return result, nil
}

func claimsData(from string, size study.Size, stderr io.Writer) (*lab.Result, error) {
	if from == "" {
		return runStudy(study.Config{Size: size, Only: study.Needed()}, stderr)
	}
	if info, err := os.Stat(from); err == nil && info.IsDir() {
		from = filepath.Join(from, resultName)
	}
	result, err := lab.Read(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("--from %s: there is no such file; make one with epi lab study", from)
	}
	if err != nil {
		return nil, fmt.Errorf("--from: %w", err)
	}
	return result, nil
}

func printClaims(out io.Writer, r *lab.Result, asJSON bool) error {
	if asJSON {
		text, err := json.MarshalIndent(r.Claims, "", "\t")
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(out, "%s\n", text)
		return err
	}
	rows := [][]string{{"VERDICT", "CLAIM", "EXPERIMENT"}}
	for _, c := range r.Claims {
		rows = append(rows, []string{string(c.Verdict), c.Text, c.By})
	}
	var text strings.Builder
	for i, line := range aligned(rows) {
		text.WriteString(line + "\n")
		if i > 0 {
			text.WriteString(detail(r.Claims[i-1]))
		}
	}
	for _, note := range r.Notes {
		fmt.Fprintf(&text, "note: %s\n", plaintext.Line(note))
	}
	_, err := io.WriteString(out, plaintext.Lines(text.String()))
	return err
}

// detail is what stands under a claim.
func detail(c lab.Claim) string {
	var text strings.Builder
	label := "figures"
	for _, figure := range strings.Split(c.Figures, "; ") {
		fmt.Fprintf(&text, "  %-9s  %s\n", label, figure)
		label = ""
	}
	fmt.Fprintf(&text, "  threshold  %s\n  reason     %s\n", c.Threshold, c.Reason)
	return text.String()
}

// aligned pads all columns but the last.
func aligned(rows [][]string) []string {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	lines := make([]string, len(rows))
	for n, row := range rows {
		for i, cell := range row[:len(row)-1] {
			lines[n] += cell + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2)
		}
		lines[n] += row[len(row)-1]
	}
	return lines
}
