package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/epinet/epi/apps/chat/ircmsg"
	"github.com/epinet/epi/apps/chat/store"
	"github.com/epinet/epi/apps/internal/plaintext"
)

// chatDataCommands are those about what is in --data. They may be used while a chat
// serves it.
func chatDataCommands() []*cobra.Command {
	return []*cobra.Command{chatBackupCommand(), chatCheckCommand(), chatExportCommand(), chatAuditCommand()}
}

// dataCommand is a command that reads the database in --data, and leaves it to the version that it is of.
func dataCommand(cmd cobra.Command, run func(cmd *cobra.Command, db *store.SQLite, args []string) error) *cobra.Command {
	return fileCommand(cmd, func(cmd *cobra.Command, file string, args []string) (err error) {
		db, err := store.OpenAsIs(cmd.Context(), file, store.Commit)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, db.Close()) }()
		return run(cmd, db, args)
	})
}

// fileCommand is a command about the file of that database.
func fileCommand(cmd cobra.Command, run func(cmd *cobra.Command, file string, args []string) error) *cobra.Command {
	var data string
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		if data == "" {
			if data, err = ownData(); err != nil {
				return failure{err}
			}
		}
		file := filepath.Join(data, chatDatabase)
		if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
			return failure{fmt.Errorf("no chat has kept anything in %s, since there is no %s: name its directory by --data", data, chatDatabase)}
		} else if err != nil {
			return failure{err}
		}
		if err := run(cmd, file, args); err != nil {
			return failure{err}
		}
		return nil
	}
	cmd.Flags().StringVar(&data, "data", "", "`directory` of the chat (default epi-chat where the system keeps a user's data)")
	return &cmd
}

func chatBackupCommand() *cobra.Command {
	return fileCommand(cobra.Command{
		Use:   "backup FILE",
		Short: "Copy the database of a chat, also while it serves",
		Long: `Copy the database of a chat into a file that does not exist yet. The copy has
the state of one moment, and is of the version that the database is. To restore it,
end the chat, put the copy in the place of chat.db in --data, and remove chat.db-wal
and chat.db-shm there.`,
		Example: `  epi chat backup --data /var/lib/chat /backup/chat-monday.db`,
		Args:    cobra.ExactArgs(1),
	}, func(cmd *cobra.Command, file string, args []string) error {
		return store.Backup(cmd.Context(), file, args[0])
	})
}

func chatCheckCommand() *cobra.Command {
	return dataCommand(cobra.Command{
		Use:     "check",
		Short:   "Look for damage in the database of a chat",
		Example: `  epi chat check --data /var/lib/chat`,
		Args:    unexpectedArgument,
	}, func(cmd *cobra.Command, db *store.SQLite, _ []string) error {
		problems, err := db.Check(cmd.Context())
		if err != nil {
			return err
		}
		return printProblems(cmd.OutOrStdout(), problems, "the database is whole")
	})
}

// printProblems prints what was found in a database, or that it is whole.
func printProblems(out io.Writer, problems []string, whole string) error {
	for _, problem := range problems {
		fmt.Fprintln(out, problem)
	}
	if len(problems) > 0 {
		return fmt.Errorf("%d problems: restore a backup", len(problems))
	}
	fmt.Fprintln(out, whole)
	return nil
}

func chatAuditCommand() *cobra.Command {
	var limit int
	cmd := dataCommand(cobra.Command{
		Use:   "audit",
		Short: "Print what operators and administrators have done",
		Long: `Print what operators have done by IRC commands, and administrators in the page, the
latest first: time, who, what, to whom, and more, with tabs between them.`,
		Example: `  epi chat audit --data /var/lib/chat --limit 50`,
		Args:    unexpectedArgument,
	}, func(cmd *cobra.Command, db *store.SQLite, _ []string) error {
		if limit < 1 {
			return fmt.Errorf("--limit %d: it must be at least 1", limit)
		}
		deeds, err := db.Audit(cmd.Context(), limit)
		if err != nil {
			return err
		}
		for _, d := range deeds {
			for i, field := range []string{d.At.UTC().Format(time.RFC3339), d.By, d.What, d.Target, d.Detail} {
				if i > 0 {
					fmt.Fprint(cmd.OutOrStdout(), "\t")
				}
				fmt.Fprint(cmd.OutOrStdout(), plaintext.Line(field))
			}
			fmt.Fprintln(cmd.OutOrStdout())
		}
		return nil
	})
	cmd.Flags().IntVar(&limit, "limit", 100, "`number` of lines")
	return cmd
}

func chatExportCommand() *cobra.Command {
	return dataCommand(cobra.Command{
		Use:   "export DIRECTORY",
		Short: "Write all that was said as JSON lines and as pages to read",
		Long: `Write all that was said into a directory that does not exist yet: for each
channel and conversation a file of JSON, one message a line, and a page of HTML;
index.html names them.`,
		Example: `  epi chat export --data /var/lib/chat /tmp/chat`,
		Args:    cobra.ExactArgs(1),
	}, func(cmd *cobra.Command, db *store.SQLite, args []string) error {
		return export(cmd.Context(), db, args[0])
	})
}

// export writes every history into a new directory.
func export(ctx context.Context, db *store.SQLite, directory string) error {
	if err := os.Mkdir(directory, 0o700); err != nil {
		return err
	}
	targets, err := db.Targets(ctx)
	if err != nil {
		return err
	}
	for _, target := range targets {
		if err := exportOne(ctx, db, directory, target); err != nil {
			return fmt.Errorf("export %s: %w", target, err)
		}
	}
	return writeFile(filepath.Join(directory, "index.html"), func(w io.Writer) error {
		return exportIndex.Execute(w, targets)
	})
}

// exportPage is how many messages are read at once.
const exportPage = 1000

// exported is a message as JSON.
type exported struct {
	ID      string   `json:"id"`
	Time    string   `json:"time"`
	Command string   `json:"command"`
	Source  string   `json:"source"`
	Account string   `json:"account,omitempty"`
	Params  []string `json:"params,omitempty"`
	Tags    string   `json:"tags,omitempty"`
	Text    string   `json:"text,omitempty"`
	Edited  bool     `json:"edited,omitempty"`
	Nick    string   `json:"-"`
}

func exportOne(ctx context.Context, db *store.SQLite, directory, target string) error {
	base := filepath.Join(directory, fileName(target))
	return writeFile(base+".jsonl", func(lines io.Writer) error {
		return writeFile(base+".html", func(page io.Writer) error {
			if err := exportHead.Execute(page, target); err != nil {
				return err
			}
			encoder := json.NewEncoder(lines)
			q := store.Query{Target: target, Limit: exportPage, Rank: 0xff, Events: true}
			for {
				messages, err := db.Messages(ctx, q)
				if err != nil || len(messages) == 0 {
					return err
				}
				for i := range messages {
					e := exportedOf(&messages[i])
					if err := errors.Join(encoder.Encode(e), exportLine.Execute(page, e)); err != nil {
						return err
					}
				}
				q.After = messages[len(messages)-1].ID
			}
		})
	})
}

func exportedOf(m *store.Message) exported {
	nick, _, _ := strings.Cut(m.Source, "!")
	return exported{
		ID: ircmsg.FormatID(int64(cmp.Or(m.Shown, m.ID))), Time: ircmsg.FormatTime(int64(m.ID) >> ircmsg.IDBits), Command: m.Command, Source: m.Source, Account: m.Account,
		Params: m.Params, Tags: m.Tags, Text: m.Text, Edited: m.Edited != 0, Nick: nick,
	}
}

// fileName is the name of a history as that of a file, without slashes, and with no dot
// at the beginning.
func fileName(target string) string { return "history-" + url.PathEscape(target) }

func writeFile(name string, write func(io.Writer) error) (err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return write(f)
}

var (
	exportFuncs = template.FuncMap{
		"file": func(target string) string { return url.PathEscape(fileName(target)) + ".html" },
		"said": func(text string) string { does, _ := ircmsg.Action(text); return does },
	}
	exportIndex = template.Must(template.New("index").Funcs(exportFuncs).Parse(
		`<!doctype html><meta charset="utf-8"><title>History</title><h1>History</h1><ul>
{{range .}}<li><a href="{{file .}}">{{.}}</a>
{{end}}</ul>
`))
	exportHead = template.Must(template.New("head").Parse(
		`<!doctype html><meta charset="utf-8"><title>{{.}}</title><style>body{font:16px sans-serif;max-width:50em;margin:auto}p{white-space:pre-wrap;margin:.3em 0}time{color:#777}.event{color:#777}</style><h1>{{.}}</h1>
`))
	exportLine = template.Must(template.New("line").Funcs(exportFuncs).Parse(
		`{{if .Text}}<p id="{{.ID}}"><time>{{.Time}}</time> <b>{{.Nick}}</b> {{said .Text}}{{if .Edited}} (edited){{end}}</p>
{{else}}<p id="{{.ID}}" class="event"><time>{{.Time}}</time> {{.Nick}} {{.Command}}{{range .Params}} {{.}}{{end}}</p>
{{end}}`))
)
