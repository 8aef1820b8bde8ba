package hall

import (
	"slices"
	"strconv"
	"strings"

	"github.com/epinet/epi/apps/chat/ircmsg"
)

func (h *Hall) joinCommand(s *session, params []string, _ *ircmsg.Message) {
	if s.has(CapReadMarker) && s.far == nil && h.markersOf(s.user) == nil {
		params = slices.Clone(params) // the line is used again
		h.withMarkers(s, func() { h.joinAll(s, params) })
		return
	}
	h.joinAll(s, params)
}

func (h *Hall) joinAll(s *session, params []string) {
	if params[0] == "0" {
		for len(s.user.channels) > 0 {
			h.part(s.user.channels[len(s.user.channels)-1], "")
		}
		return
	}
	keys := strings.Split(param(params, 1), ",")
	for i, name := range strings.Split(params[0], ",") {
		if name != "" {
			h.join(s, name, param(keys, i), true)
		}
	}
}

// join makes a user a member of a channel if the channel lets them in. With follow, who
// may not join goes where the channel forwards to.
func (h *Hall) join(s *session, name, key string, follow bool) {
	u := s.user
	c := h.enterable(s, u, name, "You have joined too many channels")
	if c == nil {
		return
	}
	numeric, why := h.keptOut(c, u, key)
	if numeric == "" {
		h.admitTo(u, c, 0)
		return
	}
	if c.forward != "" && follow {
		h.reply(s, nLinkChannel, c.name, c.forward, "Forwarding to another channel")
		h.join(s, c.forward, "", false)
		return
	}
	h.reply(s, numeric, c.name, "Cannot join channel ("+why+")")
}

// enterable returns a channel that a user may still have to be kept out of. It is nil where
// nothing is left to decide: the channel is new, and the user its first member, or the
// session has the reason why not.
func (h *Hall) enterable(s *session, u *user, name, tooMany string) *channel {
	if !h.validChannelName(name) {
		h.reply(s, nNoSuchChannel, printable(name), "No such channel")
		return nil
	}
	c := h.findChannel(name)
	switch {
	case u.in(c) != nil:
		return nil
	case len(u.channels) >= h.config.Channels:
		h.reply(s, nTooManyChannels, name, tooMany)
		return nil
	case c == nil:
		h.admitTo(u, h.create(strings.Clone(name)), Op)
		return nil
	}
	return c
}

// keptOut returns the numeric for the reason why a user may not join, or "". Who was
// invited may; who has a rank by the account needs no invitation, and as half-operator or
// more is not kept out by a ban.
func (h *Hall) keptOut(c *channel, u *user, key string) (numeric, why string) {
	granted := c.registered.grants(u.account)
	if u.invitedTo(c) || granted&Founder != 0 {
		return "", ""
	}
	switch {
	case c.is(modeInviteOnly) && granted == 0 && !h.listedIn(c.invexes, u, h.covers):
		return nInviteOnlyChan, "+i"
	case c.password != "" && c.password != key:
		return nBadChannelKey, "+k"
	case c.limit > 0 && len(c.members) >= c.limit:
		return nChannelIsFull, "+l"
	case c.is(modeAccountJoin) && u.account == "":
		return nNeedReggedNick, "+R: you must be logged in"
	case granted < HalfOp && h.bannedFrom(c, u):
		return nBannedFromChan, "+b"
	}
	return "", ""
}

func (u *user) invitedTo(c *channel) bool {
	if u.more == nil {
		return false
	}
	for _, other := range u.more.invites {
		if other == c {
			return true
		}
	}
	return false
}

// admitTo makes a user a member and shows that to the channel.
func (h *Hall) admitTo(u *user, c *channel, rank Rank) {
	h.uninvite(u, c)
	granted := c.registered.grants(u.account)
	rank |= granted
	m := h.add(c, u, rank)
	item := newItem(h.joinLine(u, c))
	m.since = h.lastID
	h.recordEvent(c, m.seenBy().Rank, u, "JOIN", c.name, orStar(u.account), u.realname)
	item.to(m.seenBy())
	item.Sessions = sessionsOf(u, nil)
	h.deliver(h.turnOf(u) || h.turnIn(m.seenBy(), c), item)
	if away := u.away(); away != "" {
		item := toChannel(c, h.fromUser(u, ircmsg.Message{Command: "AWAY", Params: []string{away}, Text: true}))
		item.to(m.seenBy())
		item.Need, item.Except = CapAwayNotify, sessionsOf(u, nil)
		h.deliver(false, item)
	}
	h.showIn(m)
	h.notifyMembers(m)
	if granted != 0 {
		h.announceRank(m, granted)
	}
}

// showIn shows a channel to who has joined it.
func (h *Hall) showIn(m *member) {
	if h.net != nil && m.user.net.node != nil {
		in := inChannel{Channel: fold(m.channel.name), User: m.user.net.number}
		if h.turn.run != nil {
			in.Run = h.turn.run.number
		}
		h.net.post(m.user.net.node, "in", in, nil)
		return
	}
	for _, own := range m.user.sessions {
		h.showTo(own, m)
	}
}

func (h *Hall) showTo(s *session, m *member) {
	h.describe(s, m.channel)
	h.syncOnJoin(s, m.channel)
	h.replayOnJoin(s, m, m.since)
}

// joinMessage returns a JOIN as a session with some capabilities gets it.
func joinMessage(u *user, c *channel, caps Caps) *ircmsg.Message {
	m := &ircmsg.Message{Source: u.source, Command: "JOIN", Params: []string{c.name}}
	if caps&CapExtendedJoin != 0 {
		m.Params = []string{c.name, orStar(u.account), u.realname}
		m.Text = true
	}
	return m
}

func (h *Hall) joinLine(u *user, c *channel) *ircmsg.Line {
	return h.line(h.tags(u, MsgID(h.nextID())),
		ircmsg.Body{Message: *joinMessage(u, c, CapExtendedJoin), Need: CapExtendedJoin},
		ircmsg.Body{Message: *joinMessage(u, c, 0)})
}

// describe sends what who has joined a channel is to know of it: topic and members.
func (h *Hall) describe(s *session, c *channel) {
	if c.topic != "" {
		h.sendTopic(s, c)
	}
	h.markOnJoin(s, c)
	if h.net != nil && s.far == nil {
		h.net.missEarly(s, c)
	}
	if !s.has(CapNoImplicitNames) {
		h.sendNames(s, c)
		h.reply(s, nEndOfNames, c.name, "End of /NAMES list")
	}
}

func (h *Hall) sendTopic(s *session, c *channel) {
	h.reply(s, nTopic, c.name, c.topic)
	h.reply(s, nTopicWhoTime, c.name, c.topicBy, strconv.FormatInt(c.topicAt, 10))
}

func (h *Hall) partCommand(s *session, params []string, _ *ircmsg.Message) {
	reason := ircmsg.Truncate(param(params, 1), h.config.Kick)
	for name := range strings.SplitSeq(params[0], ",") {
		if m := h.membership(s, name); m != nil {
			h.part(m, reason)
		}
	}
}

// membership returns the user's membership of the channel with a name, or nil after a
// reply that says why there is none.
func (h *Hall) membership(s *session, name string) *member {
	c := h.findChannel(name)
	if c == nil {
		h.reply(s, nNoSuchChannel, printable(name), "No such channel")
		return nil
	}
	m := s.user.in(c)
	if m == nil {
		h.reply(s, nNotOnChannel, c.name, "You're not on that channel")
	}
	return m
}

// operator is membership for what needs a rank.
func (h *Hall) operator(s *session, name string, rank Rank) *member {
	m := h.membership(s, name)
	if m != nil && m.rank < rank {
		h.reply(s, nChanOPrivsNeeded, m.channel.name, "You're not a channel operator")
		return nil
	}
	return m
}

func (h *Hall) part(m *member, reason string) {
	message := ircmsg.Message{Command: "PART", Params: []string{m.channel.name}}
	if reason != "" {
		message.Params, message.Text = []string{m.channel.name, reason}, true
	}
	item := newItem(h.fromUser(m.user, message))
	h.recordEvent(m.channel, m.seenBy().Rank, m.user, "PART", message.Params...)
	item.to(m.seenBy())
	item.Sessions = sessionsOf(m.user, nil)
	h.deliver(true, item)
	h.leave(m)
}

func (h *Hall) kick(s *session, params []string, _ *ircmsg.Message) {
	channels, nicks := strings.Split(params[0], ","), strings.Split(params[1], ",")
	if len(channels) > 1 && len(channels) != len(nicks) {
		h.reply(s, nNeedMoreParams, "KICK", "Not enough parameters")
		return
	}
	reason := ircmsg.Truncate(param(params, 2), h.config.Kick)
	if reason == "" {
		reason = s.user.nick()
	}
	for i, nick := range nicks {
		h.kickOne(s, channels[min(i, len(channels)-1)], nick, reason)
	}
}

func (h *Hall) kickOne(s *session, name, nick, reason string) {
	m := h.operator(s, name, HalfOp)
	if m == nil {
		return
	}
	u := h.mentioned(nick)
	if u == nil {
		h.reply(s, nNoSuchNick, printable(nick), "No such nick")
		return
	}
	victim := u.in(m.channel)
	if victim == nil {
		h.reply(s, nUserNotInChannel, u.nick(), m.channel.name, "They aren't on that channel")
		return
	}
	if u != s.user && !m.mayTouch(victim) {
		h.reply(s, nChanOPrivsNeeded, m.channel.name, "They have a higher rank than you")
		return
	}
	line := h.fromUser(s.user, ircmsg.Message{Command: "KICK", Params: []string{m.channel.name, u.nick(), reason}, Text: true})
	item := newItem(line)
	h.recordEvent(m.channel, victim.seenBy().Rank, s.user, "KICK", m.channel.name, u.nick(), reason)
	item.to(victim.seenBy())
	item.Sessions = append(sessionsOf(u, nil), sessionsOf(s.user, nil)...)
	h.deliver(true, item)
	h.leave(victim)
}

// mayTouch says whether a member may kick another one, or take their rank.
func (m *member) mayTouch(other *member) bool {
	return other.rank.top() <= m.rank.top() && (m.rank >= Op || other.rank < HalfOp)
}

func (h *Hall) topic(s *session, params []string, _ *ircmsg.Message) {
	c := h.findChannel(params[0])
	if c == nil {
		h.reply(s, nNoSuchChannel, printable(params[0]), "No such channel")
		return
	}
	m := s.user.in(c)
	if m == nil && (len(params) > 1 || !h.knows(s.user, c)) {
		h.reply(s, nNotOnChannel, c.name, "You're not on that channel")
		return
	}
	if len(params) == 1 {
		if c.topic == "" {
			h.reply(s, nNoTopic, c.name, "No topic is set")
			return
		}
		h.sendTopic(s, c)
		return
	}
	if c.is(modeTopic) && m.rank < HalfOp {
		h.reply(s, nChanOPrivsNeeded, c.name, "You're not a channel operator")
		return
	}
	c.topic = strings.Clone(ircmsg.Truncate(params[1], h.config.Topic))
	c.topicBy, c.topicAt = s.user.source, h.seconds()
	h.touchChannel(c)
	item := toChannel(c, h.fromUser(s.user, ircmsg.Message{Command: "TOPIC", Params: []string{c.name, c.topic}, Text: true}))
	h.recordEvent(c, 0, s.user, "TOPIC", c.name, c.topic)
	h.deliver(true, item)
}

func (h *Hall) invite(s *session, params []string, _ *ircmsg.Message) {
	if len(params) == 0 {
		h.listInvites(s)
		return
	}
	if len(params) == 1 {
		h.reply(s, nNeedMoreParams, "INVITE", "Not enough parameters")
		return
	}
	u := h.mentioned(params[0])
	if u == nil {
		h.reply(s, nNoSuchNick, printable(params[0]), "No such nick")
		return
	}
	m := h.membership(s, params[1])
	if m == nil {
		return
	}
	c := m.channel
	switch {
	case c.is(modeInviteOnly) && m.rank < HalfOp:
		h.reply(s, nChanOPrivsNeeded, c.name, "You're not a channel operator")
		return
	case u.in(c) != nil:
		h.reply(s, nUserOnChannel, u.nick(), c.name, "is already on channel")
		return
	}
	if m.rank >= HalfOp || !c.is(modeInviteOnly) {
		h.remind(u, c)
	}
	h.reply(s, nInviting, u.nick(), c.name)
	if away := u.away(); away != "" {
		h.reply(s, nAway, u.nick(), away)
	}
	line := h.fromUser(s.user, ircmsg.Message{Command: "INVITE", Params: []string{u.nick(), c.name}})
	h.deliver(u == s.user, toUsers([]*user{u}, line))
	others := toChannel(c, line)
	others.to(Reach{Channel: c.id, Rank: HalfOp})
	others.Need, others.Except = CapInviteNotify, append(sessionsOf(u, nil), sessionsOf(s.user, nil)...)
	h.deliver(false, others)
}

// remind notes that a user was invited. The oldest note goes when there are too many.
func (h *Hall) remind(u *user, c *channel) {
	if u.invitedTo(c) {
		return
	}
	invites := append(u.extra().invites, c)
	c.invited = append(c.invited, u)
	if len(invites) > h.config.Invites {
		h.uninvite(u, invites[0])
		invites = append(u.more.invites, c)
	}
	u.more.invites = invites
}

// uninvite forgets that a user was invited.
func (h *Hall) uninvite(u *user, c *channel) {
	if !u.invitedTo(c) {
		return
	}
	u.more.invites = without(u.more.invites, c)
	c.invited = without(c.invited, u)
}

func (h *Hall) listInvites(s *session) {
	if s.user.more != nil {
		for _, c := range s.user.more.invites {
			h.reply(s, nInviteList, c.name)
		}
	}
	h.reply(s, nEndOfInviteList, "End of /INVITE list")
}

// rename gives a channel another name (draft/channel-rename). Clients without that
// capability see the others leave and themselves join again.
func (h *Hall) rename(s *session, params []string, _ *ircmsg.Message) {
	m := h.operator(s, params[0], Op)
	if m == nil {
		return
	}
	c, name := m.channel, strings.Clone(params[1])
	old, reason := c.name, ircmsg.Truncate(param(params, 2), h.config.Topic)
	if !h.validChannelName(name) {
		h.fail(s, "RENAME", "CANNOT_RENAME", old, printable(name), "That is not a valid channel name")
		return
	}
	if other := h.findChannel(name); other != nil && other != c || name == old {
		h.fail(s, "RENAME", "CHANNEL_NAME_IN_USE", old, name, "The channel name is already taken")
		return
	}
	line := h.fromUser(s.user, ircmsg.Message{Command: "RENAME", Params: []string{old, name, reason}, Text: true})
	item := toChannel(c, line)
	item.Need = CapChannelRename
	h.deliver(s.has(CapChannelRename), item)
	if h.net != nil {
		h.renameFar(c, name)
	}
	h.setName(c, name)
	h.renamed(c, old)
	if !sameName(old, name) {
		h.moveHistory(old, name)
		h.moveOver(c, old, reason)
	}
}

// setName gives a channel another name.
func (h *Hall) setName(c *channel, name string) {
	delete(h.channels, fold(c.name))
	c.name = name
	h.channels[fold(name)] = c
}

// moveOver lets clients that do not know RENAME leave the old name and join the new one.
func (h *Hall) moveOver(c *channel, old, reason string) {
	for _, m := range c.members {
		for _, own := range m.user.sessions {
			if own.has(CapChannelRename) {
				continue
			}
			part := &ircmsg.Message{Source: m.user.source, Command: "PART", Params: []string{old}}
			if reason != "" {
				part.Params, part.Text = []string{old, reason}, true
			}
			h.write(own, "", part)
			h.write(own, "", joinMessage(m.user, c, own.caps))
			h.describe(own, c)
		}
	}
}
