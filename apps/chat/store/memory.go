package store

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/epinet/epi/apps/internal/sqlitefile"
)

// Memory is a Store that lasts as long as the program: for tests, and for servers
// that are to remember nothing.
type Memory struct {
	mu            sync.RWMutex
	closed        bool               // guarded by mu, as all below
	messages      []Message          // in the order of the IDs
	removed       map[ID]bool        // messages that no copy brings back
	edits         map[ID]EditMessage // of messages that are not here
	conversations map[string]int     // targets of direct messages, and how often they were made
	positions     map[uint32]Position
	shared        *ID
	announced     map[ID]Outgoing
	copied        map[ID]bool // messages that another machine has said
	accounts      map[string]Account
	credentials   []Credential // Account is folded
	channels      map[string]Channel
	bans          map[string]Ban
	presences     map[string]Presence
	markers       map[Marker]time.Time // the key has no time
	metadata      map[[2]string]string
	uploads       map[string]Upload
	subscriptions map[string]Subscription
	invitations   map[string]Invitation
	deeds         []Deed
}

// NewMemory returns an empty store.
func NewMemory() *Memory {
	return &Memory{
		announced: map[ID]Outgoing{}, copied: map[ID]bool{}, removed: map[ID]bool{}, edits: map[ID]EditMessage{}, conversations: map[string]int{}, positions: map[uint32]Position{}, accounts: map[string]Account{}, channels: map[string]Channel{}, bans: map[string]Ban{},
		presences: map[string]Presence{}, markers: map[Marker]time.Time{}, metadata: map[[2]string]string{},
		uploads: map[string]Upload{}, subscriptions: map[string]Subscription{}, invitations: map[string]Invitation{},
	}
}

// Last is a method of Store.
func (m *Memory) Last(context.Context) (ID, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed {
		return 0, ErrClosed
	}
	if len(m.messages) == 0 {
		return 0, nil
	}
	return m.messages[len(m.messages)-1].ID, nil
}

// Close is a method of Store.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return nil
}

// Apply is a method of Store.
func (m *Memory) Apply(_ context.Context, writes []Write) (results []error, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, ErrClosed
	}
	for i, w := range writes {
		if refused := m.apply(w); refused != nil {
			if results == nil {
				results = make([]error, len(writes))
			}
			results[i] = refused
		}
	}
	return results, nil
}

func (m *Memory) apply(w Write) error {
	switch w := w.(type) {
	case AddMessage:
		return m.addMessage(w.Message)
	case CopyMessage:
		return m.copyMessage(w.Message)
	case EditMessage:
		i, ok := m.find(w.ID)
		if !ok {
			if known, ok := m.edits[w.ID]; !ok || known.Edited <= w.Edited {
				m.edits[w.ID] = w
			}
			return ErrNotFound
		}
		if m.messages[i].Edited <= w.Edited {
			m.messages[i].Text, m.messages[i].Joined, m.messages[i].Edited = w.Text, w.Joined, w.Edited
		}
	case RemoveMessage:
		m.removed[w.ID] = true
		if !m.removeMessages(func(x *Message) bool { return x.ID == w.ID || x.Reaction && x.Reply == w.ID }) {
			return ErrNotFound
		}
	case RemoveBefore:
		if w.Target == "" {
			maps.DeleteFunc(m.removed, func(id ID, _ bool) bool { return id < w.Before })
			maps.DeleteFunc(m.edits, func(id ID, _ EditMessage) bool { return id < w.Before })
		}
		m.removeMessages(func(x *Message) bool { return x.ID < w.Before && (w.Target == "" || x.Target == w.Target) })
	case RenameTarget:
		for i := range m.messages {
			if m.messages[i].Target == w.From {
				m.messages[i].Target = w.To
			}
		}
	case AddAccount:
		return m.addAccount(w)
	case SetRole:
		return m.changeAccount(w.Account, func(a *Account) { a.Role = w.Role })
	case SetSuspended:
		return m.changeAccount(w.Account, func(a *Account) { a.Suspended = w.Reason })
	case SetVerified:
		return m.changeAccount(w.Account, func(a *Account) { a.Verified = true })
	case ReplaceAccount:
		m.replaceAccount(w)
	case RemoveAccount:
		return m.removeAccount(fold(w.Name))
	case PutCredential:
		return m.putCredential(w.Credential)
	case RemoveCredential:
		i := m.credential(w.Account, w.Kind, w.Label)
		if i < 0 {
			return ErrNotFound
		}
		m.credentials = slices.Delete(m.credentials, i, i+1)
	case TouchCredential:
		i := m.credential(w.Account, w.Kind, w.Label)
		if i < 0 {
			return ErrNotFound
		}
		m.credentials[i].Used = sqlitefile.Kept(w.Used)
	default:
		return m.applyOther(w)
	}
	return nil
}

func (m *Memory) applyOther(w Write) error {
	switch w := w.(type) {
	case PutShared:
		m.shared = &w.UpTo
		for _, number := range w.Announced {
			delete(m.announced, number)
		}
	case Announce:
		if err := m.apply(w.Write); err != nil {
			return err
		}
		m.announced[w.Out.Number] = w.Out
	case PutPosition:
		m.positions[w.Position.Shard] = w.Position
	case PutChannel:
		m.channels[fold(w.Channel.Name)] = w.Channel
	case AddChannel:
		if _, is := m.channels[fold(w.Channel.Name)]; is {
			return ErrExists
		}
		m.channels[fold(w.Channel.Name)] = w.Channel
	case RemoveChannel:
		return remove(m.channels, fold(w.Name))
	case PutBan:
		m.bans[w.Ban.Mask] = w.Ban
	case RemoveBan:
		return remove(m.bans, w.Mask)
	case PutPresence:
		m.presences[fold(w.Presence.Account)] = w.Presence
	case RemovePresence:
		delete(m.presences, fold(w.Account))
	case PutMarker:
		key := Marker{Account: fold(w.Marker.Account), Target: w.Marker.Target}
		if w.Marker.At.After(m.markers[key]) {
			m.markers[key] = w.Marker.At
		}
	case PutDatum:
		key := [2]string{w.Datum.Owner, w.Datum.Key}
		if m.metadata[key] = w.Datum.Value; w.Datum.Value == "" {
			delete(m.metadata, key)
		}
	case PutUpload:
		w.Upload.Account = fold(w.Upload.Account)
		m.uploads[w.Upload.ID] = w.Upload
	case RemoveUpload:
		return remove(m.uploads, w.ID)
	case PutSubscription:
		w.Subscription.Account = fold(w.Subscription.Account)
		m.subscriptions[w.Subscription.Endpoint] = w.Subscription
	case RemoveSubscription:
		if m.subscriptions[w.Endpoint].Account == fold(w.Account) {
			delete(m.subscriptions, w.Endpoint)
		}
	case PutInvitation:
		m.invitations[w.Invitation.Hash] = w.Invitation
	case RemoveInvitation:
		return remove(m.invitations, w.Hash)
	case AddDeed:
		m.deeds = append(m.deeds, w.Deed)
	default:
		panic("store: an unknown write")
	}
	return nil
}

func remove[V any](from map[string]V, key string) error {
	if _, ok := from[key]; !ok {
		return ErrNotFound
	}
	delete(from, key)
	return nil
}

func (m *Memory) find(id ID) (int, bool) {
	return slices.BinarySearchFunc(m.messages, id, func(x Message, id ID) int { return cmp.Compare(x.ID, id) })
}

func (m *Memory) addMessage(x Message) error {
	i, ok := m.find(x.ID)
	if ok {
		return ErrExists
	}
	if strings.Contains(x.Target, " ") {
		m.conversations[x.Target]++
	}
	m.messages = slices.Insert(m.messages, i, x)
	return nil
}

func (m *Memory) copyMessage(x Message) error {
	if _, ok := m.find(x.ID); ok || m.removed[x.ID] || x.Reaction && m.removed[x.Reply] {
		return nil
	}
	if e, ok := m.edits[x.ID]; ok && e.Edited >= x.Edited {
		x.Text, x.Joined, x.Edited = e.Text, e.Joined, e.Edited
	}
	m.copied[x.ID] = true
	return m.addMessage(x)
}

func (m *Memory) removeMessages(which func(*Message) bool) (any bool) {
	before := len(m.messages)
	m.messages = slices.DeleteFunc(m.messages, func(x Message) bool { return which(&x) })
	return len(m.messages) < before
}

func (m *Memory) changeAccount(name string, change func(*Account)) error {
	a, ok := m.accounts[fold(name)]
	if !ok {
		return ErrNotFound
	}
	change(&a)
	m.accounts[fold(name)] = a
	return nil
}

func (m *Memory) replaceAccount(w ReplaceAccount) {
	folded := fold(w.Account.Name)
	m.accounts[folded] = w.Account
	m.credentials = slices.DeleteFunc(m.credentials, func(c Credential) bool {
		return c.Account == folded || slices.ContainsFunc(w.Credentials, c.excludes)
	})
	for _, c := range w.Credentials {
		c.Account, c.Created, c.Used = folded, sqlitefile.Kept(c.Created), sqlitefile.Kept(c.Used)
		m.credentials = append(m.credentials, c)
	}
}

// excludes says whether no two accounts can have both credentials.
func (c Credential) excludes(other Credential) bool {
	return c.Kind == other.Kind && c.Secret == other.Secret && (c.Kind == Certificate || c.Kind == OpenID)
}

func (m *Memory) addAccount(w AddAccount) error {
	folded := fold(w.Account.Name)
	invitation, invited := m.invitations[w.Invitation]
	if w.Invitation != "" && (!invited || invitation.Left <= 0 || !invitation.Expires.After(w.Account.Created)) {
		return ErrNotFound
	}
	if _, ok := m.accounts[folded]; ok {
		return ErrExists
	}
	m.accounts[folded] = w.Account
	before := len(m.credentials)
	for _, c := range w.Credentials {
		c.Account = w.Account.Name
		if err := m.putCredential(c); err != nil {
			delete(m.accounts, folded)
			m.credentials = m.credentials[:before]
			return err
		}
	}
	if invitation.Left--; invited {
		m.invitations[w.Invitation] = invitation
	}
	if invited && invitation.Left <= 0 {
		delete(m.invitations, w.Invitation)
	}
	return nil
}

func (m *Memory) removeAccount(folded string) error {
	if err := remove(m.accounts, folded); err != nil {
		return err
	}
	delete(m.presences, folded)
	m.credentials = slices.DeleteFunc(m.credentials, func(c Credential) bool { return c.Account == folded })
	maps.DeleteFunc(m.markers, func(k Marker, _ time.Time) bool { return k.Account == folded })
	maps.DeleteFunc(m.metadata, func(k [2]string, _ string) bool { return k[0] == folded })
	maps.DeleteFunc(m.uploads, func(_ string, u Upload) bool { return u.Account == folded })
	maps.DeleteFunc(m.subscriptions, func(_ string, s Subscription) bool { return s.Account == folded })
	return nil
}

func (m *Memory) credential(account string, kind CredentialKind, label string) int {
	return slices.IndexFunc(m.credentials, func(c Credential) bool {
		return c.Account == fold(account) && c.Kind == kind && c.Label == label
	})
}

func (m *Memory) putCredential(c Credential) error {
	c.Account = fold(c.Account)
	if _, ok := m.accounts[c.Account]; !ok {
		return ErrNotFound
	}
	if c.Created.IsZero() {
		c.Created = time.Now()
	}
	c.Created, c.Used = sqlitefile.Kept(c.Created), sqlitefile.Kept(c.Used) // as exactly as a database keeps it
	i := m.credential(c.Account, c.Kind, c.Label)
	named := c.Kind == Certificate || c.Kind == OpenID
	if j := slices.IndexFunc(m.credentials, func(o Credential) bool { return named && o.Kind == c.Kind && o.Secret == c.Secret }); j >= 0 && j != i {
		return ErrExists
	}
	if i >= 0 {
		m.credentials[i] = c
		return nil
	}
	m.credentials = append(m.credentials, c)
	return nil
}

// view reads under the lock.
func view[T any](m *Memory, read func() (T, error)) (T, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed {
		var none T
		return none, ErrClosed
	}
	return read()
}

// sorted returns the values of a map in the order of its keys.
func sorted[K cmp.Ordered, V any](from map[K]V) []V {
	var list []V
	for _, key := range slices.Sorted(maps.Keys(from)) {
		list = append(list, from[key])
	}
	return list
}

func (m *Memory) filter(which func(*Message) bool) (list []Message) {
	for i := range m.messages {
		if which(&m.messages[i]) {
			list = append(list, m.messages[i])
		}
	}
	return list
}

// Messages is a method of Store.
func (m *Memory) Messages(_ context.Context, q Query) ([]Message, error) {
	return view(m, func() ([]Message, error) {
		page := m.filter(func(x *Message) bool {
			return x.Target == q.Target && x.ID > q.After && x.ID < upTo(q.Before) && x.Rank <= q.Rank && !x.Reaction && (q.Events || !x.isEvent())
		})
		if q.Latest {
			return page[max(0, len(page)-q.Limit):], nil
		}
		return page[:min(len(page), q.Limit)], nil
	})
}

// Message is a method of Store.
func (m *Memory) Message(_ context.Context, id ID) (Message, error) {
	return view(m, func() (Message, error) {
		i, ok := m.find(id)
		if !ok {
			return Message{}, ErrNotFound
		}
		return m.messages[i], nil
	})
}

// Own is a method of Store.
func (m *Memory) Own(_ context.Context, after ID, limit int) ([]Message, error) {
	return view(m, func() ([]Message, error) {
		page := m.filter(func(x *Message) bool { return x.ID > after && !m.copied[x.ID] })
		return page[:min(len(page), limit)], nil
	})
}

// Reactions is a method of Store.
func (m *Memory) Reactions(_ context.Context, to []ID) ([]Message, error) {
	return view(m, func() ([]Message, error) {
		return m.filter(func(x *Message) bool { return x.Reaction && x.Reply != 0 && slices.Contains(to, x.Reply) }), nil
	})
}

// Latest is a method of Store.
func (m *Memory) Latest(_ context.Context, targets []string, after, before ID, limit int) ([]Target, error) {
	return view(m, func() ([]Target, error) {
		var found []Target
		for _, name := range targets {
			said := m.filter(func(x *Message) bool {
				return x.Target == name && x.ID > after && x.ID < upTo(before) && !x.Reaction && !x.isEvent()
			})
			if len(said) > 0 {
				found = append(found, Target{name, said[len(said)-1].ID})
			}
		}
		return earliest(found, limit), nil
	})
}

// Conversations is a method of Store.
func (m *Memory) Conversations(_ context.Context, account string) ([]string, error) {
	return view(m, func() ([]string, error) {
		var names []string
		for _, name := range slices.Sorted(maps.Keys(m.conversations)) {
			if a, b, _ := strings.Cut(name, " "); a == fold(account) || b == fold(account) {
				names = append(names, name)
			}
		}
		return names, nil
	})
}

// Search is a method of Store.
func (m *Memory) Search(_ context.Context, q Search) ([]Message, error) {
	return view(m, func() ([]Message, error) {
		found := m.filter(func(x *Message) bool { return q.finds(x) })
		slices.Reverse(found)
		return found[:min(len(found), q.Limit)], nil
	})
}

func (q *Search) finds(x *Message) bool {
	sender, _, _ := strings.Cut(x.Source, "!")
	if x.ID <= q.After || x.ID >= upTo(q.Before) || x.isEvent() || x.Reaction || x.Text == "" || q.From != "" && fold(sender) != q.From {
		return false
	}
	in := func(s Scope) bool { return s.Target == x.Target && x.Rank <= s.Rank && x.ID >= s.Since }
	text := strings.ToLower(x.Text)
	lacks := func(part string) bool { return !strings.Contains(text, strings.ToLower(part)) }
	return slices.ContainsFunc(q.Targets, in) && !slices.ContainsFunc(q.Text, lacks)
}

// Positions is a method of Store.
func (m *Memory) Positions(context.Context) ([]Position, error) {
	return view(m, func() ([]Position, error) { return sorted(m.positions), nil })
}

// Shared is a method of Store.
func (m *Memory) Shared(context.Context) (ID, error) {
	return view(m, func() (ID, error) {
		if m.shared == nil {
			return 0, ErrNotFound
		}
		return *m.shared, nil
	})
}

// Announced is a method of Store.
func (m *Memory) Announced(_ context.Context, limit int) ([]Outgoing, error) {
	return view(m, func() ([]Outgoing, error) {
		list := sorted(m.announced)
		return list[:min(len(list), limit)], nil
	})
}

// Account is a method of Store.
func (m *Memory) Account(_ context.Context, name string) (Account, error) {
	return view(m, func() (Account, error) { return found(m.accounts, fold(name)) })
}

func found[V any](in map[string]V, key string) (V, error) {
	v, ok := in[key]
	if !ok {
		return v, ErrNotFound
	}
	return v, nil
}

// Accounts is a method of Store.
func (m *Memory) Accounts(_ context.Context, fn func(Account) error) error {
	return visit(m, m.accounts, fn)
}

// visit calls fn for every value, without the lock.
func visit[V any](m *Memory, in map[string]V, fn func(V) error) error {
	list, err := view(m, func() ([]V, error) { return sorted(in), nil })
	if err != nil {
		return err
	}
	for _, v := range list {
		if err := fn(v); err != nil {
			return err
		}
	}
	return nil
}

// Credentials is a method of Store.
func (m *Memory) Credentials(_ context.Context, account string) ([]Credential, error) {
	return view(m, func() ([]Credential, error) {
		var list []Credential
		for _, c := range m.credentials {
			if c.Account == fold(account) {
				c.Account = m.accounts[c.Account].Name
				list = append(list, c)
			}
		}
		slices.SortFunc(list, func(a, b Credential) int {
			return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Label, b.Label))
		})
		return list, nil
	})
}

// FindCredential is a method of Store.
func (m *Memory) FindCredential(_ context.Context, kind CredentialKind, secret string) (Account, error) {
	return view(m, func() (Account, error) {
		for _, c := range m.credentials {
			if c.Kind == kind && c.Secret == secret {
				return m.accounts[c.Account], nil
			}
		}
		return Account{}, ErrNotFound
	})
}

// Channels is a method of Store.
func (m *Memory) Channels(_ context.Context, fn func(Channel) error) error {
	return visit(m, m.channels, fn)
}

// Channel is a method of Store.
func (m *Memory) Channel(_ context.Context, name string) (Channel, error) {
	return view(m, func() (Channel, error) { return found(m.channels, fold(name)) })
}

// Bans is a method of Store.
func (m *Memory) Bans(context.Context) ([]Ban, error) {
	return view(m, func() ([]Ban, error) { return sorted(m.bans), nil })
}

// Presences is a method of Store.
func (m *Memory) Presences(context.Context) ([]Presence, error) {
	return view(m, func() ([]Presence, error) { return sorted(m.presences), nil })
}

// Markers is a method of Store.
func (m *Memory) Markers(_ context.Context, account string) ([]Marker, error) {
	return view(m, func() ([]Marker, error) {
		var list []Marker
		for key, at := range m.markers {
			if key.Account == fold(account) {
				key.At = sqlitefile.Kept(at)
				list = append(list, key)
			}
		}
		slices.SortFunc(list, func(a, b Marker) int { return cmp.Compare(a.Target, b.Target) })
		return list, nil
	})
}

// Metadata is a method of Store.
func (m *Memory) Metadata(_ context.Context, owner string) ([]Datum, error) {
	return view(m, func() ([]Datum, error) {
		var list []Datum
		for key, value := range m.metadata {
			if owner == "" || key[0] == owner {
				list = append(list, Datum{key[0], key[1], value})
			}
		}
		slices.SortFunc(list, func(a, b Datum) int { return cmp.Or(cmp.Compare(a.Owner, b.Owner), cmp.Compare(a.Key, b.Key)) })
		return list, nil
	})
}

// Upload is a method of Store.
func (m *Memory) Upload(_ context.Context, id string) (Upload, error) {
	return view(m, func() (Upload, error) { return found(m.uploads, id) })
}

// Uploads is a method of Store.
func (m *Memory) Uploads(_ context.Context, account string) ([]Upload, error) {
	return view(m, func() ([]Upload, error) {
		list := slices.DeleteFunc(sorted(m.uploads), func(u Upload) bool { return account != "" && u.Account != fold(account) })
		slices.SortStableFunc(list, func(a, b Upload) int { return a.Created.Compare(b.Created) })
		return list, nil
	})
}

// Subscriptions is a method of Store.
func (m *Memory) Subscriptions(_ context.Context, account string) ([]Subscription, error) {
	return view(m, func() ([]Subscription, error) {
		return slices.DeleteFunc(sorted(m.subscriptions), func(s Subscription) bool { return s.Account != fold(account) }), nil
	})
}

// Invitation is a method of Store.
func (m *Memory) Invitation(_ context.Context, hash string) (Invitation, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed {
		return Invitation{}, ErrClosed
	}
	i, ok := m.invitations[hash]
	if !ok {
		return Invitation{}, ErrNotFound
	}
	return i, nil
}

// Audit is a method of Store.
func (m *Memory) Audit(_ context.Context, limit int) ([]Deed, error) {
	return view(m, func() ([]Deed, error) {
		list := slices.Clone(m.deeds)
		slices.Reverse(list)
		return list[:min(len(list), limit)], nil
	})
}
