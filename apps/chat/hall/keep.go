package hall

import (
	"cmp"
	"slices"
	"strings"
)

// A Change is something of the hall's state that lasts. The types below are all that
// there are.
type Change interface{ isChange() }

type (
	// KeepChannel registers a channel, or replaces what was kept of it. In a network all nodes
	// that know the channel say so, each as it is at a place in the channel's order.
	KeepChannel struct {
		Channel KeptChannel
		Reign   int64
		Number  uint64
	}
	// DropChannel ends a registration.
	DropChannel struct {
		Name   string
		Reign  int64
		Number uint64
	}
	// KeepUser keeps a user that stays while its owner is away, or replaces what was
	// kept.
	KeepUser struct{ User KeptUser }
	// DropUser forgets the user of an account.
	DropUser struct{ Account string }
	// KeepBan adds a ban from the server, or replaces that of the same mask.
	KeepBan struct{ Ban KeptBan }
	// DropBan takes a ban back.
	DropBan struct{ Mask string }
	// KeepAccount is an account that was made or changed, and DropAccount the end of one.
	// They come from other nodes alone: see Changed.
	KeepAccount struct{ Name, Suspended string }
	DropAccount struct{ Name string }
	// MoveHistory gives a history another name.
	MoveHistory struct{ From, To string }
	// KeepMarker moves a read marker of an account forward, never back.
	KeepMarker struct {
		Account string
		Marker  Marker
	}
	// ShareMarker is a KeepMarker for all nodes.
	ShareMarker struct {
		KeepMarker
		Out *Outgoing
	}
	// CopyMarker is a KeepMarker that another node has moved.
	CopyMarker struct{ KeepMarker }
	// KeepMetadata sets a key; an empty value removes it.
	KeepMetadata struct{ Datum KeptDatum }
	// KeepDeed adds to the log of what operators have done.
	KeepDeed struct {
		At     int64  // milliseconds since 1970
		By     string // the operator's name
		What   string // the command
		Target string
		Detail string
	}
	// DropHistory removes what was said in a history before a number.
	DropHistory struct {
		Target string
		Before int64
	}
)

func (KeepChannel) isChange()  {}
func (DropChannel) isChange()  {}
func (KeepUser) isChange()     {}
func (DropUser) isChange()     {}
func (KeepBan) isChange()      {}
func (DropBan) isChange()      {}
func (KeepAccount) isChange()  {}
func (DropAccount) isChange()  {}
func (MoveHistory) isChange()  {}
func (DropHistory) isChange()  {}
func (KeepMarker) isChange()   {}
func (ShareMarker) isChange()  {}
func (CopyMarker) isChange()   {}
func (KeepDeed) isChange()     {}
func (KeepMetadata) isChange() {}

// Kept is what a hall begins with.
type Kept struct {
	Channels []KeptChannel
	Users    []KeptUser
	Bans     []KeptBan
	Metadata []KeptDatum
	// Accounts are the names of all accounts that are not in the configuration.
	Accounts []string
	// Last is the greatest number that a message has.
	Last int64
}

// A KeptChannel is a registered channel. Times are in seconds since 1970.
type KeptChannel struct {
	Name    string
	Founder string // account
	Created int64
	Modes   string // letters of those without parameter
	Key     string
	Limit   int
	Forward string
	Topic   string
	TopicBy string
	TopicAt int64
	Lists   [3][]KeptMask // of the modes b, e, I
	Ranks   []Granted
	// KeepDays is how long messages are kept; 0 as the server does.
	KeepDays int
}

// A KeptMask is an entry of a list of a channel.
type KeptMask struct {
	Mask string
	By   string
	At   int64 // seconds
}

// A Granted is the rank that an account has whenever it joins a channel.
type Granted struct {
	Account string
	Rank    Rank
}

// A KeptUser is a user that stays while its owner is away.
type KeptUser struct {
	Account  string
	Nick     string
	Name     string
	Host     string
	Realname string
	Modes    string
	Away     string
	Channels []KeptMembership
	// Leaves: the account wants none to stay, and has nothing else here.
	Leaves bool
}

// A KeptMembership is a channel in which a user is.
type KeptMembership struct {
	Channel string
	Rank    Rank
	Since   int64 // the number of the JOIN; 0: nobody knows
}

// A KeptBan keeps somebody from the server. Times are in seconds since 1970.
type KeptBan struct {
	Mask   string // nick!user@host, or a range of addresses
	Reason string
	By     string
	At     int64
	Until  int64 // 0: for good
}

// Restore puts a new hall into the state that was kept. at is the time in milliseconds
// since 1970.
func (h *Hall) Restore(at int64, k Kept) {
	h.now, h.started, h.lastID = at, at, max(h.lastID, k.Last)
	for _, account := range k.Accounts {
		h.own(account)
	}
	for i := range k.Bans {
		h.bans = append(h.bans, banOf(&k.Bans[i]))
	}
	for i := range k.Channels {
		h.restoreChannel(&k.Channels[i])
	}
	for i := range k.Users {
		h.restoreUser(&k.Users[i])
	}
	for _, d := range k.Metadata {
		h.restoreDatum(d)
	}
	h.changed = changed{}
}

// changed is what one event has changed of what is kept.
type changed struct {
	channels []*channel
	dropped  []dropped
	users    []*user
}

// dropped is a channel that is registered under a name no more.
type dropped struct {
	name    string
	channel *channel
}

// dropKept notes that nothing is kept of a channel under a name any more.
func (h *Hall) dropKept(c *channel, name string) {
	h.changed.dropped = append(h.changed.dropped, dropped{name, c})
}

// touchChannel notes that a channel has changed.
func (h *Hall) touchChannel(c *channel) {
	h.noteChannel(c)
	if c.registered != nil && !slices.Contains(h.changed.channels, c) {
		h.changed.channels = append(h.changed.channels, c)
	}
}

// touchUser notes that a user has changed.
func (h *Hall) touchUser(u *user) {
	h.noteUser(u)
	h.keepUser(u)
}

// keepUser notes that what is kept of a user has changed.
func (h *Hall) keepUser(u *user) {
	if u.stays() && !slices.Contains(h.changed.users, u) {
		h.changed.users = append(h.changed.users, u)
	}
}

// keepChanged has the gate keep what an event has changed. In a network all of it has its
// place in the orders of the channels by now.
func (h *Hall) keepChanged() {
	for _, d := range h.changed.dropped {
		at := d.channel.order()
		h.gate.Keep(DropChannel{d.name, at.Reign, at.Number})
	}
	for _, c := range h.changed.channels {
		if c.registered != nil {
			at := c.order()
			h.gate.Keep(KeepChannel{c.kept(), at.Reign, at.Number})
		}
	}
	for _, u := range h.changed.users {
		if u.stays() {
			h.gate.Keep(KeepUser{u.kept()})
		}
	}
	clear(h.changed.dropped)
	h.changed.channels, h.changed.dropped, h.changed.users = h.changed.channels[:0], h.changed.dropped[:0], h.changed.users[:0]
}

func (c *channel) kept() KeptChannel {
	k := KeptChannel{
		Name: c.name, Created: c.created, Key: c.password, Limit: c.limit, Forward: c.forward,
		Topic: c.topic, TopicBy: c.topicBy, TopicAt: c.topicAt,
	}
	if r := c.registered; r != nil {
		k.Founder, k.Ranks, k.KeepDays = r.founder, slices.Clone(r.ranks), r.days
	}
	k.Modes = c.letters()
	for i, list := range [...][]listed{c.bans, c.excepts, c.invexes} {
		for _, l := range list {
			k.Lists[i] = append(k.Lists[i], KeptMask{Mask: l.mask, By: l.by, At: l.at})
		}
	}
	return k
}

func (h *Hall) restoreChannel(k *KeptChannel) {
	if !h.validChannelName(k.Name) || h.findChannel(k.Name) != nil {
		return
	}
	c := h.create(k.Name)
	c.register(k)
	c.metadata = h.metadata[fold(k.Name)] // what came before the channel
	delete(h.metadata, fold(k.Name))
	c.began = k.Created * 1000 << IDBits
}

// register makes a channel as it was kept.
func (c *channel) register(k *KeptChannel) {
	c.registered = &registered{founder: k.Founder, ranks: k.Ranks, days: k.KeepDays}
	c.set(k)
}

// set makes a channel as it was kept, but for its registration.
func (c *channel) set(k *KeptChannel) {
	c.created, c.modes, c.password, c.limit, c.forward = k.Created, 0, k.Key, k.Limit, k.Forward
	c.topic, c.topicBy, c.topicAt = k.Topic, k.TopicBy, k.TopicAt
	for i := range len(k.Modes) {
		c.modes |= flagOf(k.Modes[i])
	}
	for i, list := range [...]*[]listed{&c.bans, &c.excepts, &c.invexes} {
		*list = nil
		for _, m := range k.Lists[i] {
			*list = append(*list, listed{mask: m.Mask, by: m.By, at: m.At})
		}
	}
	c.judgement++
}

func (u *user) kept() KeptUser {
	k := KeptUser{
		Account: u.account, Nick: u.nick(), Name: u.name(), Host: u.host(), Realname: u.realname, Away: u.away(),
		Modes: strings.TrimPrefix((u.modes &^ (modeOperator | modeSecure)).String(), "+"),
	}
	for _, m := range u.channels {
		k.Channels = append(k.Channels, KeptMembership{Channel: m.channel.name, Rank: m.rank, Since: m.since})
	}
	return k
}

func (h *Hall) restoreUser(k *KeptUser) {
	if k.Leaves {
		h.leaving[fold(k.Account)] = true
		return
	}
	if !h.wellFormed(k.Nick) || h.find(k.Nick) != nil || h.staying[fold(k.Account)] != nil {
		return
	}
	now := uint32(h.seconds())
	u := &user{realname: k.Realname, account: k.Account, home: &Origin{Host: k.Host}, signon: now, active: now}
	for i := range len(k.Modes) {
		u.modes |= userModeOf(k.Modes[i]) &^ (modeOperator | modeSecure)
	}
	u.identify(k.Nick, k.Name, k.Host)
	u.more = &more{away: orStar(k.Away)} // nobody is there yet
	h.here(u)
	h.enter(u)
	h.setStays(u, true)
	for _, m := range k.Channels {
		if len(u.channels) < h.config.Channels {
			h.restoreMember(u, m)
		}
	}
}

func (h *Hall) restoreMember(u *user, m KeptMembership) {
	if !h.validChannelName(m.Channel) {
		return
	}
	c := h.findChannel(m.Channel)
	if c == nil {
		c = h.create(m.Channel)
	}
	if u.in(c) == nil {
		h.add(c, u, m.Rank).since = cmp.Or(m.Since, h.now<<IDBits)
	}
}

func (b *serverBan) kept() KeptBan {
	return KeptBan{Mask: b.mask, Reason: b.reason, By: b.by, At: b.set, Until: b.ends}
}

func banOf(k *KeptBan) serverBan {
	b := serverBan{mask: k.Mask, reason: k.Reason, by: k.By, set: k.At, ends: k.Until}
	if prefix, ok := addresses(k.Mask); ok {
		b.prefix = prefix
	}
	return b
}
