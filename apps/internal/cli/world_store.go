package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/epinet/epi/apps/world/store"
)

// keepTimeout bounds how long a world that ends waits for its store.
const keepTimeout = 30 * time.Second

// openStore opens what lasts of the world, if something does.
func (w *worldServer) openStore() (err error) {
	if w.config.Store.Address == "" {
		return nil
	}
	if w.store, err = store.Open(context.Background(), w.config.Store.Address); err != nil {
		return failure{fmt.Errorf("store.address: %w", err)}
	}
	return nil
}

// keep waits until all is saved, and closes the store. It says why a world has ended that
// could not go on.
func (w *worldServer) keep() (err error) {
	if w.world != nil {
		ctx, cancel := context.WithTimeout(context.Background(), keepTimeout)
		defer cancel()
		err = w.world.Keep(ctx)
	}
	if w.store != nil {
		err = errors.Join(err, w.store.Close())
	}
	if err != nil {
		return failure{err}
	}
	return nil
}

// storeCommand is a command about a store, which may be used while a world has it open.
func storeCommand(cmd cobra.Command, run func(cmd *cobra.Command, args []string) error) *cobra.Command {
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		if !strings.Contains(args[0], "://") {
			if info, err := os.Stat(args[0]); errors.Is(err, fs.ErrNotExist) {
				return failure{fmt.Errorf("there is no store %s: name the file that the world has as store.address", args[0])}
			} else if err != nil {
				return failure{err}
			} else if info.Size() == 0 {
				return failure{&fs.PathError{Op: "open", Path: args[0], Err: store.ErrForeign}}
			}
		}
		if err := run(cmd, args); err != nil {
			return failure{err}
		}
		return nil
	}
	return &cmd
}

func worldAuditCommand() *cobra.Command {
	return storeCommand(cobra.Command{
		Use:   "audit STORE",
		Short: "Look for what cannot be in the store of a world",
		Long: `Look for what cannot be in the store of a world: items and gold that are not as
many as were made and not destroyed, items with no owner or two, damage. STORE is what
store.address is. It may be used while the world is served.

Exit codes: 0 nothing was found, 1 something was or the store cannot be read, 2 called
wrongly.`,
		Example: "  epi world audit world.db",
		Args:    cobra.ExactArgs(1),
	}, func(cmd *cobra.Command, args []string) (err error) {
		s, err := store.OpenAsIs(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.Close()) }()
		problems, err := s.Audit(cmd.Context())
		if err != nil {
			return err
		}
		return printProblems(cmd.OutOrStdout(), problems, "made − destroyed = existing, and every item has one owner")
	})
}

func worldBackupCommand() *cobra.Command {
	return storeCommand(cobra.Command{
		Use:   "backup STORE FILE",
		Short: "Copy the store of a world, also while it is served",
		Long: `Copy the store of a world, a file of SQLite, into a file that does not exist yet. The
copy has the state of one moment, and is of the version that the store is. To restore
it, end the world, put the copy in the place of the store, and remove the files beside
that end in -wal and -shm. A database of PostgreSQL is copied by pg_dump.`,
		Example: "  epi world backup world.db /backup/world-monday.db",
		Args:    cobra.ExactArgs(2),
	}, func(cmd *cobra.Command, args []string) error {
		return store.Backup(cmd.Context(), args[0], args[1])
	})
}
