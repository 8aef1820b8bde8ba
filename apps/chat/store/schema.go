package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/epinet/epi/apps/internal/sqlitefile"
)

// applicationID marks a database as this program's (PRAGMA application_id); it is
// "epic" in ASCII.
const applicationID = 0x65706963

// migrations lead from each version of the schema to the next. What was released
// does not change any more.
var migrations = []string{
	`CREATE TABLE targets (
		id   INTEGER PRIMARY KEY,
		name TEXT NOT NULL UNIQUE
	);
	CREATE TABLE messages (
		id       INTEGER PRIMARY KEY,
		target   INTEGER NOT NULL REFERENCES targets (id),
		command  TEXT NOT NULL,
		params   TEXT NOT NULL,
		source   TEXT NOT NULL,
		sender   TEXT NOT NULL,
		account  TEXT NOT NULL,
		flags    INTEGER NOT NULL,
		rank     INTEGER NOT NULL,
		tags     TEXT NOT NULL,
		text     TEXT NOT NULL,
		joined   TEXT NOT NULL,
		reply    INTEGER NOT NULL,
		edited   INTEGER NOT NULL
	);
	CREATE INDEX messages_target ON messages (target, id);
	CREATE INDEX messages_reply ON messages (reply, id) WHERE reply != 0;
	CREATE VIRTUAL TABLE words USING fts5 (text, content = '', contentless_delete = 1, tokenize = 'trigram');
	CREATE TABLE indexed (id INTEGER NOT NULL);
	INSERT INTO indexed VALUES (0);
	CREATE TABLE conversations (
		account TEXT NOT NULL,
		target  INTEGER NOT NULL REFERENCES targets (id),
		PRIMARY KEY (account, target)
	) WITHOUT ROWID;

	CREATE TABLE accounts (
		folded    TEXT PRIMARY KEY,
		name      TEXT NOT NULL,
		created   INTEGER NOT NULL,
		email     TEXT NOT NULL,
		verified  INTEGER NOT NULL,
		role      TEXT NOT NULL,
		suspended TEXT NOT NULL,
		settings  TEXT NOT NULL
	) WITHOUT ROWID;
	CREATE TABLE credentials (
		account TEXT NOT NULL REFERENCES accounts (folded) ON DELETE CASCADE,
		kind    TEXT NOT NULL,
		label   TEXT NOT NULL,
		secret  TEXT NOT NULL,
		created INTEGER NOT NULL,
		used    INTEGER NOT NULL,
		PRIMARY KEY (account, kind, label)
	) WITHOUT ROWID;
	CREATE UNIQUE INDEX credentials_name ON credentials (kind, secret) WHERE kind IN ('certificate', 'openid');

	CREATE TABLE channels (
		folded TEXT PRIMARY KEY,
		name   TEXT NOT NULL,
		state  TEXT NOT NULL
	) WITHOUT ROWID;
	CREATE TABLE bans (
		mask   TEXT PRIMARY KEY,
		reason TEXT NOT NULL,
		setter TEXT NOT NULL,
		at     INTEGER NOT NULL,
		until  INTEGER NOT NULL
	) WITHOUT ROWID;
	CREATE TABLE presences (
		account TEXT PRIMARY KEY,
		state   TEXT NOT NULL
	) WITHOUT ROWID;
	CREATE TABLE markers (
		account TEXT NOT NULL,
		target  TEXT NOT NULL,
		at      INTEGER NOT NULL,
		PRIMARY KEY (account, target)
	) WITHOUT ROWID;
	CREATE TABLE metadata (
		owner TEXT NOT NULL,
		key   TEXT NOT NULL,
		value TEXT NOT NULL,
		PRIMARY KEY (owner, key)
	) WITHOUT ROWID;
	CREATE TABLE uploads (
		id      TEXT PRIMARY KEY,
		account TEXT NOT NULL,
		target  TEXT NOT NULL,
		name    TEXT NOT NULL,
		type    TEXT NOT NULL,
		size    INTEGER NOT NULL,
		created INTEGER NOT NULL,
		expires INTEGER NOT NULL
	) WITHOUT ROWID;
	CREATE INDEX uploads_account ON uploads (account);
	CREATE TABLE subscriptions (
		endpoint TEXT PRIMARY KEY,
		account  TEXT NOT NULL,
		keys     TEXT NOT NULL,
		created  INTEGER NOT NULL
	) WITHOUT ROWID;
	CREATE INDEX subscriptions_account ON subscriptions (account);
	CREATE TABLE deeds (
		id     INTEGER PRIMARY KEY,
		at     INTEGER NOT NULL,
		by     TEXT NOT NULL,
		what   TEXT NOT NULL,
		target TEXT NOT NULL,
		detail TEXT NOT NULL
	);`,
	`CREATE TABLE invitations (
		hash    TEXT PRIMARY KEY,
		by      TEXT NOT NULL,
		role    TEXT NOT NULL,
		channel TEXT NOT NULL,
		created INTEGER NOT NULL,
		expires INTEGER NOT NULL,
		uses    INTEGER NOT NULL
	) WITHOUT ROWID;`,
	`ALTER TABLE messages ADD COLUMN shown INTEGER NOT NULL DEFAULT 0;`,
}

// additions are tables that have come since, and that a program without them can leave as they
// are. They are no version of the schema, since the nodes of a cluster that is upgraded may go
// back to the program before.
var additions = []string{
	`CREATE TABLE IF NOT EXISTS positions (
		shard  INTEGER PRIMARY KEY,
		stream INTEGER NOT NULL,
		number INTEGER NOT NULL,
		at     INTEGER NOT NULL
	);`,
	// How far the shared history has what this machine has said: one row.
	`CREATE TABLE IF NOT EXISTS shared (
		id    INTEGER PRIMARY KEY CHECK (id = 1),
		up_to INTEGER NOT NULL
	);`,
	// What other machines are to know of changes here, until they do.
	`CREATE TABLE IF NOT EXISTS announced (
		number INTEGER PRIMARY KEY,
		target TEXT NOT NULL,
		entry  TEXT NOT NULL
	);`,
	// What became of messages that a copy may bring yet: a removal, or an edit of one that is not
	// here.
	`CREATE TABLE IF NOT EXISTS changes (
		id      INTEGER PRIMARY KEY,
		removed INTEGER NOT NULL,
		edited  INTEGER NOT NULL,
		text    TEXT NOT NULL,
		joined  TEXT NOT NULL
	);`,
}

// versionOf returns the version of a database's schema, 0 for one that is empty. It
// changes nothing.
func versionOf(ctx context.Context, db *sql.DB) (version int, err error) {
	var application, tables int
	err = db.QueryRowContext(ctx, "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_schema) FROM pragma_application_id, pragma_user_version").
		Scan(&application, &version, &tables)
	switch {
	case err != nil:
		return 0, foreign(err)
	case application != applicationID && (application != 0 || tables > 0):
		return 0, ErrForeign
	case version > len(migrations):
		return 0, fmt.Errorf("%w (it has version %d, this program knows %d)", ErrNewer, version, len(migrations))
	}
	return version, nil
}

// inspect looks at a file that is there before anything of it is changed.
func inspect(ctx context.Context, file string) error {
	return sqlitefile.Inspect(ctx, file, func(ctx context.Context, db *sql.DB) error {
		_, err := versionOf(ctx, db)
		return err
	})
}

// migrate brings a database to the version of this program.
func migrate(ctx context.Context, db *sql.DB) error {
	version, err := versionOf(ctx, db)
	if err != nil {
		return err
	}
	for ; version < len(migrations); version++ {
		if err := migrateTo(ctx, db, version+1); err != nil {
			return fmt.Errorf("migrate to version %d: %w", version+1, err)
		}
	}
	return add(ctx, db)
}

// isCurrent refuses a database that migrate would change in a way that older programs notice.
func isCurrent(ctx context.Context, db *sql.DB) error {
	version, err := versionOf(ctx, db)
	switch {
	case err != nil:
		return err
	case version == 0:
		return ErrForeign
	case version < len(migrations):
		return fmt.Errorf("%w (it has version %d, this program makes %d)", ErrOlder, version, len(migrations))
	}
	return add(ctx, db)
}

// add makes the tables that older programs leave alone.
func add(ctx context.Context, db *sql.DB) error {
	for _, statement := range additions {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("add a table: %w", err)
		}
	}
	return nil
}

func migrateTo(ctx context.Context, db *sql.DB, version int) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // after Commit it has nothing to do
	for _, statement := range []string{
		migrations[version-1],
		fmt.Sprintf("PRAGMA application_id = %d", applicationID),
		fmt.Sprintf("PRAGMA user_version = %d", version),
	} {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// foreign says of a file that SQLite cannot read that it is none of ours.
func foreign(err error) error {
	if code := sqlitefile.Code(err); code == sqlitefile.NotADatabase || code == sqlitefile.Corrupt {
		return errors.Join(ErrForeign, err)
	}
	return err
}
