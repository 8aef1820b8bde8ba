package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// The values of SQLSTATE that something depends on (PostgreSQL, appendix A).
const (
	integrityViolation = "23" // a class
	foreignKey         = "23503"
)

var postgresDialect = &dialect{
	schema:    strings.NewReplacer(),
	tables:    "SELECT count(*), count(*) FILTER (WHERE table_name = '" + versionTable + "') FROM information_schema.tables WHERE table_schema = current_schema()",
	parameter: "$",
	lock:      " FOR UPDATE",
	snapshot:  sql.LevelRepeatableRead,
	claim:     claimSchema,
	broken: func(err error) error {
		var failed *pgconn.PgError
		switch {
		case !errors.As(err, &failed) || !strings.HasPrefix(failed.Code, integrityViolation):
			return err
		case failed.Code == foreignKey:
			return ErrNotFound
		}
		return ErrInvalid
	},
}

// claimKey is the first half of the key of an advisory lock: those of others are not ours.
const claimKey = 0x65706977 // "epiw"

// claimSchema takes an advisory lock, which lasts as long as its connection
// (PostgreSQL, "Advisory Locks").
func claimSchema(ctx context.Context, s *SQL) (io.Closer, error) {
	conn, err := s.read.Conn(ctx)
	if err != nil {
		return nil, err
	}
	var ours bool
	err = conn.QueryRowContext(ctx, "SELECT pg_try_advisory_lock($1, hashtext(current_schema()))", claimKey).Scan(&ours)
	if err == nil && ours {
		return schemaClaim{conn}, nil
	}
	if err == nil {
		err = ErrTaken
	}
	_ = conn.Close() // the other error says more
	return nil, err
}

// A schemaClaim is a connection that has the lock.
type schemaClaim struct{ conn *sql.Conn }

// Close ends the connection: given back, it would keep the lock.
func (c schemaClaim) Close() error {
	err := c.conn.Raw(func(any) error { return driver.ErrBadConn })
	if errors.Is(err, driver.ErrBadConn) {
		err = nil
	}
	return err
}

// maxReaders bounds the connections to PostgreSQL for reading.
const maxReaders = 8

// OpenPostgres opens a database of PostgreSQL, of version 15 or later, whose address
// is a URL or a list of keywords (libpq, "Connection Strings"). An empty database is
// made a world's.
func OpenPostgres(ctx context.Context, address string) (*SQL, error) {
	return openPostgres(ctx, address, (*SQL).migrate)
}

func openPostgres(ctx context.Context, address string, prepare func(*SQL, context.Context) error) (*SQL, error) {
	config, err := pgx.ParseConfig(address)
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err) // pgx leaves the password out
	}
	config.RuntimeParams["synchronous_commit"] = "on"
	s := &SQL{dialect: postgresDialect, write: stdlib.OpenDB(*config), read: stdlib.OpenDB(*config)}
	s.write.SetMaxOpenConns(1)
	s.read.SetMaxOpenConns(maxReaders)
	if err := prepare(s, ctx); err != nil {
		_ = s.Close() // the other error says more
		return nil, fmt.Errorf("open the database %s at %s: %w", config.Database, config.Host, err)
	}
	return s, nil
}

// Open opens the store of an address: a URL that begins with postgres:// or
// postgresql://, or the name of a file for SQLite. One of an older version is claimed and brought up to date, and that
// version can use it no more; it fails with ErrTaken while another server has it.
func Open(ctx context.Context, address string) (*SQL, error) {
	return openBy(ctx, address, (*SQL).migrate)
}

// OpenAsIs is Open for a store that another program may serve: it fails with ErrOlder for one of an older
// version.
func OpenAsIs(ctx context.Context, address string) (*SQL, error) {
	return openBy(ctx, address, (*SQL).isCurrent)
}

func openBy(ctx context.Context, address string, prepare func(*SQL, context.Context) error) (*SQL, error) {
	if isPostgres(address) {
		return openPostgres(ctx, address, prepare)
	}
	if scheme, _, isURL := strings.Cut(address, "://"); isURL {
		return nil, fmt.Errorf("%w, and the address begins with %s://", ErrScheme, scheme)
	}
	return openFile(ctx, address, prepare)
}

func isPostgres(address string) bool {
	return strings.HasPrefix(address, "postgres://") || strings.HasPrefix(address, "postgresql://")
}
