package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
)

// migrations lead from each version of the schema to the next, in the words of
// PostgreSQL. What was released does not change any more.
var migrations = []string{
	`CREATE TABLE accounts (
		key     TEXT PRIMARY KEY,
		name    TEXT NOT NULL,
		secret  BYTEA NOT NULL,
		role    TEXT NOT NULL,
		muted   BIGINT NOT NULL,
		banned  BIGINT NOT NULL,
		created BIGINT NOT NULL
	);
	CREATE TABLE characters (
		id         BIGINT PRIMARY KEY,
		account    TEXT NOT NULL UNIQUE REFERENCES accounts (key),
		epoch      BIGINT NOT NULL,
		version    BIGINT NOT NULL,
		x          BIGINT NOT NULL,
		y          BIGINT NOT NULL,
		health     BIGINT NOT NULL,
		experience BIGINT NOT NULL,
		gold       BIGINT NOT NULL CHECK (gold >= 0 AND gold <= 1099511627776)
	);
	CREATE TABLE chests (
		id BIGINT PRIMARY KEY,
		x  BIGINT NOT NULL,
		y  BIGINT NOT NULL
	);
	CREATE TABLE items (
		id      BIGINT PRIMARY KEY,
		kind    BIGINT NOT NULL CHECK (kind > 0),
		version BIGINT NOT NULL CHECK (version > 0),
		player  BIGINT REFERENCES characters (id),
		ground  BIGINT CHECK (ground >= 0 AND ground < 4294967296),
		chest   BIGINT REFERENCES chests (id),
		CHECK (CASE WHEN player IS NULL THEN 0 ELSE 1 END
			+ CASE WHEN ground IS NULL THEN 0 ELSE 1 END
			+ CASE WHEN chest IS NULL THEN 0 ELSE 1 END = 1)
	);
	CREATE INDEX items_player ON items (player) WHERE player IS NOT NULL;
	CREATE INDEX items_ground ON items (ground) WHERE ground IS NOT NULL;
	CREATE INDEX items_chest ON items (chest) WHERE chest IS NOT NULL;
	CREATE TABLE counts (
		kind      BIGINT PRIMARY KEY,
		made      BIGINT NOT NULL,
		destroyed BIGINT NOT NULL,
		CHECK (made >= destroyed AND destroyed >= 0)
	);
	CREATE TABLE trades (
		id     TEXT PRIMARY KEY,
		a      BIGINT NOT NULL REFERENCES characters (id),
		b      BIGINT NOT NULL REFERENCES characters (id),
		gold_a BIGINT NOT NULL,
		gold_b BIGINT NOT NULL,
		items  BIGINT NOT NULL
	);
	CREATE TABLE deeds (
		id      BIGINT PRIMARY KEY,
		at      BIGINT NOT NULL,
		actor   TEXT NOT NULL,
		action  TEXT NOT NULL,
		subject TEXT NOT NULL,
		text    TEXT NOT NULL
	);
	CREATE TABLE marks (
		one  BIGINT PRIMARY KEY CHECK (one = 1),
		item BIGINT NOT NULL,
		last BIGINT NOT NULL
	);
	INSERT INTO marks VALUES (1, 0, 0)`,
	`ALTER TABLE marks ADD COLUMN played BIGINT NOT NULL DEFAULT 0;
	ALTER TABLE marks ADD COLUMN holder BIGINT NOT NULL DEFAULT 0;
	UPDATE marks SET played = (SELECT coalesce(max(id), 0) FROM characters)`,
}

// versionTable marks a database as a world's and has the version of its schema.
const versionTable = "epi_world"

// migrateTimeout is how long a server is waited for that has a store of an older version.
const migrateTimeout = 3 * time.Second

// migrate brings a database to the newest schema. It refuses one that is something
// else, or newer, or older and another server's, and leaves it as it is.
func (s *SQL) migrate(ctx context.Context) error {
	version, err := s.dialect.known(ctx, s.write)
	if err == nil && version >= 0 && version < len(migrations) {
		wait, cancel := context.WithTimeout(ctx, migrateTimeout)
		defer cancel()
		err = s.keepOut(wait)
	}
	if err != nil {
		return err
	}
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()                     //nolint:errcheck // it is over after Commit
	version, err = s.dialect.known(ctx, tx) // nobody has changed it meanwhile, or to the newest
	if err != nil || version == len(migrations) {
		return err
	}
	if version < 0 {
		if _, err := tx.ExecContext(ctx, "CREATE TABLE "+versionTable+" AS SELECT CAST(0 AS BIGINT) AS version"); err != nil {
			return err
		}
		version = 0
	}
	for ; version < len(migrations); version++ {
		for statement := range strings.SplitSeq(migrations[version], ";") {
			if _, err := tx.ExecContext(ctx, s.dialect.schema.Replace(statement)); err != nil {
				return fmt.Errorf("bring the schema to version %d: %w", version+1, err)
			}
		}
	}
	if _, err := tx.ExecContext(ctx, s.dialect.text("UPDATE "+versionTable+" SET version = $1"), version); err != nil {
		return err
	}
	return tx.Commit()
}

// isCurrent refuses a database that migrate would change.
func (s *SQL) isCurrent(ctx context.Context) error {
	version, err := s.dialect.known(ctx, s.write)
	switch {
	case err != nil:
		return err
	case version < 0:
		return ErrForeign
	case version < len(migrations):
		return fmt.Errorf("%w (the schema is %d, this program makes %d)", ErrOlder, version, len(migrations))
	}
	return nil
}

// A querier is a database, or a transaction.
type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// known returns the version of a world's schema, or -1 for a database without tables.
// It changes nothing.
func (d *dialect) known(ctx context.Context, q querier) (version int, err error) {
	var tables, ours int
	if err := q.QueryRowContext(ctx, d.tables).Scan(&tables, &ours); err != nil {
		return 0, err
	}
	if tables == 0 {
		return -1, nil
	}
	if ours == 0 {
		return 0, ErrForeign
	}
	err = q.QueryRowContext(ctx, "SELECT version FROM "+versionTable).Scan(&version)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, ErrForeign
	}
	if version > len(migrations) {
		return 0, fmt.Errorf("%w (the schema is %d, this program knows %d)", ErrNewer, version, len(migrations))
	}
	return version, err
}
