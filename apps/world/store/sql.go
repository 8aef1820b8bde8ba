package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"github.com/epinet/epi/apps/internal/sqlitefile"
)

// SQL is a Store in a database that speaks SQL.
type SQL struct {
	dialect *dialect
	write   *sql.DB // one connection
	read    *sql.DB
	file    string // of SQLite; else empty

	claimed io.Closer    // what keeps others out; nil: nothing
	holder  atomic.Int64 // what the database has as the one that may write; 0: anybody may
}

// A dialect is what differs between databases.
type dialect struct {
	// schema translates the words of the migrations.
	schema *strings.Replacer
	// tables counts the tables there are, and versionTable among them.
	tables string
	// parameter is the sign before a parameter's number.
	parameter string
	// lock makes a SELECT wait for those that change its rows.
	lock string
	// snapshot is the isolation in which all reads see one moment.
	snapshot sql.IsolationLevel
	// damage is a query for words about damage; empty: none.
	damage string
	// claim keeps other servers out, until the Closer is closed or the process ends. It
	// fails with ErrTaken when another one does so.
	claim func(ctx context.Context, s *SQL) (io.Closer, error)
	// broken translates the error of a constraint, which is the fault of one write:
	// ErrNotFound for a reference, else ErrInvalid. Other errors stay as they are.
	broken func(error) error
}

func (d *dialect) text(query string) string {
	if d.parameter == "$" {
		return query
	}
	return strings.ReplaceAll(query, "$", d.parameter)
}

// A transaction is one under way.
type transaction struct {
	ctx     context.Context
	tx      *sql.Tx
	dialect *dialect
}

// change does a statement that must concern one row; otherwise it is refused with
// missing.
func (t *transaction) change(missing error, query string, args ...any) error {
	result, err := t.tx.ExecContext(t.ctx, t.dialect.text(query), args...)
	if err != nil {
		return err
	}
	n, err := result.RowsAffected()
	if err == nil && n != 1 {
		err = missing
	}
	return err
}

// Apply is a method of Store.
func (s *SQL) Apply(ctx context.Context, writes []Write) ([]error, error) {
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer tx.Rollback() //nolint:errcheck // it is over after Commit
	t := &transaction{ctx, tx, s.dialect}
	results := make([]error, len(writes))
	for i, w := range writes {
		if results[i], err = t.one(w); err != nil {
			return nil, err
		}
	}
	mark := rand.Int64()
	if err := t.change(ErrTaken, "UPDATE marks SET last = $1 WHERE CAST($2 AS BIGINT) = 0 OR holder = $2", mark, s.holder.Load()); err != nil {
		return nil, err
	}
	if err := tx.Commit(); err != nil {
		return results, s.settle(mark, err)
	}
	return results, nil
}

// claimEvery is how often a store that another server has is asked for.
const claimEvery = 50 * time.Millisecond

// Claim is a method of Store.
func (s *SQL) Claim(ctx context.Context) error {
	if err := s.keepOut(ctx); err != nil {
		return err
	}
	holder := 1 + rand.Int64N(math.MaxInt64)
	if _, err := s.write.ExecContext(ctx, s.dialect.text("UPDATE marks SET holder = $1"), holder); err != nil {
		return fmt.Errorf("claim the store: %w", err)
	}
	s.holder.Store(holder)
	return nil
}

// keepOut keeps other servers out, unless it does so already, as since a migration.
func (s *SQL) keepOut(ctx context.Context) (err error) {
	if s.claimed != nil {
		return nil
	}
	var taken error
	for {
		if s.claimed, err = s.dialect.claim(ctx, s); !errors.Is(err, ErrTaken) {
			break
		}
		taken = err
		select {
		case <-ctx.Done():
			return taken
		case <-time.After(claimEvery):
		}
	}
	if err != nil && ctx.Err() != nil && taken != nil {
		return taken // it has ended while it was asked again
	}
	if err != nil {
		return fmt.Errorf("claim the store: %w", err)
	}
	return nil
}

// settleTimeout is how long a database that was lost in a commit is waited for.
const settleTimeout = 30 * time.Second

// settle finds out whether a commit came to pass whose answer was lost: it has left
// its mark then.
func (s *SQL) settle(mark int64, lost error) error {
	ctx, cancel := context.WithTimeout(context.Background(), settleTimeout)
	defer cancel()
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		last, err := s.lastMark(ctx)
		if err == nil && last == mark {
			return nil
		}
		if err == nil {
			return lost
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it is not known whether a commit came to pass: %w", errors.Join(lost, err))
		case <-time.After(wait):
		}
	}
}

// lastMark waits for a commit that is still under way: it holds the row.
func (s *SQL) lastMark(ctx context.Context) (last int64, err error) {
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer tx.Rollback() //nolint:errcheck // nothing was changed
	err = tx.QueryRowContext(ctx, "SELECT last FROM marks"+s.dialect.lock).Scan(&last)
	return last, err
}

// one does a write, or nothing of it when it is refused.
func (t *transaction) one(w Write) (refused, err error) {
	if refused := w.check(); refused != nil {
		return refused, nil
	}
	if _, single := w.(Save); single {
		return refusal(w.sql(t))
	}
	if _, err := t.tx.ExecContext(t.ctx, "SAVEPOINT one"); err != nil {
		return nil, err
	}
	failed := w.sql(t)
	if failed == nil {
		_, err := t.tx.ExecContext(t.ctx, "RELEASE SAVEPOINT one")
		return nil, err
	}
	if refused, err = refusal(t.dialect.broken(failed)); err != nil {
		return nil, err
	}
	_, err = t.tx.ExecContext(t.ctx, "ROLLBACK TO SAVEPOINT one")
	return refused, err
}

// refusal separates what is wrong with a write from what is wrong with the database.
func refusal(err error) (refused, failed error) {
	for _, known := range []error{ErrStale, ErrExists, ErrNotFound, ErrGold, ErrAmount, ErrInvalid} {
		if errors.Is(err, known) {
			return err, nil
		}
	}
	return nil, err
}

func (w AddAccount) sql(t *transaction) error {
	a, c := w.Account, w.Character
	err := t.change(ErrExists, "INSERT INTO accounts VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
		a.Key, a.Name, append([]byte{}, a.Secret...), a.Role, sqlitefile.Millis(a.Muted), sqlitefile.Millis(a.Banned), sqlitefile.Millis(a.Created))
	if err != nil {
		return err
	}
	if _, err := t.tx.ExecContext(t.ctx, t.dialect.text("UPDATE marks SET played = $1 WHERE played < $1"), c.ID); err != nil {
		return err
	}
	return t.change(ErrExists, "INSERT INTO characters VALUES ($1, $2, 0, $3, $4, $5, $6, $7, 0) ON CONFLICT DO NOTHING",
		c.ID, a.Key, c.Version, c.X, c.Y, c.Health, c.Experience)
}

func (w Forget) sql(t *transaction) error {
	var id, gold int64
	err := t.tx.QueryRowContext(t.ctx, t.dialect.text("SELECT id, gold FROM characters WHERE account = $1"), w.Key).Scan(&id, &gold)
	if errors.Is(err, sql.ErrNoRows) {
		return ErrNotFound
	}
	if err != nil {
		return err
	}
	if gold > 0 {
		if err := t.destroyed(goldKind, gold); err != nil {
			return err
		}
	}
	for _, statement := range []string{
		"UPDATE counts SET destroyed = destroyed + (SELECT count(*) FROM items WHERE player = $1 AND items.kind = counts.kind) WHERE kind IN (SELECT kind FROM items WHERE player = $1)",
		"DELETE FROM items WHERE player = $1",
		"DELETE FROM trades WHERE a = $1 OR b = $1",
		"DELETE FROM characters WHERE id = $1",
	} {
		if _, err := t.tx.ExecContext(t.ctx, t.dialect.text(statement), id); err != nil {
			return err
		}
	}
	return t.change(ErrNotFound, "DELETE FROM accounts WHERE key = $1", w.Key)
}

func (w Mute) sql(t *transaction) error {
	return t.change(ErrNotFound, "UPDATE accounts SET muted = $2 WHERE key = $1", w.Key, sqlitefile.Millis(w.Until))
}

func (w Ban) sql(t *transaction) error {
	return t.change(ErrNotFound, "UPDATE accounts SET banned = $2 WHERE key = $1", w.Key, sqlitefile.Millis(w.Until))
}

func (w Enter) sql(t *transaction) error {
	return t.change(ErrStale, "UPDATE characters SET epoch = $2, version = 0 WHERE id = $1 AND epoch = $3", w.Character, w.Epoch, w.Epoch-1)
}

func (w Save) sql(t *transaction) error {
	s := w.Soft
	return t.change(ErrStale, "UPDATE characters SET version = $3, x = $4, y = $5, health = $6, experience = $7 WHERE id = $1 AND epoch = $2 AND version < $3",
		w.Character, w.Epoch, s.Version, s.X, s.Y, s.Health, s.Experience)
}

// goldKind is the row of counts that is for gold.
const goldKind = 0

func (t *transaction) made(kind, n int64) error {
	return t.change(ErrForeign, "INSERT INTO counts VALUES ($1, $2, 0) ON CONFLICT (kind) DO UPDATE SET made = counts.made + excluded.made", kind, n)
}

func (t *transaction) destroyed(kind, n int64) error {
	return t.change(ErrForeign, "UPDATE counts SET destroyed = destroyed + $2 WHERE kind = $1", kind, n)
}

// columns returns an owner as the three columns of items.
func (o Owner) columns() (player, ground, chest any) {
	switch o.Kind {
	case Player:
		return o.ID, nil, nil
	case Ground:
		return nil, o.ID, nil
	default:
		return nil, nil, o.ID
	}
}

// column returns the column of items that has such an owner.
func (o Owner) column() string {
	switch o.Kind {
	case Player:
		return "player"
	case Ground:
		return "ground"
	default:
		return "chest"
	}
}

func (w Make) sql(t *transaction) error {
	if err := t.change(ErrExists, "UPDATE marks SET item = $1 WHERE item < $1", w.Item.ID); err != nil {
		return err
	}
	player, ground, chest := w.Item.Owner.columns()
	err := t.change(ErrExists, "INSERT INTO items VALUES ($1, $2, 1, $3, $4, $5)", w.Item.ID, w.Item.Kind, player, ground, chest)
	if err != nil {
		return err
	}
	return t.made(w.Item.Kind, 1)
}

func (w Destroy) sql(t *transaction) error {
	i := w.Item
	err := t.change(ErrStale, "DELETE FROM items WHERE id = $1 AND version = $2 AND kind = $3 AND "+i.Owner.column()+" = $4", i.ID, i.Version, i.Kind, i.Owner.ID)
	if err != nil {
		return err
	}
	return t.destroyed(i.Kind, 1)
}

func (w Move) sql(t *transaction) error { return t.give(w.Item, w.To) }

func (t *transaction) give(i Item, to Owner) error {
	player, ground, chest := to.columns()
	return t.change(ErrStale, "UPDATE items SET version = version + 1, player = $1, ground = $2, chest = $3 WHERE id = $4 AND version = $5 AND kind = $6 AND "+
		i.Owner.column()+" = $7", player, ground, chest, i.ID, i.Version, i.Kind, i.Owner.ID)
}

func (w MakeGold) sql(t *transaction) error {
	if err := t.pay(w.Character, w.Amount); err != nil {
		return err
	}
	return t.made(goldKind, w.Amount)
}

func (w DestroyGold) sql(t *transaction) error {
	if err := t.pay(w.Character, -w.Amount); err != nil {
		return err
	}
	return t.destroyed(goldKind, w.Amount)
}

func (t *transaction) pay(character, amount int64) error {
	return t.change(ErrGold, "UPDATE characters SET gold = gold + $2 WHERE id = $1 AND gold + $2 >= 0 AND gold + $2 <= $3", character, amount, int64(MaxGold))
}

func (w Trade) sql(t *transaction) error {
	err := t.change(ErrExists, "INSERT INTO trades VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
		w.ID, w.A.Character, w.B.Character, w.A.Gold, w.B.Gold, len(w.A.Items)+len(w.B.Items))
	if err != nil {
		return err
	}
	if err := t.settleGold(w.A, w.B); err != nil {
		return err
	}
	for _, side := range [][2]Offer{{w.A, w.B}, {w.B, w.A}} {
		for _, item := range side[0].Items {
			if err := t.give(item, Of(side[1].Character)); err != nil {
				return err
			}
		}
	}
	return nil
}

// settleGold changes both purses. Each must have what its side offers, also when it
// gets more.
func (t *transaction) settleGold(a, b Offer) error {
	for _, side := range [][2]Offer{{a, b}, {b, a}} {
		err := t.change(ErrGold, "UPDATE characters SET gold = gold - $2 + $3 WHERE id = $1 AND gold >= $2 AND gold - $2 + $3 <= $4",
			side[0].Character, side[0].Gold, side[1].Gold, int64(MaxGold))
		if err != nil {
			return err
		}
	}
	return nil
}

func (w AddChest) sql(t *transaction) error {
	return t.change(ErrExists, "INSERT INTO chests VALUES ($1, $2, $3) ON CONFLICT DO NOTHING", w.Chest.ID, w.Chest.X, w.Chest.Y)
}

func (w Note) sql(t *transaction) error {
	d := w.Deed
	return t.change(ErrExists, "INSERT INTO deeds SELECT coalesce(max(id), 0) + 1, CAST($1 AS BIGINT), CAST($2 AS TEXT), CAST($3 AS TEXT), CAST($4 AS TEXT), CAST($5 AS TEXT) FROM deeds",
		sqlitefile.Millis(d.At), d.Actor, d.Action, d.Subject, d.Text)
}
