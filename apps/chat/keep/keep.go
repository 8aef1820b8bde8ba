// Package keep puts what a hall wants kept into a store, and reads it for the next
// start: registered channels, users that stay, bans.
package keep

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/epinet/epi/apps/chat/hall"
	"github.com/epinet/epi/apps/chat/ircmsg"
	"github.com/epinet/epi/apps/chat/store"
)

// A Keeper writes the changes of one hall, in order.
type Keeper struct {
	writer *store.Writer
	log    *slog.Logger
}

// Claim registers a channel, unless it is registered: of several nodes that try, one does. It
// blocks.
func (k *Keeper) Claim(ctx context.Context, c *hall.KeepChannel) hall.Result {
	err := k.writer.Do(ctx, store.AddChannel{Channel: fromChannel(&c.Channel), Order: store.Order{Reign: c.Reign, Number: c.Number}})
	switch {
	case err == nil:
		return hall.Result{OK: true}
	case errors.Is(err, store.ErrExists):
		return hall.Result{Text: c.Channel.Name + " is registered already"}
	}
	k.log.Warn("a channel could not be registered", "error", err, "channel", c.Channel.Name)
	return hall.Result{}
}

// New returns a keeper that logs what could not be written.
func New(writer *store.Writer, log *slog.Logger) *Keeper { return &Keeper{writer, log} }

// Keep queues a change. It does not block. If done is not nil, it is called when the change is
// durable, or with the reason why it will not be: that is for it to log.
func (k *Keeper) Keep(c hall.Change, done func(error)) {
	write := writeOf(c)
	k.writer.Write(write, func(err error) {
		if errors.Is(err, store.ErrNotFound) { // a removal of what is not there
			err = nil
		}
		switch {
		case done != nil:
			done(err)
		case err != nil:
			k.log.Error("a change of the chat is not kept: it will be lost at the next start", "error", err, "change", what(c))
		}
	})
}

// what names a change for the log.
func what(c hall.Change) string {
	switch c := c.(type) {
	case hall.KeepChannel:
		return "channel " + c.Channel.Name
	case hall.DropChannel:
		return "channel " + c.Name
	case hall.KeepUser:
		return "user of " + c.User.Account
	case hall.DropUser:
		return "user of " + c.Account
	case hall.KeepBan:
		return "ban " + c.Ban.Mask
	case hall.DropBan:
		return "ban " + c.Mask
	case hall.MoveHistory:
		return "history of " + c.From
	case hall.DropHistory:
		return "history of " + c.Target
	case hall.KeepDeed:
		return c.What + " of operator " + c.By
	case hall.KeepMetadata:
		return "metadata of " + c.Datum.Owner
	case hall.KeepMarker:
		return "read marker of " + c.Account
	case hall.CopyMarker:
		return what(c.KeepMarker)
	case hall.ShareMarker:
		return what(c.KeepMarker)
	}
	return ""
}

// ChangeOf returns what a hall is to know of a write that another machine has made, nil for
// nothing.
func ChangeOf(w store.Write) hall.Change {
	switch w := w.(type) {
	case store.ReplaceAccount:
		if slices.ContainsFunc(w.Credentials, func(c store.Credential) bool { return c.Kind == store.Code }) {
			return nil // nobody has shown yet that it is theirs
		}
		return hall.KeepAccount{Name: w.Account.Name, Suspended: w.Account.Suspended}
	case store.RemoveAccount:
		return hall.DropAccount{Name: w.Name}
	case store.PutBan:
		return hall.KeepBan{Ban: toBan(&w.Ban)}
	case store.RemoveBan:
		return hall.DropBan{Mask: w.Mask}
	case store.PutDatum:
		return hall.KeepMetadata{Datum: hall.KeptDatum(w.Datum)}
	case store.PutChannel:
		return hall.KeepChannel{Channel: toChannel(&w.Channel), Reign: w.Order.Reign, Number: w.Order.Number}
	case store.RemoveChannel:
		return hall.DropChannel{Name: w.Name, Reign: w.Order.Reign, Number: w.Order.Number}
	}
	return nil
}

func writeOf(c hall.Change) store.Write {
	switch c := c.(type) {
	case hall.KeepChannel:
		return store.PutChannel{Channel: fromChannel(&c.Channel), Order: store.Order{Reign: c.Reign, Number: c.Number}}
	case hall.DropChannel:
		return store.RemoveChannel{Name: c.Name, Order: store.Order{Reign: c.Reign, Number: c.Number}}
	case hall.KeepUser:
		return store.PutPresence{Presence: fromUser(&c.User)}
	case hall.DropUser:
		return store.RemovePresence{Account: c.Account}
	case hall.KeepBan:
		b := &c.Ban
		return store.PutBan{Ban: store.Ban{Mask: b.Mask, Reason: b.Reason, By: b.By, At: timeOf(b.At), Until: timeOf(b.Until)}}
	case hall.DropBan:
		return store.RemoveBan{Mask: c.Mask}
	case hall.MoveHistory:
		return store.RenameTarget{From: c.From, To: c.To}
	case hall.DropHistory:
		return store.RemoveBefore{Target: c.Target, Before: store.ID(c.Before)}
	case hall.KeepDeed:
		return store.AddDeed{Deed: store.Deed{At: time.UnixMilli(c.At), By: c.By, What: c.What, Target: c.Target, Detail: c.Detail}}
	case hall.KeepMetadata:
		return store.PutDatum{Datum: store.Datum(c.Datum)}
	case hall.CopyMarker:
		return writeOf(c.KeepMarker)
	case hall.ShareMarker:
		return Announce(writeOf(c.KeepMarker), c.Out)
	case hall.KeepMarker:
		return store.PutMarker{Marker: store.Marker{Account: c.Account, Target: c.Marker.Target, At: time.UnixMilli(c.Marker.At)}}
	}
	panic("keep: a change of an unknown kind") // the kinds are the hall's alone
}

// Load reads what a hall begins with.
func Load(ctx context.Context, s store.Store) (k hall.Kept, err error) {
	err = s.Channels(ctx, func(c store.Channel) error {
		k.Channels = append(k.Channels, toChannel(&c))
		return nil
	})
	if err != nil {
		return hall.Kept{}, err
	}
	err = s.Accounts(ctx, func(a store.Account) error {
		k.Accounts = append(k.Accounts, a.Name)
		return nil
	})
	if err != nil {
		return hall.Kept{}, err
	}
	last, err := s.Last(ctx)
	if err != nil {
		return hall.Kept{}, err
	}
	k.Last = int64(last)
	presences, err := s.Presences(ctx)
	if err != nil {
		return hall.Kept{}, err
	}
	for i := range presences {
		k.Users = append(k.Users, toUser(&presences[i]))
	}
	metadata, err := s.Metadata(ctx, "")
	if err != nil {
		return hall.Kept{}, err
	}
	for _, d := range metadata {
		k.Metadata = append(k.Metadata, hall.KeptDatum(d))
	}
	bans, err := s.Bans(ctx)
	for i := range bans {
		k.Bans = append(k.Bans, toBan(&bans[i]))
	}
	return k, err
}

func toBan(b *store.Ban) hall.KeptBan {
	return hall.KeptBan{Mask: b.Mask, Reason: b.Reason, By: b.By, At: secondsOf(b.At), Until: secondsOf(b.Until)}
}

// timeOf returns the zero time for 0 seconds.
func timeOf(seconds int64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}

func secondsOf(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

// listModes are the letters of the lists of hall.KeptChannel.
const listModes = "beI"

func fromChannel(c *hall.KeptChannel) store.Channel {
	to := store.Channel{
		Name: c.Name, Founder: c.Founder, Created: timeOf(c.Created), Modes: c.Modes, Key: c.Key, Limit: c.Limit, Forward: c.Forward, KeepDays: c.KeepDays,
		Topic: c.Topic, TopicBy: c.TopicBy, TopicAt: timeOf(c.TopicAt), Lists: map[string][]store.Entry{}, Ranks: map[string]string{},
	}
	for i, list := range c.Lists {
		for _, m := range list {
			to.Lists[listModes[i:i+1]] = append(to.Lists[listModes[i:i+1]], store.Entry{Mask: m.Mask, By: m.By, At: timeOf(m.At)})
		}
	}
	for _, g := range c.Ranks {
		to.Ranks[g.Account] = g.Rank.String()
	}
	return to
}

func toChannel(c *store.Channel) hall.KeptChannel {
	to := hall.KeptChannel{
		Name: c.Name, Founder: c.Founder, Created: secondsOf(c.Created), Modes: c.Modes, Key: c.Key, Limit: c.Limit, Forward: c.Forward, KeepDays: c.KeepDays,
		Topic: c.Topic, TopicBy: c.TopicBy, TopicAt: secondsOf(c.TopicAt),
	}
	for i := range to.Lists {
		for _, e := range c.Lists[listModes[i:i+1]] {
			to.Lists[i] = append(to.Lists[i], hall.KeptMask{Mask: e.Mask, By: e.By, At: secondsOf(e.At)})
		}
	}
	for _, account := range slices.Sorted(maps.Keys(c.Ranks)) {
		to.Ranks = append(to.Ranks, hall.Granted{Account: account, Rank: hall.ParseRank(c.Ranks[account])})
	}
	return to
}

func fromUser(u *hall.KeptUser) store.Presence {
	to := store.Presence{
		Account: u.Account, Nick: u.Nick, User: u.Name, Host: u.Host, RealName: u.Realname, Modes: u.Modes, Away: u.Away, Leaves: u.Leaves,
		Channels: map[string]string{},
	}
	for _, m := range u.Channels {
		to.Channels[m.Channel] = m.Rank.String()
		if m.Since > 0 {
			to.Channels[m.Channel] += " " + ircmsg.FormatID(m.Since)
		}
	}
	return to
}

func toUser(p *store.Presence) hall.KeptUser {
	to := hall.KeptUser{Account: p.Account, Nick: p.Nick, Name: p.User, Host: p.Host, Realname: p.RealName, Modes: p.Modes, Away: p.Away, Leaves: p.Leaves}
	for _, name := range slices.Sorted(maps.Keys(p.Channels)) {
		rank, joined, _ := strings.Cut(p.Channels[name], " ")
		since, _ := ircmsg.ParseID(joined) // older versions kept none
		to.Channels = append(to.Channels, hall.KeptMembership{Channel: name, Rank: hall.ParseRank(rank), Since: since})
	}
	return to
}
