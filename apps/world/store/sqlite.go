package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"modernc.org/sqlite"
)

// The result codes of SQLite that something depends on (sqlite.org/rescode.html).
const (
	codeBusy       = 5
	codeConstraint = 19
	codeNotADB     = 26
	codeForeignKey = 787  // with the extension
	codeMask       = 0xff // without the extension
)

func sqliteCode(err error) int {
	var failed *sqlite.Error
	if errors.As(err, &failed) {
		return failed.Code() & codeMask
	}
	return 0
}

var sqliteDialect = &dialect{
	schema:    strings.NewReplacer("BIGINT", "INTEGER", "BYTEA", "BLOB", "\n\t)", "\n\t) STRICT"),
	tables:    "SELECT count(*), coalesce(sum(name = '" + versionTable + "'), 0) FROM sqlite_schema",
	parameter: "?",
	damage:    "SELECT integrity_check FROM pragma_integrity_check WHERE integrity_check != 'ok'",
	claim:     claimFile,
	broken: func(err error) error {
		var failed *sqlite.Error
		switch {
		case sqliteCode(err) != codeConstraint:
			return err
		case errors.As(err, &failed) && failed.Code() == codeForeignKey:
			return ErrNotFound
		}
		return ErrInvalid
	},
}

// OpenSQLite opens the database in a file, and makes it if there is none. What Apply
// returned for survives the end of the program and of the machine's power.
func OpenSQLite(ctx context.Context, file string) (*SQL, error) {
	s, err := openSQLite(ctx, file)
	if sqliteCode(err) == codeNotADB {
		err = ErrForeign
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", file, err)
	}
	return s, nil
}

func openSQLite(ctx context.Context, file string) (*SQL, error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return nil, err
	}
	if err := inspect(ctx, file); err != nil {
		return nil, err
	}
	write, err := connect(file, url.Values{"_txlock": {"immediate"}}, "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)")
	if err != nil {
		return nil, err
	}
	write.SetMaxOpenConns(1)
	s := &SQL{dialect: sqliteDialect, write: write, file: file}
	if err := s.migrate(ctx); err != nil {
		_ = write.Close() // the other error says more
		return nil, err
	}
	if err := os.Chmod(file, 0o600); err != nil {
		_ = write.Close()
		return nil, err
	}
	if s.read, err = connect(file, url.Values{"mode": {"ro"}}, "query_only(1)"); err != nil {
		_ = write.Close()
		return nil, err
	}
	s.read.SetMaxOpenConns(max(2, runtime.GOMAXPROCS(0)))
	return s, nil
}

// inspect refuses a file that is something else, before anything changes it.
func inspect(ctx context.Context, file string) error {
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	db, err := connect(file, url.Values{"mode": {"ro"}})
	if err != nil {
		return err
	}
	defer db.Close() // it has changed nothing
	_, err = sqliteDialect.known(ctx, db)
	return err
}

// claimSuffix ends the name of the file whose lock a server has. It stays when the
// server ends; the lock does not.
const claimSuffix = "-claim"

// claimFile takes a lock on a file beside the database, so that others may read the
// database itself. It is a database, too, as that has locks on every system.
func claimFile(ctx context.Context, s *SQL) (io.Closer, error) {
	db, err := connectNow(s.file+claimSuffix, url.Values{"_txlock": {"exclusive"}})
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	tx, err := db.BeginTx(context.WithoutCancel(ctx), nil)
	if err == nil {
		return &fileClaim{db, tx}, nil
	}
	_ = db.Close() // the other error says more
	if sqliteCode(err) == codeBusy {
		err = ErrTaken
	}
	return nil, err
}

// A fileClaim is a transaction that does nothing but have the lock.
type fileClaim struct {
	db *sql.DB
	tx *sql.Tx
}

func (c *fileClaim) Close() error { return errors.Join(c.tx.Rollback(), c.db.Close()) }

// busyTimeout is how long a connection waits for another's lock, in milliseconds.
const busyTimeout = "busy_timeout(10000)"

func connect(file string, values url.Values, pragmas ...string) (*sql.DB, error) {
	return connectNow(file, values, append(pragmas, busyTimeout)...)
}

// connectNow is connect without waiting for locks.
func connectNow(file string, values url.Values, pragmas ...string) (*sql.DB, error) {
	values["_pragma"] = pragmas
	u := url.URL{Scheme: "file", Opaque: (&url.URL{Path: file}).EscapedPath(), RawQuery: values.Encode()}
	return sql.Open("sqlite", u.String())
}

// ErrNoBackup: the database has a tool of its own for that.
var ErrNoBackup = errors.New("back up a database of PostgreSQL with pg_dump")

// Backup writes a copy of a SQLite database, as it is now, into a file that must not
// exist. Reading and writing go on meanwhile. For PostgreSQL it fails with
// ErrNoBackup.
func (s *SQL) Backup(ctx context.Context, file string) error {
	if s.file == "" {
		return ErrNoBackup
	}
	db, err := connect(s.file, url.Values{"mode": {"rw"}})
	if err != nil {
		return err
	}
	defer db.Close() // it has changed nothing here
	if _, err := db.ExecContext(ctx, "VACUUM INTO ?", file); err != nil {
		return fmt.Errorf("back up to %s: %w", file, err)
	}
	return os.Chmod(file, 0o600)
}
