package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/epinet/epi/apps/internal/sqlitefile"
)

// Account is a method of Store.
func (s *SQL) Account(ctx context.Context, key string) (a Account, c Character, err error) {
	var muted, banned, created int64
	row := s.read.QueryRowContext(ctx, s.dialect.text(`SELECT a.key, a.name, a.secret, a.role, a.muted, a.banned, a.created,
			c.id, c.epoch, c.version, c.x, c.y, c.health, c.experience, c.gold
		FROM accounts a JOIN characters c ON c.account = a.key WHERE a.key = $1`), key)
	err = row.Scan(&a.Key, &a.Name, &a.Secret, &a.Role, &muted, &banned, &created,
		&c.ID, &c.Epoch, &c.Version, &c.X, &c.Y, &c.Health, &c.Experience, &c.Gold)
	if errors.Is(err, sql.ErrNoRows) {
		return Account{}, Character{}, ErrNotFound
	}
	a.Muted, a.Banned, a.Created = sqlitefile.Moment(muted), sqlitefile.Moment(banned), sqlitefile.Moment(created)
	return a, c, err
}

// Items is a method of Store.
func (s *SQL) Items(ctx context.Context, owner Owner) ([]Item, error) {
	return s.items(ctx, owner.column()+" = $1", owner.ID)
}

// Ground is a method of Store.
func (s *SQL) Ground(ctx context.Context) ([]Item, error) { return s.items(ctx, "ground IS NOT NULL") }

func (s *SQL) items(ctx context.Context, where string, args ...any) ([]Item, error) {
	rows, err := s.read.QueryContext(ctx, s.dialect.text("SELECT id, kind, version, player, ground, chest FROM items WHERE "+where+" ORDER BY id"), args...)
	return all(rows, err, func() (i Item, err error) {
		var player, ground, chest sql.NullInt64
		err = rows.Scan(&i.ID, &i.Kind, &i.Version, &player, &ground, &chest)
		switch {
		case player.Valid:
			i.Owner = Of(player.Int64)
		case ground.Valid:
			i.Owner = Owner{Ground, ground.Int64}
		default:
			i.Owner = In(chest.Int64)
		}
		return i, err
	})
}

// Chests is a method of Store.
func (s *SQL) Chests(ctx context.Context) ([]Chest, error) {
	rows, err := s.read.QueryContext(ctx, "SELECT id, x, y FROM chests ORDER BY id")
	return all(rows, err, func() (c Chest, err error) { return c, rows.Scan(&c.ID, &c.X, &c.Y) })
}

// Deeds is a method of Store.
func (s *SQL) Deeds(ctx context.Context, limit int) ([]Deed, error) {
	rows, err := s.read.QueryContext(ctx, s.dialect.text("SELECT at, actor, action, subject, text FROM deeds ORDER BY id DESC LIMIT $1"), limit)
	return all(rows, err, func() (d Deed, err error) {
		var at int64
		err = rows.Scan(&at, &d.Actor, &d.Action, &d.Subject, &d.Text)
		d.At = sqlitefile.Moment(at)
		return d, err
	})
}

// Last is a method of Store.
func (s *SQL) Last(ctx context.Context) (character, item int64, err error) {
	err = s.read.QueryRowContext(ctx, "SELECT played, item FROM marks").Scan(&character, &item)
	return character, item, err
}

// audits are queries for what cannot be. Each row is a word for the text.
var audits = []struct{ query, text string }{
	{`SELECT id FROM items WHERE CASE WHEN player IS NULL THEN 0 ELSE 1 END
		+ CASE WHEN ground IS NULL THEN 0 ELSE 1 END + CASE WHEN chest IS NULL THEN 0 ELSE 1 END != 1`,
		"item %s has not one owner"},
	{"SELECT id FROM items WHERE player IS NOT NULL AND player NOT IN (SELECT id FROM characters)", "item %s belongs to a character that is gone"},
	{"SELECT id FROM items WHERE chest IS NOT NULL AND chest NOT IN (SELECT id FROM chests)", "item %s is in a chest that is gone"},
	{`SELECT kind FROM counts c WHERE kind != 0 AND made - destroyed != (SELECT count(*) FROM items i WHERE i.kind = c.kind)`,
		"of items of kind %s there are not as many as were made and not destroyed"},
	{"SELECT DISTINCT kind FROM items WHERE kind NOT IN (SELECT kind FROM counts)", "items of kind %s were never made"},
	{"SELECT id FROM items WHERE id > (SELECT item FROM marks)", "item %s was never made"},
	{`SELECT coalesce(sum(gold), 0) FROM characters
		HAVING coalesce(sum(gold), 0) != coalesce((SELECT made - destroyed FROM counts WHERE kind = 0), 0)`,
		"there are %s pieces of gold, which is not what was made and not destroyed"},
	{"SELECT id FROM characters WHERE gold < 0", "character %s owes gold"},
	{"SELECT key FROM accounts WHERE key NOT IN (SELECT account FROM characters)", "account %s has no character"},
}

// Audit is a method of Store. It sees the store as it is at one moment.
func (s *SQL) Audit(ctx context.Context) (problems []string, err error) {
	tx, err := s.read.BeginTx(ctx, &sql.TxOptions{Isolation: s.dialect.snapshot, ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer tx.Rollback() //nolint:errcheck // nothing was changed
	checks := audits
	if s.dialect.damage != "" {
		checks = append(checks[:len(checks):len(checks)], struct{ query, text string }{s.dialect.damage, "damage: %s"})
	}
	for _, check := range checks {
		rows, err := tx.QueryContext(ctx, check.query)
		found, err := all(rows, err, func() (word string, err error) { return word, rows.Scan(&word) })
		if err != nil {
			return problems, err
		}
		for _, word := range found {
			problems = append(problems, fmt.Sprintf(check.text, word))
		}
	}
	return problems, nil
}

// all reads rows one by one.
func all[T any](rows *sql.Rows, err error, read func() (T, error)) (list []T, _ error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close() // Err says what there is to say
	for rows.Next() {
		one, err := read()
		if err != nil {
			return nil, err
		}
		list = append(list, one)
	}
	return list, rows.Err()
}

// Close is a method of Store.
func (s *SQL) Close() (err error) {
	if s.claimed != nil {
		err = s.claimed.Close()
	}
	return errors.Join(err, s.read.Close(), s.write.Close())
}
