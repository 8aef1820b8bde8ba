package hall

import "github.com/epinet/epi/apps/chat/ircmsg"

// tags returns the tags of what a user does: each session gets those for which it has
// the capability.
func (h *Hall) tags(u *user, id string, more ...ircmsg.Tag) []ircmsg.Tag {
	tags := make([]ircmsg.Tag, 0, 5+len(more))
	tags = append(tags, ircmsg.Tag{Key: "time", Value: h.time(), Need: CapServerTime})
	if id != "" {
		tags = append(tags, ircmsg.Tag{Key: "msgid", Value: id, Need: CapMessageTags})
	}
	if u != nil {
		if u.account != "" {
			tags = append(tags, ircmsg.Tag{Key: "account", Value: u.account, Need: CapAccountTag})
		}
		if u.is(modeBot) {
			tags = append(tags, ircmsg.Tag{Key: "bot", Need: CapMessageTags})
		}
		if u.is(modeOperator) {
			tags = append(tags, ircmsg.Tag{Key: "draft/oper", Need: CapOperTag})
		}
	}
	return append(tags, more...)
}

// fromUser returns what a user does as a line for many.
func (h *Hall) fromUser(u *user, m ircmsg.Message) *ircmsg.Line {
	m.Source = u.source
	return h.line(h.tags(u, MsgID(h.nextID())), ircmsg.Body{Message: m})
}

// fromServer returns what the server does as a line for many.
func (h *Hall) fromServer(command string, params ...string) *ircmsg.Line {
	return h.line(h.tags(nil, MsgID(h.nextID())), ircmsg.Body{Message: ircmsg.Message{Source: h.config.Name, Command: command, Params: params}})
}

// line returns a line, or nil when it cannot be written.
func (h *Hall) line(tags []ircmsg.Tag, bodies ...ircmsg.Body) *ircmsg.Line {
	line, err := ircmsg.NewLine(ircmsg.FromServer, tags, bodies...)
	if err != nil {
		h.gate.Fault(err)
		return nil
	}
	return line
}

// lines returns those that could be written.
func lines(all ...*ircmsg.Line) []*ircmsg.Line {
	kept := all[:0]
	for _, l := range all {
		if l != nil {
			kept = append(kept, l)
		}
	}
	return kept
}

// toChannel returns an item for the members of a channel.
func toChannel(c *channel, line *ircmsg.Line) *Item {
	item := newItem(line)
	item.to(Reach{Channel: c.id})
	return item
}

// toUsers returns an item for all sessions of some users.
func toUsers(users []*user, line *ircmsg.Line) *Item {
	item := newItem(line)
	for _, u := range users {
		item.Sessions = append(item.Sessions, sessionsOf(u, nil)...)
	}
	return item
}

// toNeighbours returns an item for those who share a channel with a user in which they
// can see them, and for the watchers given; not for the user's own sessions.
func (h *Hall) toNeighbours(u *user, watchers []*session, line *ircmsg.Line) *Item {
	item := newItem(line)
	item.private = true
	item.Except = sessionsOf(u, nil)
	for _, m := range u.channels {
		item.Channels = append(item.Channels, m.seenBy())
	}
	for _, s := range watchers {
		if s.user != u {
			item.Sessions = append(item.Sessions, s.id)
		}
	}
	return item
}

// toNeighboursAndSelf is toNeighbours, and for the user's own sessions.
func (h *Hall) toNeighboursAndSelf(u *user, watchers []*session, line *ircmsg.Line) *Item {
	item := h.toNeighbours(u, watchers, line)
	item.Except = nil
	item.Sessions = append(item.Sessions, sessionsOf(u, nil)...)
	return item
}

// extendedWatchers returns the sessions that watch a user with extended-monitor.
func (h *Hall) extendedWatchers(u *user) []*session {
	var some []*session
	for _, s := range h.watchers[h.nickKey(u.nick())] {
		if s.has(CapExtendedMonitor) {
			some = append(some, s)
		}
	}
	return some
}
