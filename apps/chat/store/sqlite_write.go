package store

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/epinet/epi/apps/internal/sqlitefile"
)

// The flags of a message.
const (
	flagBot = 1 << iota
	flagReaction
	flagEvent // it is not something said
	flagCopy  // another machine has said it
)

func flagsOf(m *Message) (flags int) {
	if m.Bot {
		flags |= flagBot
	}
	if m.Reaction {
		flags |= flagReaction
	}
	if m.isEvent() {
		flags |= flagEvent
	}
	return flags
}

// isEvent reports whether a message is not something said.
func (m *Message) isEvent() bool {
	return m.Command != "PRIVMSG" && m.Command != "NOTICE" && !m.Reaction
}

// Apply is a method of Store.
func (s *SQLite) Apply(ctx context.Context, writes []Write) (results []error, err error) {
	if err := s.prepareCopies(ctx, writes); err != nil {
		return nil, err
	}
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer tx.Rollback() // after Commit it has nothing to do
	t := &transaction{ctx: ctx, tx: tx, store: s, fresh: map[string]int64{}}
	for i, w := range writes {
		refused, err := t.apply(w)
		if err != nil {
			return nil, err
		}
		if refused == nil {
			continue
		}
		if results == nil {
			results = make([]error, len(writes))
		}
		results[i] = refused
	}
	if err := t.flush(); err != nil {
		return nil, err
	}
	if err := tx.Commit(); err != nil {
		return nil, err
	}
	for name, id := range t.fresh {
		s.targets[name] = id
	}
	for _, name := range t.stale {
		delete(s.targets, name)
	}
	if t.spoken {
		s.wakeIndexer()
	}
	return results, nil
}

// A batch is messages that one statement, or a few, will insert.
type batch struct {
	values []any // columns of all rows
	rows   int
	full   bool // one of these is no plainRow
}

// A transaction is one call of Apply.
type transaction struct {
	ctx    context.Context
	tx     *sql.Tx
	store  *SQLite
	added  batch            // messages of this machine that are not inserted yet
	copied batch            // and of others
	fresh  map[string]int64 // targets that this transaction has found or made
	stale  []string         // targets that have another name now
	spoken bool             // there is something to index
	// bounds are those of what a copy may need more for than an insert; nil: they were not read yet.
	bounds *bounds
}

// bounds are IDs.
type bounds struct {
	indexed ID // of the latest message that the index is past
	changed ID // the greatest of the table of changes
}

const messageColumns = "id, target, command, source, sender, account, flags, rank, text, params, tags, joined, reply, edited, shown"

const (
	insertMessage = "INSERT INTO messages (" + messageColumns + ") VALUES "
	// insertCopy leaves a message as it is that is there.
	insertCopy = "INSERT OR IGNORE INTO messages (" + messageColumns + ") VALUES "
	// fullRow is a message's row. A plainRow has all columns behind text empty, as most
	// messages have: each value costs a tenth of a row.
	fullRow      = "(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
	plainRow     = "(?,?,?,?,?,?,?,?,?,'','','',0,0,0)"
	fullColumns  = 15
	plainColumns = 9
)

// insertSizes are how many messages a statement inserts: a statement costs more than a row.
var insertSizes = [...]int{64, 16, 4, 1}

// inserts are the statements that insert as many messages as insertSizes say, in full rows
// and in plain ones.
type inserts struct{ full, plain [len(insertSizes)]*sql.Stmt }

func prepareInserts(ctx context.Context, db *sql.DB, insert string) (statements inserts, err error) {
	for i, size := range insertSizes {
		if statements.full[i], err = db.PrepareContext(ctx, insert+fullRow+strings.Repeat(","+fullRow, size-1)); err != nil {
			return statements, err
		}
		if statements.plain[i], err = db.PrepareContext(ctx, insert+plainRow+strings.Repeat(","+plainRow, size-1)); err != nil {
			return statements, err
		}
	}
	return statements, nil
}

// prepareCopies prepares what inserts copies when there are some: a machine that is alone gets none.
func (s *SQLite) prepareCopies(ctx context.Context, writes []Write) (err error) {
	isCopy := func(w Write) bool { _, is := w.(CopyMessage); return is }
	if s.readBounds != nil || !slices.ContainsFunc(writes, isCopy) {
		return nil
	}
	if s.insertCopies, err = prepareInserts(ctx, s.write, insertCopy); err != nil {
		return err
	}
	s.readBounds, err = s.write.PrepareContext(ctx, "SELECT id, (SELECT coalesce(max(id), 0) FROM changes) FROM indexed")
	return err
}

// apply does one write. refused is about that write alone.
func (t *transaction) apply(w Write) (refused, err error) {
	switch w := w.(type) {
	case AddMessage:
		return nil, t.addMessage(&w.Message)
	case CopyMessage:
		return nil, t.copyMessage(&w.Message)
	case PutPosition:
		p := w.Position
		return nil, t.exec("INSERT OR REPLACE INTO positions (shard, stream, number, at) VALUES (?, ?, ?, ?)", p.Shard, p.Stream, int64(p.Number), p.At)
	case PutShared:
		return nil, t.putShared(w)
	case Announce:
		refused, err = t.apply(w.Write)
		if refused != nil || err != nil {
			return refused, err
		}
		return nil, t.exec("INSERT OR REPLACE INTO announced (number, target, entry) VALUES (?, ?, ?)", int64(w.Out.Number), w.Out.Target, w.Out.Entry)
	}
	if err := t.flush(); err != nil { // the order of writes is kept
		return nil, err
	}
	err = t.applyOther(w)
	switch {
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrExists):
		return err, nil
	case sqlitefile.Code(err) == sqlitefile.Constraint:
		return ErrExists, nil
	}
	return nil, err
}

func (t *transaction) putShared(w PutShared) error {
	for _, number := range w.Announced {
		if err := t.exec("DELETE FROM announced WHERE number = ?", int64(number)); err != nil {
			return err
		}
	}
	return t.exec("INSERT OR REPLACE INTO shared (id, up_to) VALUES (1, ?)", int64(w.UpTo))
}

func (t *transaction) addMessage(m *Message) error { return t.gather(&t.added, m, flagsOf(m)) }

// gather puts a message into a batch, and inserts all when that is full.
func (t *transaction) gather(b *batch, m *Message, flags int) (err error) {
	if b.values, err = t.appendRow(b.values, m, flags); err != nil {
		return err
	}
	b.full = b.full || !m.isPlain()
	b.rows++
	t.spoken = t.spoken || m.Text != ""
	if b.rows < insertSizes[0] {
		return nil
	}
	return t.flush()
}

// isPlain reports whether a plainRow holds a message.
func (m *Message) isPlain() bool {
	return len(m.Params) == 0 && m.Tags == "" && len(m.Joined) == 0 && m.Reply == 0 && m.Edited == 0 && m.Shown == 0
}

// copyMessage inserts a message that may be there, as it has become. One that the index is past
// comes alone: only if it is new, it is indexed.
func (t *transaction) copyMessage(m *Message) error {
	if t.bounds == nil {
		b := &bounds{}
		if err := t.tx.StmtContext(t.ctx, t.store.readBounds).QueryRowContext(t.ctx).Scan(&b.indexed, &b.changed); err != nil {
			return err
		}
		t.bounds = b
	}
	if removed, err := t.become(m); removed || err != nil {
		return err
	}
	if m.ID > t.bounds.indexed {
		return t.gather(&t.copied, m, flagsOf(m)|flagCopy)
	}
	if err := t.flush(); err != nil {
		return err
	}
	row, err := t.appendRow(nil, m, flagsOf(m)|flagCopy)
	if err != nil {
		return err
	}
	last := len(insertSizes) - 1
	done, err := t.tx.StmtContext(t.ctx, t.store.insertCopies.full[last]).ExecContext(t.ctx, row...)
	if err != nil {
		return err
	}
	if n, err := done.RowsAffected(); n == 0 || err != nil {
		return err
	}
	return t.indexEarlier(m.ID)
}

// become gives a message the edit that came before it, and says whether its removal did, or that of
// what it reacts to.
func (t *transaction) become(m *Message) (removed bool, err error) {
	if m.Reaction && m.Reply <= t.bounds.changed {
		err := t.tx.QueryRowContext(t.ctx, "SELECT EXISTS (SELECT 1 FROM changes WHERE id = ? AND removed)", int64(m.Reply)).Scan(&removed)
		if removed || err != nil {
			return removed, err
		}
	}
	if m.ID > t.bounds.changed {
		return false, nil
	}
	var edited ID
	var text, joined string
	err = t.tx.QueryRowContext(t.ctx, "SELECT removed, edited, text, joined FROM changes WHERE id = ?", int64(m.ID)).Scan(&removed, &edited, &text, &joined)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return false, nil
	case removed || err != nil || edited < m.Edited:
		return removed, err
	}
	m.Text, m.Edited = text, edited
	m.Joined, err = decode[[]int](joined)
	return false, err
}

// noteChange keeps what has become of a message that a copy may bring. A removal counts whatever
// else is known, and of edits the latest.
func (t *transaction) noteChange(id ID, removed bool, edited ID, text, joined string) error {
	if t.bounds != nil {
		t.bounds.changed = max(t.bounds.changed, id)
	}
	return t.exec(`INSERT INTO changes (id, removed, edited, text, joined) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET removed = excluded.removed, edited = excluded.edited, text = excluded.text, joined = excluded.joined
			WHERE excluded.removed OR NOT removed AND excluded.edited >= edited`, int64(id), removed, int64(edited), text, joined)
}

// indexEarlier indexes a message that the index would not come to any more.
func (t *transaction) indexEarlier(id ID) error {
	return t.exec(`INSERT INTO words (rowid, text) SELECT id, text FROM messages
		WHERE id = ? AND text != '' AND id <= (SELECT id FROM indexed)`, int64(id))
}

// appendRow appends the columns of a message.
func (t *transaction) appendRow(to []any, m *Message, flags int) ([]any, error) {
	target, err := t.target(m.Target)
	if err != nil {
		return to, err
	}
	sender, _, _ := strings.Cut(m.Source, "!")
	params, joined := "", ""
	if len(m.Params) > 0 {
		params = encode(m.Params)
	}
	if len(m.Joined) > 0 {
		joined = encode(m.Joined)
	}
	return append(to, int64(m.ID), target, m.Command, m.Source, fold(sender), m.Account, int64(flags), int64(m.Rank), m.Text,
		params, m.Tags, joined, int64(m.Reply), int64(m.Edited), int64(m.Shown)), nil
}

// flush inserts the messages that were gathered: those of this machine first, since a copy may
// be of one of them.
func (t *transaction) flush() error {
	if err := t.insert(&t.added, &t.store.insertMessages); err != nil {
		return err
	}
	return t.insert(&t.copied, &t.store.insertCopies)
}

func (t *transaction) insert(b *batch, with *inserts) error {
	statements, columns := &with.full, fullColumns
	if !b.full {
		statements, columns = &with.plain, plainColumns
		b.values = plainRows(b.values)
	}
	values := b.values
	for i, size := range insertSizes {
		for ; b.rows >= size; b.rows -= size {
			_, err := t.tx.StmtContext(t.ctx, statements[i]).ExecContext(t.ctx, values[:size*columns]...)
			if err != nil {
				return err
			}
			values = values[size*columns:]
		}
	}
	b.values, b.full = b.values[:0], false
	return nil
}

// plainRows takes out the columns that a plainRow does not have.
func plainRows(rows []any) []any {
	plain := rows[:0]
	for row := range slices.Chunk(rows, fullColumns) {
		plain = append(plain, row[:plainColumns]...)
	}
	return plain
}

// target returns the number of a target, and makes it if there is none.
func (t *transaction) target(name string) (id int64, err error) {
	if id, ok := t.fresh[name]; ok {
		return id, nil
	}
	if id, ok := t.store.targets[name]; ok {
		return id, nil
	}
	err = t.tx.QueryRowContext(t.ctx, "SELECT id FROM targets WHERE name = ?", name).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		id, err = t.makeTarget(name)
	}
	if err != nil {
		return 0, err
	}
	t.fresh[name] = id
	return id, nil
}

func (t *transaction) makeTarget(name string) (int64, error) {
	made, err := t.tx.ExecContext(t.ctx, "INSERT INTO targets (name) VALUES (?)", name)
	if err != nil {
		return 0, err
	}
	id, err := made.LastInsertId()
	if err != nil {
		return 0, err
	}
	a, b, ok := strings.Cut(name, " ")
	if !ok {
		return id, nil
	}
	return id, t.exec("INSERT OR IGNORE INTO conversations (account, target) VALUES (?, ?), (?, ?)", a, id, b, id)
}

func (t *transaction) exec(statement string, args ...any) error {
	_, err := t.tx.ExecContext(t.ctx, statement, args...)
	return err
}

// change is exec for a statement that must find something.
func (t *transaction) change(statement string, args ...any) error {
	done, err := t.tx.ExecContext(t.ctx, statement, args...)
	if err != nil {
		return err
	}
	n, err := done.RowsAffected()
	if err == nil && n == 0 {
		err = ErrNotFound
	}
	return err
}

func (t *transaction) applyOther(w Write) error {
	switch w := w.(type) {
	case EditMessage:
		return t.editMessage(w)
	case RemoveMessage:
		if err := t.noteChange(w.ID, true, 0, "", ""); err != nil {
			return err
		}
		return t.removeMessages("id = ?1 OR reply = ?1 AND flags & ?2 != 0", int64(w.ID), flagReaction)
	case RemoveBefore:
		return t.removeBefore(w)
	case RenameTarget:
		return t.renameTarget(w)
	case AddAccount:
		return t.addAccount(w)
	case SetRole:
		return t.change("UPDATE accounts SET role = ? WHERE folded = ?", w.Role, fold(w.Account))
	case SetSuspended:
		return t.change("UPDATE accounts SET suspended = ? WHERE folded = ?", w.Reason, fold(w.Account))
	case SetVerified:
		return t.change("UPDATE accounts SET verified = TRUE WHERE folded = ?", fold(w.Account))
	case ReplaceAccount:
		return t.replaceAccount(w)
	case RemoveAccount:
		return t.removeAccount(fold(w.Name))
	case PutCredential:
		return t.putCredential(w.Credential)
	case RemoveCredential:
		return t.change("DELETE FROM credentials WHERE account = ? AND kind = ? AND label = ?", fold(w.Account), w.Kind, w.Label)
	case TouchCredential:
		return t.change("UPDATE credentials SET used = ? WHERE account = ? AND kind = ? AND label = ?", sqlitefile.Millis(w.Used), fold(w.Account), w.Kind, w.Label)
	case PutChannel:
		return t.exec("INSERT OR REPLACE INTO channels (folded, name, state) VALUES (?, ?, ?)", fold(w.Channel.Name), w.Channel.Name, encode(w.Channel))
	case AddChannel:
		err := t.change("INSERT OR IGNORE INTO channels (folded, name, state) VALUES (?, ?, ?)", fold(w.Channel.Name), w.Channel.Name, encode(w.Channel))
		if errors.Is(err, ErrNotFound) { // nothing was inserted
			return ErrExists
		}
		return err
	case RemoveChannel:
		return t.change("DELETE FROM channels WHERE folded = ?", fold(w.Name))
	case PutBan:
		return t.exec("INSERT OR REPLACE INTO bans (mask, reason, setter, at, until) VALUES (?, ?, ?, ?, ?)",
			w.Ban.Mask, w.Ban.Reason, w.Ban.By, sqlitefile.Millis(w.Ban.At), sqlitefile.Millis(w.Ban.Until))
	case RemoveBan:
		return t.change("DELETE FROM bans WHERE mask = ?", w.Mask)
	case PutPresence:
		return t.exec("INSERT OR REPLACE INTO presences (account, state) VALUES (?, ?)", fold(w.Presence.Account), encode(w.Presence))
	case RemovePresence:
		return t.exec("DELETE FROM presences WHERE account = ?", fold(w.Account))
	case PutMarker:
		return t.exec(`INSERT INTO markers (account, target, at) VALUES (?, ?, ?)
			ON CONFLICT DO UPDATE SET at = max(at, excluded.at)`, fold(w.Marker.Account), w.Marker.Target, sqlitefile.Millis(w.Marker.At))
	case PutDatum:
		if w.Datum.Value == "" {
			return t.exec("DELETE FROM metadata WHERE owner = ? AND key = ?", w.Datum.Owner, w.Datum.Key)
		}
		return t.exec("INSERT OR REPLACE INTO metadata (owner, key, value) VALUES (?, ?, ?)", w.Datum.Owner, w.Datum.Key, w.Datum.Value)
	case PutUpload:
		u := w.Upload
		return t.exec("INSERT OR REPLACE INTO uploads (id, account, target, name, type, size, created, expires) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
			u.ID, fold(u.Account), u.Target, u.Name, u.Type, u.Size, sqlitefile.Millis(u.Created), sqlitefile.Millis(u.Expires))
	case RemoveUpload:
		return t.change("DELETE FROM uploads WHERE id = ?", w.ID)
	case PutSubscription:
		return t.exec("INSERT OR REPLACE INTO subscriptions (endpoint, account, keys, created) VALUES (?, ?, ?, ?)",
			w.Subscription.Endpoint, fold(w.Subscription.Account), w.Subscription.Keys, sqlitefile.Millis(w.Subscription.Created))
	case RemoveSubscription:
		return t.exec("DELETE FROM subscriptions WHERE endpoint = ? AND account = ?", w.Endpoint, fold(w.Account))
	case PutInvitation:
		i := w.Invitation
		return t.exec("INSERT OR REPLACE INTO invitations (hash, by, role, channel, created, expires, uses) VALUES (?, ?, ?, ?, ?, ?, ?)",
			i.Hash, i.By, i.Role, i.Channel, sqlitefile.Millis(i.Created), sqlitefile.Millis(i.Expires), i.Left)
	case RemoveInvitation:
		return t.change("DELETE FROM invitations WHERE hash = ?", w.Hash)
	case AddDeed:
		return t.exec("INSERT INTO deeds (at, by, what, target, detail) VALUES (?, ?, ?, ?, ?)",
			sqlitefile.Millis(w.Deed.At), w.Deed.By, w.Deed.What, w.Deed.Target, w.Deed.Detail)
	}
	panic("store: an unknown write")
}

// editMessage changes the text, in the index, too, where it may be already.
func (t *transaction) editMessage(w EditMessage) error {
	joined := ""
	if len(w.Joined) > 0 {
		joined = encode(w.Joined)
	}
	err := t.change("UPDATE messages SET text = ?1, joined = ?2, edited = ?3 WHERE id = ?4 AND edited <= ?3", w.Text, joined, int64(w.Edited), int64(w.ID))
	if errors.Is(err, ErrNotFound) {
		err = t.change("UPDATE messages SET edited = edited WHERE id = ?", int64(w.ID)) // it has a later edit, or is not there
		if errors.Is(err, ErrNotFound) {
			if noted := t.noteChange(w.ID, false, w.Edited, w.Text, joined); noted != nil {
				return noted
			}
		}
		return err
	}
	if err != nil {
		return err
	}
	if err := t.exec("DELETE FROM words WHERE rowid = ?", int64(w.ID)); err != nil {
		return err
	}
	return t.indexEarlier(w.ID)
}

// removeMessages takes out messages, and their words first.
func (t *transaction) removeMessages(which string, args ...any) error {
	if err := t.exec("DELETE FROM words WHERE rowid IN (SELECT id FROM messages WHERE "+which+")", args...); err != nil {
		return err
	}
	return t.change("DELETE FROM messages WHERE "+which, args...)
}

func (t *transaction) removeBefore(w RemoveBefore) (err error) {
	if w.Target == "" {
		err = t.exec("DELETE FROM changes WHERE id < ?", int64(w.Before))
		if err == nil {
			err = t.removeMessages("id < ?", int64(w.Before))
		}
	} else {
		err = t.removeMessages("target = (SELECT id FROM targets WHERE name = ?) AND id < ?", w.Target, int64(w.Before))
	}
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// renameTarget moves a history. What the new name had before, if anything, is
// joined with it: IDs are unique.
func (t *transaction) renameTarget(w RenameTarget) error {
	to, err := t.target(w.To)
	if err != nil {
		return err
	}
	return t.exec("UPDATE messages SET target = ? WHERE target = (SELECT id FROM targets WHERE name = ?)", to, w.From)
}

func (t *transaction) addAccount(w AddAccount) error {
	a := w.Account
	if err := t.exec("SAVEPOINT account"); err != nil {
		return err
	}
	err := t.useInvitation(w.Invitation, a.Created)
	if err != nil {
		return errors.Join(err, t.exec("RELEASE account"))
	}
	err = t.exec("INSERT INTO accounts (folded, name, created, email, verified, role, suspended, settings) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
		fold(a.Name), a.Name, sqlitefile.Millis(a.Created), a.Email, a.Verified, a.Role, a.Suspended, encode(a.Settings))
	for _, c := range w.Credentials {
		if err != nil {
			break
		}
		c.Account = a.Name
		err = t.putCredential(c)
	}
	if err == nil {
		return t.exec("RELEASE account")
	}
	return errors.Join(err, t.exec("ROLLBACK TO account"), t.exec("RELEASE account"))
}

func (t *transaction) replaceAccount(w ReplaceAccount) error {
	a := w.Account
	err := t.exec(`INSERT INTO accounts (folded, name, created, email, verified, role, suspended, settings) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET name = excluded.name, created = excluded.created, email = excluded.email, verified = excluded.verified,
			role = excluded.role, suspended = excluded.suspended, settings = excluded.settings`,
		fold(a.Name), a.Name, sqlitefile.Millis(a.Created), a.Email, a.Verified, a.Role, a.Suspended, encode(a.Settings))
	if err != nil {
		return err
	}
	if err := t.exec("DELETE FROM credentials WHERE account = ?", fold(a.Name)); err != nil {
		return err
	}
	for _, c := range w.Credentials { // OR REPLACE: also one of another account that the index excludes
		err := t.exec("INSERT OR REPLACE INTO credentials (account, kind, label, secret, created, used) VALUES (?, ?, ?, ?, ?, ?)",
			fold(a.Name), c.Kind, c.Label, c.Secret, sqlitefile.Millis(c.Created), sqlitefile.Millis(c.Used))
		if err != nil {
			return err
		}
	}
	return nil
}

// useInvitation counts one use of an invitation, "" of none.
func (t *transaction) useInvitation(hash string, now time.Time) error {
	if hash == "" {
		return nil
	}
	if err := t.change("UPDATE invitations SET uses = uses - 1 WHERE hash = ? AND uses > 0 AND expires > ?", hash, sqlitefile.Millis(now)); err != nil {
		return err
	}
	return t.exec("DELETE FROM invitations WHERE hash = ? AND uses <= 0", hash)
}

func (t *transaction) putCredential(c Credential) error {
	var there int
	if err := t.tx.QueryRowContext(t.ctx, "SELECT count(*) FROM accounts WHERE folded = ?", fold(c.Account)).Scan(&there); err != nil {
		return err
	}
	if there == 0 {
		return ErrNotFound
	}
	if c.Created.IsZero() {
		c.Created = time.Now()
	}
	return t.exec(`INSERT INTO credentials (account, kind, label, secret, created, used) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (account, kind, label) DO UPDATE SET secret = excluded.secret, created = excluded.created, used = excluded.used`,
		fold(c.Account), c.Kind, c.Label, c.Secret, sqlitefile.Millis(c.Created), sqlitefile.Millis(c.Used))
}

func (t *transaction) removeAccount(folded string) error {
	if err := t.change("DELETE FROM accounts WHERE folded = ?", folded); err != nil {
		return err
	}
	for _, table := range []string{"presences", "markers", "uploads", "subscriptions"} {
		if err := t.exec("DELETE FROM "+table+" WHERE account = ?", folded); err != nil {
			return err
		}
	}
	return t.exec("DELETE FROM metadata WHERE owner = ?", folded)
}
