package ledger

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/epinet/epi/apps/chat/fabric"
	"github.com/epinet/epi/apps/chat/ircmsg"
	"github.com/epinet/epi/apps/chat/store"
)

// A state is the value of an entry. One of its fields is set; none is something that was
// removed.
type state struct {
	Account    *account          `json:"account,omitempty"`
	Invitation *store.Invitation `json:"invitation,omitempty"`
	Use        *use              `json:"use,omitempty"` // of an invitation
	Ban        *store.Ban        `json:"ban,omitempty"`
	Datum      *store.Datum      `json:"datum,omitempty"` // with an empty value, one that was removed
	Channel    *store.Channel    `json:"channel,omitempty"`
	Order      *store.Order      `json:"order,omitempty"` // of a channel, also of one that was removed
	First      *first            `json:"first,omitempty"`
}

// first is who is about to make the first account of a role, such as that of administrators.
type first struct {
	Invitation string // its hash
	At         time.Time
}

// An account is one with all its ways to log in.
type account struct {
	store.Account
	Credentials []store.Credential
}

// gone is the state of what was removed.
var gone = &state{}

// The kinds of keys, each before the name.
const (
	accountPrefix    = "account "
	invitationPrefix = "invitation "
	banPrefix        = "ban "
	datumPrefix      = "datum "
	channelPrefix    = "channel "
	firstPrefix      = "first "
)

func accountKey(name string) string { return accountPrefix + ircmsg.ASCII.Fold(name) }

func invitationKey(hash string) string { return invitationPrefix + hash }

func banKey(mask string) string { return banPrefix + mask }

// datumKey needs no escapes: no account has a space in its name.
func datumKey(d *store.Datum) string { return datumPrefix + d.Owner + " " + d.Key }

// firstKey is that of a role. No store has its entry.
func firstKey(role string) string { return firstPrefix + role }

func channelKey(name string) string { return channelPrefix + ircmsg.ASCII.Fold(name) }

// encode returns the value of an entry: the same for the same state, as exactly as a store
// keeps it.
func (s *state) encode() ([]byte, error) {
	if s.Account != nil {
		s.Account.tidy()
	}
	if u := s.Use; u != nil {
		u.Account.tidy()
	}
	if i := s.Invitation; i != nil {
		i.Created, i.Expires = exact(i.Created), exact(i.Expires)
	}
	if b := s.Ban; b != nil {
		b.At, b.Until = exact(b.At), exact(b.Until)
	}
	if c := s.Channel; c != nil {
		c.Created, c.TopicAt = exact(c.Created), exact(c.TopicAt)
		for _, list := range c.Lists {
			for i := range list {
				list[i].At = exact(list[i].At)
			}
		}
	}
	value, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encode an entry: %w", err)
	}
	return value, nil
}

// tidy makes an account one that is the same for all nodes.
func (a *account) tidy() {
	a.Created = exact(a.Created)
	for i := range a.Credentials {
		c := &a.Credentials[i]
		c.Account, c.Created, c.Used = a.Name, exact(c.Created), exact(c.Used)
	}
	slices.SortFunc(a.Credentials, func(x, y store.Credential) int {
		return cmp.Or(cmp.Compare(x.Kind, y.Kind), cmp.Compare(x.Label, y.Label))
	})
}

// exact returns a moment as a store keeps it.
func exact(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

// read returns what the store has for a key, nil for nothing.
func (l *Ledger) read(ctx context.Context, key string) (s *state, err error) {
	if name, ok := strings.CutPrefix(key, accountPrefix); ok {
		s, err = l.readAccount(ctx, name)
	} else if hash, ok := strings.CutPrefix(key, invitationPrefix); ok {
		s, err = l.readInvitation(ctx, hash)
	} else if mask, ok := strings.CutPrefix(key, banPrefix); ok {
		s, err = l.readBan(ctx, mask)
	} else if name, ok := strings.CutPrefix(key, datumPrefix); ok {
		s, err = l.readDatum(ctx, name)
	} else if name, ok := strings.CutPrefix(key, channelPrefix); ok {
		s, err = l.readChannel(ctx, name)
	}
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return s, err
}

func (l *Ledger) readAccount(ctx context.Context, name string) (*state, error) {
	a, err := l.config.Store.Account(ctx, name)
	if err != nil {
		return nil, err
	}
	credentials, err := l.config.Store.Credentials(ctx, name)
	if err != nil {
		return nil, err
	}
	return &state{Account: &account{a, credentials}}, nil
}

func (l *Ledger) readInvitation(ctx context.Context, hash string) (*state, error) {
	i, err := l.config.Store.Invitation(ctx, hash)
	if err != nil {
		return nil, err
	}
	return &state{Invitation: &i, Use: l.use(invitationKey(hash))}, nil
}

func (l *Ledger) readBan(ctx context.Context, mask string) (*state, error) {
	bans, err := l.config.Store.Bans(ctx)
	for i := range bans {
		if bans[i].Mask == mask {
			return &state{Ban: &bans[i]}, nil
		}
	}
	return nil, err
}

func (l *Ledger) readDatum(ctx context.Context, name string) (*state, error) {
	owner, key, _ := strings.Cut(name, " ")
	data, err := l.config.Store.Metadata(ctx, owner)
	for i := range data {
		if data[i].Key == key {
			return &state{Datum: &data[i]}, nil
		}
	}
	return nil, err
}

// isChannel says whether a state is that of a channel as it is.
func (s *state) isChannel(c *store.Channel) bool {
	if s.Channel == nil || c == nil {
		return false
	}
	a, err := (&state{Channel: s.Channel}).encode()
	b, failed := (&state{Channel: c}).encode()
	return err == nil && failed == nil && bytes.Equal(a, b)
}

// order returns the place of a channel's state among the others.
func (s *state) order() store.Order {
	if s.Order == nil {
		return store.Order{}
	}
	return *s.Order
}

// readChannel reads one as it is at the place in its order that the registry said last.
func (l *Ledger) readChannel(ctx context.Context, name string) (*state, error) {
	c, err := l.config.Store.Channel(ctx, name)
	if err != nil {
		return nil, err
	}
	order := l.order(channelKey(name))
	return &state{Channel: &c, Order: &order}, nil
}

// writeOf returns what the store lacks of an entry, nil for nothing. What a later version
// of the program has written is none of ours.
func (l *Ledger) writeOf(e fabric.Entry) (store.Write, error) {
	var s state
	if err := json.Unmarshal(e.Value, &s); err != nil {
		l.config.Log.Error("an entry that the nodes have in common cannot be read", "revision", e.Revision, "error", err)
		return nil, nil
	}
	now, err := l.read(l.life, e.Key)
	if err != nil {
		return nil, fmt.Errorf("read the store: %w", err)
	}
	if now != nil {
		now.Order, now.Use = s.Order, s.Use
		if value, err := now.encode(); err != nil || bytes.Equal(value, e.Value) {
			return nil, err
		}
	}
	name, isAccount := strings.CutPrefix(e.Key, accountPrefix)
	hash, isInvitation := strings.CutPrefix(e.Key, invitationPrefix)
	mask, isBan := strings.CutPrefix(e.Key, banPrefix)
	channel, isChannel := strings.CutPrefix(e.Key, channelPrefix)
	switch {
	case isAccount && s.Account != nil:
		return store.ReplaceAccount{Account: s.Account.Account, Credentials: s.Account.Credentials}, nil
	case isInvitation && s.Invitation != nil:
		return store.PutInvitation{Invitation: *s.Invitation}, nil
	case isBan && s.Ban != nil && (s.Ban.Until.IsZero() || s.Ban.Until.After(time.Now())):
		return store.PutBan{Ban: *s.Ban}, nil
	case isChannel && s.Channel != nil:
		return store.PutChannel{Channel: *s.Channel, Order: s.order()}, nil
	case now == nil:
		if s.Datum != nil && s.Datum.Value != "" {
			return store.PutDatum{Datum: *s.Datum}, nil
		}
		return nil, nil
	case s.Datum != nil:
		return store.PutDatum{Datum: *s.Datum}, nil
	case isBan: // removed, or over
		return store.RemoveBan{Mask: mask}, nil
	case isAccount:
		return store.RemoveAccount{Name: name}, nil
	case isInvitation:
		return store.RemoveInvitation{Hash: hash}, nil
	case isChannel:
		return store.RemoveChannel{Name: channel, Order: s.order()}, nil
	}
	return nil, nil
}
