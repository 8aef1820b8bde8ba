package store

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"strings"

	"github.com/epinet/epi/apps/internal/sqlitefile"
)

const selectMessage = "SELECT m.id, t.name, m.command, m.params, m.source, m.account, m.flags, m.rank, m.tags, m.text, m.joined, m.reply, m.edited, m.shown FROM messages m JOIN targets t ON t.id = m.target "

func readMessage(scan func(...any) error) (m Message, err error) {
	var params, joined string
	var flags int
	if err := scan(&m.ID, &m.Target, &m.Command, &params, &m.Source, &m.Account, &flags, &m.Rank, &m.Tags, &m.Text, &joined, &m.Reply, &m.Edited, &m.Shown); err != nil {
		return m, err
	}
	m.Bot, m.Reaction = flags&flagBot != 0, flags&flagReaction != 0
	if m.Params, err = decode[[]string](params); err != nil {
		return m, err
	}
	m.Joined, err = decode[[]int](joined)
	return m, err
}

func (s *SQLite) messages(ctx context.Context, query string, args ...any) ([]Message, error) {
	rows, err := s.read.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	return all(rows, readMessage)
}

// Messages is a method of Store.
func (s *SQLite) Messages(ctx context.Context, q Query) ([]Message, error) {
	hidden := flagReaction
	if !q.Events {
		hidden |= flagEvent
	}
	direction := "ASC"
	if q.Latest {
		direction = "DESC"
	}
	page, err := s.messages(ctx, selectMessage+`WHERE m.target = (SELECT id FROM targets WHERE name = ?) AND m.id > ? AND m.id < ?
		AND m.rank <= ? AND m.flags & ? = 0 ORDER BY m.id `+direction+` LIMIT ?`,
		q.Target, int64(q.After), int64(upTo(q.Before)), q.Rank, hidden, q.Limit)
	if q.Latest {
		slices.Reverse(page)
	}
	return page, err
}

// upTo is the end of a range, 0 being none.
func upTo(before ID) ID {
	if before == 0 {
		return 1<<63 - 1
	}
	return before
}

// Message is a method of Store.
func (s *SQLite) Message(ctx context.Context, id ID) (Message, error) {
	return one(s.read.QueryRowContext(ctx, selectMessage+"WHERE m.id = ?", int64(id)), readMessage)
}

// Reactions is a method of Store.
func (s *SQLite) Reactions(ctx context.Context, to []ID) ([]Message, error) {
	if len(to) == 0 {
		return nil, nil
	}
	args := []any{flagReaction}
	for _, id := range to {
		args = append(args, int64(id))
	}
	return s.messages(ctx, selectMessage+"WHERE m.flags & ? != 0 AND m.reply != 0 AND m.reply IN ("+placeholders(len(to))+") ORDER BY m.id", args...)
}

func placeholders(n int) string { return strings.TrimSuffix(strings.Repeat("?,", n), ",") }

// Latest is a method of Store.
func (s *SQLite) Latest(ctx context.Context, targets []string, after, before ID, limit int) ([]Target, error) {
	var found []Target
	for _, name := range targets {
		var latest sql.NullInt64
		err := s.read.QueryRowContext(ctx, `SELECT max(id) FROM messages WHERE target = (SELECT id FROM targets WHERE name = ?)
			AND id > ? AND id < ? AND flags & ? = 0`, name, int64(after), int64(upTo(before)), flagReaction|flagEvent).Scan(&latest)
		if err != nil {
			return nil, err
		}
		if latest.Valid {
			found = append(found, Target{name, ID(latest.Int64)})
		}
	}
	return earliest(found, limit), nil
}

// earliest sorts targets, and leaves out what is above the limit.
func earliest(found []Target, limit int) []Target {
	slices.SortFunc(found, func(a, b Target) int { return cmp.Compare(a.Latest, b.Latest) })
	return found[:min(len(found), limit)]
}

// Own is a method of Store.
func (s *SQLite) Own(ctx context.Context, after ID, limit int) ([]Message, error) {
	return s.messages(ctx, selectMessage+"WHERE m.id > ? AND m.flags & ? = 0 ORDER BY m.id LIMIT ?", int64(after), flagCopy, limit)
}

// Last is a method of Store.
func (s *SQLite) Last(ctx context.Context) (ID, error) {
	var last sql.NullInt64
	err := s.read.QueryRowContext(ctx, "SELECT max(id) FROM messages").Scan(&last)
	return ID(last.Int64), err
}

// Targets returns the names of all histories that have something, in order.
func (s *SQLite) Targets(ctx context.Context) ([]string, error) {
	rows, err := s.read.QueryContext(ctx, "SELECT name FROM targets WHERE EXISTS (SELECT 1 FROM messages WHERE target = targets.id) ORDER BY name")
	if err != nil {
		return nil, err
	}
	return all(rows, func(scan func(...any) error) (name string, err error) { return name, scan(&name) })
}

// Conversations is a method of Store.
func (s *SQLite) Conversations(ctx context.Context, account string) ([]string, error) {
	rows, err := s.read.QueryContext(ctx, "SELECT t.name FROM conversations c JOIN targets t ON t.id = c.target WHERE c.account = ? ORDER BY t.name", fold(account))
	if err != nil {
		return nil, err
	}
	return all(rows, func(scan func(...any) error) (name string, err error) { return name, scan(&name) })
}

const selectAccount = "SELECT a.name, a.created, a.email, a.verified, a.role, a.suspended, a.settings FROM accounts a "

func readAccount(scan func(...any) error) (a Account, err error) {
	var created int64
	var settings string
	if err := scan(&a.Name, &created, &a.Email, &a.Verified, &a.Role, &a.Suspended, &settings); err != nil {
		return a, err
	}
	a.Created = sqlitefile.Moment(created)
	a.Settings, err = decode[map[string]string](settings)
	return a, err
}

// Positions is a method of Store.
func (s *SQLite) Positions(ctx context.Context) ([]Position, error) {
	rows, err := s.read.QueryContext(ctx, "SELECT shard, stream, number, at FROM positions ORDER BY shard")
	if err != nil {
		return nil, err
	}
	return all(rows, func(scan func(...any) error) (p Position, err error) {
		return p, scan(&p.Shard, &p.Stream, &p.Number, &p.At)
	})
}

// Shared is a method of Store.
func (s *SQLite) Shared(ctx context.Context) (ID, error) {
	return one(s.read.QueryRowContext(ctx, "SELECT up_to FROM shared"), func(scan func(...any) error) (upTo ID, err error) { return upTo, scan(&upTo) })
}

// Announced is a method of Store.
func (s *SQLite) Announced(ctx context.Context, limit int) ([]Outgoing, error) {
	rows, err := s.read.QueryContext(ctx, "SELECT number, target, entry FROM announced ORDER BY number LIMIT ?", limit)
	if err != nil {
		return nil, err
	}
	return all(rows, func(scan func(...any) error) (o Outgoing, err error) { return o, scan(&o.Number, &o.Target, &o.Entry) })
}

// Account is a method of Store.
func (s *SQLite) Account(ctx context.Context, name string) (Account, error) {
	return one(s.read.QueryRowContext(ctx, selectAccount+"WHERE a.folded = ?", fold(name)), readAccount)
}

// Accounts is a method of Store.
func (s *SQLite) Accounts(ctx context.Context, fn func(Account) error) error {
	rows, err := s.read.QueryContext(ctx, selectAccount+"ORDER BY a.folded")
	if err != nil {
		return err
	}
	return each(rows, readAccount, fn)
}

// each calls fn for every row.
func each[T any](rows *sql.Rows, read func(scan func(...any) error) (T, error), fn func(T) error) error {
	_, err := all(rows, func(scan func(...any) error) (none struct{}, err error) {
		one, err := read(scan)
		if err != nil {
			return none, err
		}
		return none, fn(one)
	})
	return err
}

func readCredential(scan func(...any) error) (c Credential, err error) {
	var created, used int64
	if err := scan(&c.Account, &c.Kind, &c.Label, &c.Secret, &created, &used); err != nil {
		return c, err
	}
	c.Created, c.Used = sqlitefile.Moment(created), sqlitefile.Moment(used)
	return c, nil
}

// Credentials is a method of Store.
func (s *SQLite) Credentials(ctx context.Context, account string) ([]Credential, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT a.name, c.kind, c.label, c.secret, c.created, c.used
		FROM credentials c JOIN accounts a ON a.folded = c.account WHERE c.account = ? ORDER BY c.kind, c.label`, fold(account))
	if err != nil {
		return nil, err
	}
	return all(rows, readCredential)
}

// FindCredential is a method of Store.
func (s *SQLite) FindCredential(ctx context.Context, kind CredentialKind, secret string) (Account, error) {
	return one(s.read.QueryRowContext(ctx, selectAccount+"JOIN credentials c ON c.account = a.folded WHERE c.kind = ? AND c.secret = ?", kind, secret), readAccount)
}

func readState[T any](scan func(...any) error) (v T, err error) {
	var state string
	if err := scan(&state); err != nil {
		return v, err
	}
	return decode[T](state)
}

// Channels is a method of Store.
func (s *SQLite) Channels(ctx context.Context, fn func(Channel) error) error {
	rows, err := s.read.QueryContext(ctx, "SELECT state FROM channels ORDER BY folded")
	if err != nil {
		return err
	}
	return each(rows, readState[Channel], fn)
}

// Channel is a method of Store.
func (s *SQLite) Channel(ctx context.Context, name string) (Channel, error) {
	return one(s.read.QueryRowContext(ctx, "SELECT state FROM channels WHERE folded = ?", fold(name)), readState[Channel])
}

// Presences is a method of Store.
func (s *SQLite) Presences(ctx context.Context) ([]Presence, error) {
	rows, err := s.read.QueryContext(ctx, "SELECT state FROM presences ORDER BY account")
	if err != nil {
		return nil, err
	}
	return all(rows, readState[Presence])
}

// Bans is a method of Store.
func (s *SQLite) Bans(ctx context.Context) ([]Ban, error) {
	rows, err := s.read.QueryContext(ctx, "SELECT mask, reason, setter, at, until FROM bans ORDER BY mask")
	if err != nil {
		return nil, err
	}
	return all(rows, func(scan func(...any) error) (b Ban, err error) {
		var at, until int64
		err = scan(&b.Mask, &b.Reason, &b.By, &at, &until)
		b.At, b.Until = sqlitefile.Moment(at), sqlitefile.Moment(until)
		return b, err
	})
}

// Markers is a method of Store.
func (s *SQLite) Markers(ctx context.Context, account string) ([]Marker, error) {
	rows, err := s.read.QueryContext(ctx, "SELECT account, target, at FROM markers WHERE account = ? ORDER BY target", fold(account))
	if err != nil {
		return nil, err
	}
	return all(rows, func(scan func(...any) error) (m Marker, err error) {
		var at int64
		err = scan(&m.Account, &m.Target, &at)
		m.At = sqlitefile.Moment(at)
		return m, err
	})
}

// Metadata is a method of Store.
func (s *SQLite) Metadata(ctx context.Context, owner string) ([]Datum, error) {
	rows, err := s.read.QueryContext(ctx, "SELECT owner, key, value FROM metadata WHERE ?1 = '' OR owner = ?1 ORDER BY owner, key", owner)
	if err != nil {
		return nil, err
	}
	return all(rows, func(scan func(...any) error) (d Datum, err error) { return d, scan(&d.Owner, &d.Key, &d.Value) })
}

const selectUpload = "SELECT id, account, target, name, type, size, created, expires FROM uploads "

func readUpload(scan func(...any) error) (u Upload, err error) {
	var created, expires int64
	err = scan(&u.ID, &u.Account, &u.Target, &u.Name, &u.Type, &u.Size, &created, &expires)
	u.Created, u.Expires = sqlitefile.Moment(created), sqlitefile.Moment(expires)
	return u, err
}

// Upload is a method of Store.
func (s *SQLite) Upload(ctx context.Context, id string) (Upload, error) {
	return one(s.read.QueryRowContext(ctx, selectUpload+"WHERE id = ?", id), readUpload)
}

// Uploads is a method of Store.
func (s *SQLite) Uploads(ctx context.Context, account string) ([]Upload, error) {
	rows, err := s.read.QueryContext(ctx, selectUpload+"WHERE ?1 = '' OR account = ?1 ORDER BY created, id", fold(account))
	if err != nil {
		return nil, err
	}
	return all(rows, readUpload)
}

// Subscriptions is a method of Store.
func (s *SQLite) Subscriptions(ctx context.Context, account string) ([]Subscription, error) {
	rows, err := s.read.QueryContext(ctx, "SELECT account, endpoint, keys, created FROM subscriptions WHERE account = ? ORDER BY endpoint", fold(account))
	if err != nil {
		return nil, err
	}
	return all(rows, func(scan func(...any) error) (u Subscription, err error) {
		var created int64
		err = scan(&u.Account, &u.Endpoint, &u.Keys, &created)
		u.Created = sqlitefile.Moment(created)
		return u, err
	})
}

// Invitation is a method of Store.
func (s *SQLite) Invitation(ctx context.Context, hash string) (Invitation, error) {
	row := s.read.QueryRowContext(ctx, "SELECT hash, by, role, channel, created, expires, uses FROM invitations WHERE hash = ?", hash)
	return one(row, func(scan func(...any) error) (i Invitation, err error) {
		var created, expires int64
		err = scan(&i.Hash, &i.By, &i.Role, &i.Channel, &created, &expires, &i.Left)
		i.Created, i.Expires = sqlitefile.Moment(created), sqlitefile.Moment(expires)
		return i, err
	})
}

// Audit is a method of Store.
func (s *SQLite) Audit(ctx context.Context, limit int) ([]Deed, error) {
	rows, err := s.read.QueryContext(ctx, "SELECT at, by, what, target, detail FROM deeds ORDER BY id DESC LIMIT ?", limit)
	if err != nil {
		return nil, err
	}
	return all(rows, func(scan func(...any) error) (d Deed, err error) {
		var at int64
		err = scan(&at, &d.By, &d.What, &d.Target, &d.Detail)
		d.At = sqlitefile.Moment(at)
		return d, err
	})
}
