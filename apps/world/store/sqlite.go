package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/epinet/epi/apps/internal/sqlitefile"
)

var sqliteDialect = &dialect{
	schema:    strings.NewReplacer("BIGINT", "INTEGER", "BYTEA", "BLOB", "\n\t)", "\n\t) STRICT"),
	tables:    "SELECT count(*), coalesce(sum(name = '" + versionTable + "'), 0) FROM sqlite_schema",
	parameter: "?",
	damage:    "SELECT integrity_check FROM pragma_integrity_check WHERE integrity_check != 'ok'",
	claim:     claimFile,
	broken: func(err error) error {
		switch {
		case sqlitefile.Code(err) != sqlitefile.Constraint:
			return err
		case sqlitefile.ExtendedCode(err) == sqlitefile.ForeignKey:
			return ErrNotFound
		}
		return ErrInvalid
	},
}

// OpenSQLite opens the database in a file, and makes it if there is none. What Apply
// returned for survives the end of the program and of the machine's power.
func OpenSQLite(ctx context.Context, file string) (*SQL, error) {
	return openFile(ctx, file, (*SQL).migrate)
}

func openFile(ctx context.Context, file string, prepare func(*SQL, context.Context) error) (*SQL, error) {
	s, err := openSQLite(ctx, file, prepare)
	if sqlitefile.Code(err) == sqlitefile.NotADatabase {
		err = ErrForeign
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", file, err)
	}
	return s, nil
}

func openSQLite(ctx context.Context, file string, prepare func(*SQL, context.Context) error) (*SQL, error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return nil, err
	}
	if err := inspect(ctx, file); err != nil {
		return nil, err
	}
	if err := reserve(file); err != nil {
		return nil, err
	}
	write, err := sqlitefile.Open(file, url.Values{"_txlock": {"immediate"}}, "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)")
	if err != nil {
		return nil, err
	}
	write.SetMaxOpenConns(1)
	read, err := sqlitefile.Open(file, sqlitefile.ReadOnly(), "query_only(1)")
	if err != nil {
		_ = write.Close() // the other error says more
		return nil, err
	}
	read.SetMaxOpenConns(max(2, runtime.GOMAXPROCS(0)))
	s := &SQL{dialect: sqliteDialect, write: write, read: read, file: file}
	if err := prepare(s, ctx); err != nil {
		_ = s.Close() // so, too
		return nil, err
	}
	return s, nil
}

// reserve makes a file that is its user's alone, before SQLite does: the files that it puts beside
// it get the mode that this one has then.
func reserve(file string) error {
	const private = 0o600
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, private)
	if err != nil {
		return err
	}
	return errors.Join(f.Chmod(private), f.Close())
}

// inspect looks at a file that is there before anything of it is changed.
func inspect(ctx context.Context, file string) error {
	return sqlitefile.Inspect(ctx, file, func(ctx context.Context, db *sql.DB) error {
		_, err := sqliteDialect.known(ctx, db)
		return err
	})
}

// claimFile takes a lock on a file beside the database, so that others may read the
// database itself.
func claimFile(ctx context.Context, s *SQL) (io.Closer, error) {
	claim, err := sqlitefile.Claim(ctx, s.file, 0)
	if errors.Is(err, sqlitefile.ErrClaimed) {
		err = ErrTaken
	}
	return claim, err
}

// ErrNoBackup: the database has a tool of its own for that.
var ErrNoBackup = errors.New("back up a database of PostgreSQL with pg_dump")

// Backup writes a copy of the database of an address, a file of SQLite, as it is now, of any version, into
// one that must not exist. Reading and writing go on meanwhile, in any process. For PostgreSQL it fails with
// ErrNoBackup.
func Backup(ctx context.Context, address, to string) error {
	if isPostgres(address) {
		return ErrNoBackup
	}
	if err := inspect(ctx, address); err != nil {
		return fmt.Errorf("open %s: %w", address, err)
	}
	return sqlitefile.Backup(ctx, address, to)
}
