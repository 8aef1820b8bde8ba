package hall

import (
	"strings"

	"github.com/epinet/epi/apps/chat/ircmsg"
)

// A speech is what PRIVMSG, NOTICE, TAGMSG or a multiline batch says.
type speech struct {
	command string
	text    string
	// parts are those of a multiline batch; nil for one line.
	parts []part
	// tags are the client-only ones.
	tags []ircmsg.Tag
	// source replaces that of the user where it is not empty (RELAYMSG, NPC).
	source string
	id     int64 // of the message, from items
}

// A part is a line of a multiline batch.
type part struct {
	text   string
	concat bool // it goes on with the line before
}

func (h *Hall) privmsg(s *session, params []string, m *ircmsg.Message) {
	h.speak(s, "PRIVMSG", params, m)
}

func (h *Hall) noticeCommand(s *session, params []string, m *ircmsg.Message) {
	h.speak(s, "NOTICE", params, m)
}

func (h *Hall) tagmsg(s *session, params []string, m *ircmsg.Message) {
	h.speak(s, "TAGMSG", params, m)
}

// speak is all three. A NOTICE is never answered by an error (RFC 2812, 3.3.2).
func (h *Hall) speak(s *session, command string, params []string, m *ircmsg.Message) {
	sp := &speech{command: command}
	if m.Tags != "" {
		sp.tags = m.Tags.ClientOnly(CapMessageTags)
	}
	loud := command != "NOTICE"
	if param(params, 0) == "" {
		if loud {
			h.reply(s, nNoRecipient, "No recipient given ("+command+")")
		}
		return
	}
	if command != "TAGMSG" {
		sp.text = param(params, 1)
		if sp.text == "" {
			if loud {
				h.reply(s, nNoTextToSend, "No text to send")
			}
			return
		}
		s.user.active = uint32(h.seconds())
	}
	if reference, ok := h.edits(s, sp); ok {
		h.edit(s, params[0], reference, sp)
		return
	}
	left := h.config.Targets
	for target := range strings.SplitSeq(params[0], ",") {
		if left == 0 {
			if loud {
				h.reply(s, nTooManyTargets, printable(target), "Too many targets")
			}
			return
		}
		left--
		if target != "" {
			h.sayTo(s, target, sp)
		}
	}
}

// sayTo says something to one target: a channel, those of a rank in it, a service or a
// user.
func (h *Hall) sayTo(s *session, target string, sp *speech) {
	name := strings.TrimLeft(target, rankPrefixes)
	if isChannelName(name) {
		h.sayToChannel(s, target[:len(target)-len(name)], name, sp)
		return
	}
	if service := serviceNamed(target); service != nil {
		h.sayToService(s, service, sp)
		return
	}
	u := h.mentioned(target)
	if u == nil {
		if sp.command != "NOTICE" {
			h.reply(s, nNoSuchNick, printable(target), "No such nick")
		}
		return
	}
	h.sayToUser(s, u, sp)
}

func (h *Hall) sayToChannel(s *session, prefixes, name string, sp *speech) {
	loud := sp.command != "NOTICE"
	c := h.findChannel(name)
	if c == nil {
		if loud {
			h.reply(s, nNoSuchChannel, printable(name), "No such channel")
		}
		return
	}
	m := s.user.in(c)
	reach := Reach{Channel: c.id, Rank: lowest(prefixes)}
	if why := h.silenced(c, s.user, sp); why != "" {
		if loud {
			h.reply(s, nCannotSendToChan, c.name, "Cannot send to channel ("+why+")")
		}
		return
	}
	if c.is(modeOpModerated) && (m == nil || m.rank == 0) {
		reach.Rank = max(reach.Rank, HalfOp)
	}
	items := h.items(s.user, prefixes+c.name, sp)
	h.recordSpeech(s.user, s.id, fold(c.name), prefixes+c.name, reach.Rank, sp, items)
	echo := s.has(CapEchoMessage)
	inside := m != nil && m.rank >= reach.Rank
	for _, item := range items {
		item.to(reach)
		switch {
		case !echo:
			item.but(s.id)
		case !inside:
			item.Sessions = []SessionID{s.id}
		}
		if !inside {
			item.Sessions = append(item.Sessions, sessionsOf(s.user, s)...)
		}
	}
	h.deliver(echo, items...)
}

// lowest returns the least rank of some prefixes, 0 for none.
func lowest(prefixes string) Rank {
	var least Rank
	for i := range len(prefixes) {
		if r := rankOf(rankPrefixes, prefixes[i]); least == 0 || r < least {
			least = r
		}
	}
	return least
}

// silenced returns the reason why a user may not speak in a channel, or "". It is the
// one place that says so.
func (h *Hall) silenced(c *channel, u *user, sp *speech) string {
	m := u.in(c)
	var rank Rank
	if m != nil {
		rank = m.rank
	}
	switch {
	case m == nil && c.is(modeNoExternal):
		return "+n"
	case c.is(modeModerated) && rank == 0:
		return "+m"
	case c.is(modeAccountSpeak) && rank == 0 && u.account == "":
		return "+M: you must be logged in"
	case rank == 0 && h.bannedSpeaker(c, u, m):
		return "+b"
	case c.is(modeNoChannelCTCP) && rank < HalfOp && sp.isCTCP():
		return "+C"
	case c.is(modeNoNotice) && rank < HalfOp && sp.command == "NOTICE":
		return "+T"
	}
	return ""
}

// bannedSpeaker says whether the lists keep a user without rank from speaking.
func (h *Hall) bannedSpeaker(c *channel, u *user, m *member) bool {
	if m != nil {
		return h.muted(m)
	}
	return h.listedIn(c.bans, u, h.coversSpeech) && !h.listedIn(c.excepts, u, h.coversSpeech)
}

// isCTCP says whether something is CTCP, but ACTION, which is speech.
func (sp *speech) isCTCP() bool {
	return strings.HasPrefix(sp.text, "\x01") && !strings.HasPrefix(sp.text, "\x01ACTION ")
}

func (h *Hall) sayToUser(s *session, u *user, sp *speech) {
	if !h.accepts(s, u, sp) {
		return
	}
	items := h.items(s.user, u.nick(), sp)
	if s.user.account != "" || u.account != "" {
		h.recordSpeech(s.user, s.id, Conversation(s.user.side(), u.side()), u.nick(), 0, sp, items)
	}
	for _, item := range items {
		item.Sessions = sessionsOf(u, nil)
		if u != s.user {
			item.Sessions = append(item.Sessions, sessionsOf(s.user, s)...)
		}
	}
	if sp.command != "TAGMSG" && u != s.user {
		h.acceptReplies(s.user, u)
	}
	h.deliverTo(u, s, items)
	if away := u.away(); away != "" && sp.command == "PRIVMSG" {
		h.reply(s, nAway, u.nick(), away)
	}
}

// deliverTo gives items to a user, and echoes them to the session that speaks.
func (h *Hall) deliverTo(u *user, s *session, items []*Item) {
	echo := s.has(CapEchoMessage)
	if h.turn.label == "" && echo && u != s.user {
		for _, item := range items {
			item.Sessions = append(item.Sessions, s.id)
		}
		echo = false
	}
	h.deliver(false, items...)
	if !echo {
		return
	}
	for _, item := range items {
		if item.Wants(s.caps) {
			h.echo(item)
		}
	}
}

// accepts says whether a user can be spoken to, and replies if not.
func (h *Hall) accepts(s *session, u *user, sp *speech) bool {
	if u == s.user || s.user.is(modeOperator) {
		return true
	}
	loud := sp.command != "NOTICE"
	switch {
	case u.is(modeNoCTCP) && sp.isCTCP():
		if loud {
			h.reply(s, nCannotSendToUser, u.nick(), "They do not take CTCP (+T)")
		}
		return false
	case u.is(modeRegistered) && s.user.account == "" && !u.acceptsFrom(s.user):
		if loud {
			h.reply(s, nNeedReggedNick, u.nick(), "You must be logged in to send them messages (+R)")
		}
		return false
	case u.is(modeCallerID) && !u.acceptsFrom(s.user):
		if loud {
			h.screen(s, u)
		}
		return false
	}
	return true
}

// notifyEvery is how often a user gets a notice of messages that the mode g keeps from them.
const notifyEvery = 60

// screen notifies both sides of a message that the mode g keeps from a user.
func (h *Hall) screen(s *session, u *user) {
	h.reply(s, nTargUModeG, u.nick(), "has set +g (accept list)")
	if h.seconds() < u.extra().notified {
		return
	}
	u.more.notified = h.seconds() + notifyEvery
	h.reply(s, nTargNotify, u.nick(), "was told of your message")
	for _, own := range u.sessions {
		h.reply(own, nUModeGMsg, s.user.nick(), s.user.name()+"@"+s.user.host(), "is messaging you, and you have +g set")
	}
}

// items returns what a user says to a target: one item, or two for a multiline batch,
// for those that know such batches and for the others. Who gets them is still to be set.
// The slice is used again for what is said next.
func (h *Hall) items(u *user, target string, sp *speech) []*Item {
	sp.id = h.nextID()
	return h.numbered(u, target, sp)
}

// numbered is items for what has its number already.
func (h *Hall) numbered(u *user, target string, sp *speech) []*Item {
	tags := h.tags(u, MsgID(sp.id), sp.tags...)
	if sp.parts != nil {
		return h.multilineItems(u, target, sp, tags)
	}
	m := sp.message(u, target, sp.text)
	item := newItem(h.line(tags, ircmsg.Body{Message: m}))
	if sp.command == "TAGMSG" {
		item.Need = CapMessageTags
	}
	h.said[0] = item
	return h.said[:1]
}

func (sp *speech) message(u *user, target, text string) ircmsg.Message {
	m := ircmsg.Message{Source: u.source, Command: sp.command, Params: []string{target, text}, Text: true}
	if sp.source != "" {
		m.Source = sp.source
	}
	if sp.command == "TAGMSG" {
		m.Params, m.Text = m.Params[:1], false
	}
	return m
}

// relaymsg speaks in the name of somebody on another network.
func (h *Hall) relaymsg(s *session, params []string, m *ircmsg.Message) {
	name, nick, text := params[0], params[1], params[2]
	c := h.findChannel(name)
	if !h.config.RelayMsg || c == nil {
		h.fail(s, "RELAYMSG", "INVALID_CHANNEL", printable(name), "You cannot relay to that channel")
		return
	}
	if s.user.rankIn(c) < Op && !s.user.may(h, RightRelayMsg) {
		h.fail(s, "RELAYMSG", "PRIVS_NEEDED", "Only channel operators may relay messages")
		return
	}
	if !h.validRelayNick(nick) {
		h.fail(s, "RELAYMSG", "INVALID_NICK", "The nick must have a "+relaySeparator+" in it, and be valid otherwise")
		return
	}
	if text == "" {
		h.fail(s, "RELAYMSG", "BLANK_MSG", "There is nothing to relay")
		return
	}
	sp := &speech{command: "PRIVMSG", text: text, source: nick + "!" + s.user.name() + "@" + s.user.host()}
	sp.tags = append(m.Tags.ClientOnly(CapMessageTags), ircmsg.Tag{Key: "draft/relaymsg", Value: s.user.nick(), Need: CapRelayMsg})
	items := h.items(&user{source: sp.source}, c.name, sp)
	h.recordSpeech(s.user, s.id, fold(c.name), c.name, 0, sp, items)
	echo := s.has(CapEchoMessage)
	for _, item := range items {
		item.to(Reach{Channel: c.id})
		if !echo {
			item.but(s.id)
		}
	}
	h.deliver(echo && s.user.in(c) != nil, items...)
}

func (h *Hall) validRelayNick(nick string) bool {
	if !strings.Contains(nick, relaySeparator) || len(nick) > h.config.Nick {
		return false
	}
	return !strings.ContainsAny(nick, "!@*?,:#&~%+ ")
}

// npc lets a character speak in a channel with the mode E.
func (h *Hall) npc(s *session, params []string, _ *ircmsg.Message) {
	h.act(s, params[0], "*"+params[1]+"*", params[1], strings.Join(params[2:], " "))
}

// scene describes what happens in a channel with the mode E.
func (h *Hall) scene(s *session, params []string, _ *ircmsg.Message) {
	h.act(s, params[0], "=Scene=", "scene", strings.Join(params[1:], " "))
}

func (h *Hall) act(s *session, name, nick, plain, text string) {
	c := h.findChannel(name)
	if c == nil {
		h.reply(s, nNoSuchChannel, printable(name), "No such channel")
		return
	}
	sp := &speech{command: "PRIVMSG", text: text + " (" + s.user.nick() + ")"}
	switch {
	case !c.is(modeRoleplay):
		h.reply(s, nCannotSendRP, c.name, "Channel doesn't have roleplaying mode (+E) set")
		return
	case s.user.in(c) == nil || h.silenced(c, s.user, sp) != "":
		h.reply(s, nCannotSendRP, c.name, "You may not speak there")
		return
	case !h.validNick(plain):
		h.reply(s, nCannotSendRP, c.name, "That name is not valid")
		return
	}
	sp.source = nick + "!" + s.user.name() + "@npc." + h.config.Name
	items := h.items(&user{source: sp.source}, c.name, sp)
	h.recordSpeech(s.user, s.id, fold(c.name), c.name, 0, sp, items)
	for _, item := range items {
		item.to(Reach{Channel: c.id})
	}
	h.deliver(true, items...)
}
