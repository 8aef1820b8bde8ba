// Package sqlitefile opens databases of SQLite that are files, and has what all programs
// need that keep theirs in one.
package sqlitefile

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
	"time"

	"modernc.org/sqlite"
)

// busyTimeout is how long a connection waits for another's lock, in milliseconds.
const busyTimeout = "busy_timeout(10000)"

// Open returns the database in a file, with the parameters of the URL by which SQLite opens it
// (sqlite.org/uri.html) and pragmas for each connection, such as "foreign_keys(1)". A connection
// waits ten seconds for the lock of another one.
func Open(file string, parameters url.Values, pragmas ...string) (*sql.DB, error) {
	return OpenNow(file, parameters, append(pragmas, busyTimeout)...)
}

// OpenNow is Open for connections that wait for no lock.
func OpenNow(file string, parameters url.Values, pragmas ...string) (*sql.DB, error) {
	parameters["_pragma"] = pragmas
	u := url.URL{Scheme: "file", Opaque: (&url.URL{Path: file}).EscapedPath(), RawQuery: parameters.Encode()}
	return sql.Open("sqlite", u.String())
}

// ReadOnly are the parameters of a connection that changes nothing.
func ReadOnly() url.Values { return url.Values{"mode": {"ro"}} }

// Inspect has look refuse a file that is something else, before anything changes it. A file that
// is not there, or empty, becomes a database.
func Inspect(ctx context.Context, file string, look func(context.Context, *sql.DB) error) error {
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	db, err := Open(file, ReadOnly())
	if err != nil {
		return err
	}
	return errors.Join(look(ctx, db), db.Close())
}

// Backup writes a copy of a database, as it is now, into a file that must not exist. Reading
// and writing go on meanwhile.
func Backup(ctx context.Context, file, to string) error {
	if _, err := os.Lstat(to); err == nil {
		return fmt.Errorf("back up to %s: %w: choose another name, or remove it", to, fs.ErrExist)
	}
	db, err := Open(file, url.Values{"mode": {"rw"}})
	if err != nil {
		return err
	}
	defer db.Close() // it has changed nothing here
	if _, err := db.ExecContext(ctx, "VACUUM INTO ?", to); err != nil {
		return fmt.Errorf("back up to %s: %w", to, err)
	}
	return os.Chmod(to, 0o600)
}

// ErrClaimed: another process has the claim.
var ErrClaimed = errors.New("another process has it")

// claimSuffix ends the name of the file whose lock is a claim. It stays when the process
// ends; the lock does not.
const claimSuffix = "-claim"

// Claim makes this process the one that serves a database, while others may read it, and
// write to it: it has the lock of a file beside it, by whatever link it is named, until the result is closed or the process
// ends. The lock of another is waited for; then it fails with ErrClaimed. That file is a
// database, too, as those have locks on every system.
func Claim(ctx context.Context, file string, patience time.Duration) (io.Closer, error) {
	if real, err := filepath.EvalSymlinks(file); err == nil { // else it is not there yet
		file = real
	}
	db, err := OpenNow(file+claimSuffix, url.Values{"_txlock": {"exclusive"}}, fmt.Sprintf("busy_timeout(%d)", patience.Milliseconds()))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	tx, err := db.BeginTx(context.WithoutCancel(ctx), nil)
	if err == nil {
		return &claim{db, tx}, nil
	}
	_ = db.Close() // the other error says more
	if Code(err) == Busy {
		err = ErrClaimed
	}
	return nil, err
}

// A claim is a transaction that does nothing but have the lock.
type claim struct {
	db *sql.DB
	tx *sql.Tx
}

func (c *claim) Close() error { return errors.Join(c.tx.Rollback(), c.db.Close()) }

// The primary result codes that something depends on (sqlite.org/rescode.html).
const (
	Busy         = 5
	Corrupt      = 11
	Constraint   = 19
	NotADatabase = 26
)

// ForeignKey is the extended result code of a constraint (SQLITE_CONSTRAINT_FOREIGNKEY).
const ForeignKey = 787

const primary = 0xff // the bits of a primary code

// Code returns the primary result code of an error of SQLite, 0 for others.
func Code(err error) int { return ExtendedCode(err) & primary }

// ExtendedCode returns the extended result code of an error of SQLite, 0 for others.
func ExtendedCode(err error) int {
	var failed *sqlite.Error
	if errors.As(err, &failed) {
		return failed.Code()
	}
	return 0
}
