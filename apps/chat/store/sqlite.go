package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"

	"github.com/epinet/epi/apps/chat/ircmsg"
	"github.com/epinet/epi/apps/internal/sqlitefile"
)

// A Durability says when Apply returns.
type Durability string

// The durabilities.
const (
	// Commit: what Apply returned for survives the end of the program and of the
	// machine's power.
	Commit Durability = "commit"
	// Relaxed: it survives the end of the program; of the power, all but the last
	// moments.
	Relaxed Durability = "relaxed"
)

// SQLite is a Store in one file, with its write-ahead log beside it.
type SQLite struct {
	write *sql.DB // one connection
	read  *sql.DB

	targets        map[string]int64 // Apply's: ids of targets
	insertMessages inserts
	// insertCopies and readBounds are Apply's, and prepared when there are copies.
	insertCopies inserts
	readBounds   *sql.Stmt

	wake  chan struct{} // something is to be indexed
	hurry chan struct{} // somebody waits for that
	// synchronous is how the writer's commits are made durable (PRAGMA synchronous).
	synchronous string
	end         context.CancelFunc
	done        chan struct{} // indexing has ended
}

// Open opens the database in a file, and makes it if there is none. One of an older version is
// brought up to date, and that version can use it no more.
func Open(ctx context.Context, file string, d Durability) (*SQLite, error) {
	return openBy(ctx, file, d, migrate)
}

// OpenAsIs is Open for a database that another program may serve: it fails with ErrOlder for one of an
// older version.
func OpenAsIs(ctx context.Context, file string, d Durability) (*SQLite, error) {
	return openBy(ctx, file, d, isCurrent)
}

func openBy(ctx context.Context, file string, d Durability, prepare func(context.Context, *sql.DB) error) (*SQLite, error) {
	s, err := open(ctx, file, d, prepare)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", file, err)
	}
	return s, nil
}

func open(ctx context.Context, file string, d Durability, prepare func(context.Context, *sql.DB) error) (*SQLite, error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return nil, err
	}
	if err := inspect(ctx, file); err != nil {
		return nil, err
	}
	synchronous := "FULL"
	if d == Relaxed {
		synchronous = "NORMAL"
	}
	write, err := sqlitefile.Open(file, url.Values{"_txlock": {"immediate"}}, "journal_mode(WAL)", "synchronous("+synchronous+")", "foreign_keys(1)")
	if err != nil {
		return nil, err
	}
	write.SetMaxOpenConns(1)
	if err := prepare(ctx, write); err != nil {
		_ = write.Close() // the other error says more
		return nil, err
	}
	if err := os.Chmod(file, 0o600); err != nil {
		_ = write.Close()
		return nil, err
	}
	messages, err := prepareInserts(ctx, write, insertMessage)
	if err != nil {
		_ = write.Close()
		return nil, err
	}
	read, err := sqlitefile.Open(file, sqlitefile.ReadOnly(), "query_only(1)")
	if err != nil {
		_ = write.Close()
		return nil, err
	}
	read.SetMaxOpenConns(max(2, runtime.GOMAXPROCS(0)))
	s := &SQLite{write: write, read: read, targets: map[string]int64{}, insertMessages: messages, wake: make(chan struct{}, 1), hurry: make(chan struct{}, 1), synchronous: synchronous, done: make(chan struct{})}
	var background context.Context
	background, s.end = context.WithCancel(context.Background())
	go s.keepIndexing(background)
	s.wakeIndexer()
	return s, nil
}

// Close is a method of Store.
func (s *SQLite) Close() error {
	s.end()
	<-s.done
	return errors.Join(s.read.Close(), s.write.Close())
}

// Backup writes a copy of the database in a file, as it is now, of any version, into one that must not
// exist. Reading and writing go on meanwhile, in any process.
func Backup(ctx context.Context, file, to string) error {
	if err := inspect(ctx, file); err != nil {
		return fmt.Errorf("open %s: %w", file, err)
	}
	return sqlitefile.Backup(ctx, file, to)
}

// Check looks for damage, and returns what it found, in words.
func (s *SQLite) Check(ctx context.Context) (problems []string, err error) {
	for _, check := range []struct{ query, what string }{
		{"SELECT integrity_check FROM pragma_integrity_check WHERE integrity_check != 'ok'", "%s"},
		{"SELECT DISTINCT \"table\" FROM pragma_foreign_key_check", "rows of %s refer to what is gone"},
		{"SELECT count(*) FROM messages WHERE reply >= id HAVING count(*) > 0", "%s messages reply to later ones"},
		{"SELECT count(*) FROM messages WHERE target NOT IN (SELECT id FROM targets) HAVING count(*) > 0", "%s messages belong to nothing"},
		{"SELECT count(*) FROM words WHERE rowid NOT IN (SELECT id FROM messages) HAVING count(*) > 0", "the index has %s messages that are gone"},
		{"SELECT count(*) FROM messages WHERE text != '' AND id <= (SELECT id FROM indexed) AND id NOT IN (SELECT rowid FROM words) HAVING count(*) > 0",
			"the index lacks %s messages"},
	} {
		rows, err := s.read.QueryContext(ctx, check.query)
		if err != nil {
			return problems, err
		}
		found, err := all(rows, func(scan func(...any) error) (text string, err error) { return text, scan(&text) })
		if err != nil {
			return problems, err
		}
		for _, text := range found {
			problems = append(problems, fmt.Sprintf(check.what, text))
		}
	}
	return problems, nil
}

// all reads rows one by one.
func all[T any](rows *sql.Rows, read func(scan func(...any) error) (T, error)) (list []T, err error) {
	defer rows.Close() // Err says what there is to say
	for rows.Next() {
		one, err := read(rows.Scan)
		if err != nil {
			return nil, err
		}
		list = append(list, one)
	}
	return list, rows.Err()
}

// one reads a single row, whose absence is ErrNotFound.
func one[T any](row *sql.Row, read func(scan func(...any) error) (T, error)) (T, error) {
	got, err := read(row.Scan)
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	return got, err
}

// fold is how names are compared.
func fold(name string) string { return ircmsg.ASCII.Fold(name) }

// encode is for what is kept as a whole and never searched.
func encode(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // the types here have nothing that cannot be written
	}
	return string(text)
}

func decode[T any](text string) (v T, err error) {
	if text == "" {
		return v, nil
	}
	err = json.Unmarshal([]byte(text), &v)
	return v, err
}
