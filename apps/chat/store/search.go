package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"modernc.org/sqlite"
)

// The index has the words of all messages up to the one that table indexed names.
// It is fed after the commit, a block at a time, since it costs more than keeping
// the message; Search looks through what it does not have yet itself.
const (
	// indexAtOnce is how many messages are indexed in one transaction: senders wait
	// for its end.
	indexAtOnce = 256
	// trigram is the shortest text that the index can find.
	trigram = 3
	// indexPause is how long indexing waits for more: a transaction for each commit would
	// cost more than the commit. What another node has said comes in that time, too: a copy
	// that the index is past would be indexed by itself, which costs ten times as much.
	indexPause = time.Second
	// indexRetry is how long indexing waits after an error.
	indexRetry = time.Second
)

func (s *SQLite) wakeIndexer() {
	select {
	case s.wake <- struct{}{}:
	default: // it knows
	}
}

// keepIndexing feeds the index until the store is closed: with what was there before the pause,
// unless somebody waits for all.
func (s *SQLite) keepIndexing(ctx context.Context) {
	defer close(s.done)
	for {
		select {
		case <-s.wake:
		case <-ctx.Done():
			return
		}
		var latest sql.NullInt64
		err := s.read.QueryRowContext(ctx, "SELECT max(id) FROM messages").Scan(&latest)
		select {
		case <-time.After(indexPause):
		case <-s.hurry:
			latest.Int64 = math.MaxInt64
		case <-ctx.Done():
			return
		}
		for more := true; more && err == nil && ctx.Err() == nil; {
			more, err = s.indexBlock(ctx, latest.Int64)
		}
		if err != nil {
			s.retryIndexing(ctx)
		}
	}
}

// retryIndexing tries again later what failed: a disk that is full, say.
func (s *SQLite) retryIndexing(ctx context.Context) {
	select {
	case <-time.After(indexRetry):
		s.wakeIndexer()
	case <-ctx.Done():
	}
}

// indexBlock indexes the next messages up to a number, and reports whether there are more. What
// it has done need not be durable: a crash that takes it back takes the mark in table indexed
// back, too.
func (s *SQLite) indexBlock(ctx context.Context, upTo int64) (more bool, err error) {
	c, err := s.write.Conn(ctx)
	if err != nil {
		return false, err
	}
	defer c.Close() // it goes back to where it came from
	if _, err := c.ExecContext(ctx, "PRAGMA synchronous = NORMAL"); err != nil {
		return false, err
	}
	more, err = indexNext(ctx, c, upTo)
	if _, failed := c.ExecContext(context.WithoutCancel(ctx), "PRAGMA synchronous = "+s.synchronous); failed != nil {
		_ = c.Raw(func(any) error { return driver.ErrBadConn }) // no message goes through a connection that is not durable
		return false, errors.Join(err, failed)
	}
	return more, err
}

func indexNext(ctx context.Context, c *sql.Conn, upTo int64) (more bool, err error) {
	tx, err := c.BeginTx(ctx, nil)
	if err != nil {
		return false, err
	}
	defer tx.Rollback() // after Commit it has nothing to do
	var last sql.NullInt64
	var count int
	err = tx.QueryRowContext(ctx, "SELECT max(id), count(*) FROM (SELECT id FROM messages WHERE id > (SELECT id FROM indexed) AND id <= ? ORDER BY id LIMIT ?)", upTo, indexAtOnce).Scan(&last, &count)
	if err != nil || !last.Valid {
		return false, err
	}
	for _, statement := range []string{
		"INSERT INTO words (rowid, text) SELECT id, text FROM messages WHERE id > (SELECT id FROM indexed) AND id <= ?1 AND text != ''",
		"UPDATE indexed SET id = ?1",
	} {
		if _, err := tx.ExecContext(ctx, statement, last.Int64); err != nil {
			return false, err
		}
	}
	return count == indexAtOnce, tx.Commit()
}

// WaitIndexed waits until the index has everything that was committed before.
func (s *SQLite) WaitIndexed(ctx context.Context) error {
	for ctx.Err() == nil {
		var behind bool
		err := s.read.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM messages WHERE id > (SELECT id FROM indexed))").Scan(&behind)
		if err != nil || !behind {
			return err
		}
		s.wakeIndexer()
		select {
		case s.hurry <- struct{}{}:
		default: // it has a signal already
		}
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}

// Search is a method of Store.
func (s *SQLite) Search(ctx context.Context, q Search) ([]Message, error) {
	scopes, args, err := s.scopes(ctx, q.Targets)
	if err != nil || scopes == "" {
		return nil, err
	}
	w := where{"WHERE m.flags & ? = 0 AND m.text != ''", []any{flagEvent | flagReaction}}
	if q.hasPhrase() {
		// The index of the words is asked first, and not all that was said in the scopes:
		// a term with a sign is not looked up.
		scopes = strings.ReplaceAll(scopes, "m.target", "+m.target")
	}
	w = w.and(scopes, args...)
	if q.From != "" {
		w = w.and("m.sender = ?", q.From)
	}
	looked, indexed, phrases := w, w, []string(nil)
	for _, text := range q.Text {
		has := hasText(text)
		looked = looked.and(has.text, has.args...)
		if utf8.RuneCountInString(text) < trigram {
			indexed = indexed.and(has.text, has.args...)
			continue
		}
		phrases = append(phrases, `"`+strings.ReplaceAll(text, `"`, `""`)+`"`)
	}
	after, before := int64(q.After), int64(upTo(q.Before))
	if len(phrases) == 0 {
		looked = looked.and("m.id > ? AND m.id < ?", after, before)
		return s.messages(ctx, selectMessage+looked.text+" ORDER BY m.id DESC LIMIT ?", append(looked.args, q.Limit)...)
	}
	// One bound each way: of two, SQLite may walk from the one that leaves more.
	looked = looked.and("m.id > max(?, (SELECT id FROM indexed)) AND m.id < ?", after, before)
	indexed = indexed.and("+m.id > ? AND +m.id < ? AND +m.id <= (SELECT id FROM indexed)", after, before)
	indexed = indexed.and("m.id IN (SELECT rowid FROM words WHERE words MATCH ?)", strings.Join(phrases, " AND "))
	return s.searchBoth(ctx, looked, indexed, q.Limit)
}

// hasPhrase says whether the index can find a part of the text.
func (q *Search) hasPhrase() bool {
	return slices.ContainsFunc(q.Text, func(text string) bool { return utf8.RuneCountInString(text) >= trigram })
}

// A where is a condition with the values in it.
type where struct {
	text string
	args []any
}

func (w where) and(text string, args ...any) where {
	return where{w.text + " AND " + text, append(slices.Clip(w.args), args...)}
}

// searchBoth looks through what the index lacks, and asks the index. Both see the
// same state of the database.
func (s *SQLite) searchBoth(ctx context.Context, looked, indexed where, limit int) (found []Message, err error) {
	tx, err := s.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer tx.Rollback() // it has changed nothing
	for _, w := range []where{looked, indexed} {
		if len(found) == limit {
			break
		}
		rows, err := tx.QueryContext(ctx, selectMessage+w.text+" ORDER BY m.id DESC LIMIT ?", append(slices.Clip(w.args), limit-len(found))...)
		if err != nil {
			return nil, err
		}
		page, err := all(rows, readMessage)
		if err != nil {
			return nil, err
		}
		found = append(found, page...)
	}
	return found, nil
}

// hasText is the condition for messages that have a text in whatever case, as the index
// finds them. LIKE ignores the case of ASCII's letters alone, but costs less.
func hasText(text string) where {
	if strings.ContainsFunc(text, func(r rune) bool { return r >= utf8.RuneSelf && unicode.SimpleFold(r) != r }) {
		return where{"instr(" + lowered + "(m.text), ?) > 0", []any{strings.ToLower(text)}}
	}
	return where{`m.text LIKE ? ESCAPE '\'`, []any{"%" + likeEscaper.Replace(text) + "%"}}
}

// lowered is a function of SQL: a text in lower case, all letters of it.
const lowered = "epi_lowered"

func init() {
	sqlite.MustRegisterDeterministicScalarFunction(lowered, 1, func(_ *sqlite.FunctionContext, args []driver.Value) (driver.Value, error) {
		text, _ := args[0].(string) // NULL has no letters
		return strings.ToLower(text), nil
	})
}

// likeEscaper makes a text mean itself in LIKE.
var likeEscaper = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

// scopes is the condition for the histories that may be looked into.
func (s *SQLite) scopes(ctx context.Context, scopes []Scope) (condition string, args []any, err error) {
	var parts []string
	for _, scope := range scopes {
		var id int64
		err := s.read.QueryRowContext(ctx, "SELECT id FROM targets WHERE name = ?", scope.Target).Scan(&id)
		if errors.Is(err, sql.ErrNoRows) {
			continue // nothing was ever said there
		}
		if err != nil {
			return "", nil, err
		}
		parts = append(parts, "m.target = ? AND m.rank <= ? AND m.id >= ?")
		args = append(args, id, scope.Rank, int64(scope.Since))
	}
	if len(parts) == 0 {
		return "", nil, nil
	}
	return "(" + strings.Join(parts, " OR ") + ")", args, nil
}
