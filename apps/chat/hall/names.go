package hall

import (
	"slices"
	"strconv"
	"strings"

	"github.com/epinet/epi/apps/chat/ircmsg"
)

func (h *Hall) names(s *session, params []string, _ *ircmsg.Message) {
	if len(params) == 0 {
		h.allNames(s)
		return
	}
	for name := range strings.SplitSeq(params[0], ",") {
		if c := h.findChannel(name); c != nil && h.knows(s.user, c) {
			h.sendNames(s, c)
		}
	}
	h.reply(s, nEndOfNames, printable(params[0]), "End of /NAMES list")
}

// allNames answers NAMES without a channel: those that everybody may know of.
func (h *Hall) allNames(s *session) {
	for _, c := range h.slots {
		if c != nil && h.knows(s.user, c) {
			h.sendNames(s, c)
		}
		if h.full(s, "NAMES") {
			break
		}
	}
	h.reply(s, nEndOfNames, "*", "End of /NAMES list")
}

// sendNames sends 353 for a channel, in as many lines as it takes.
func (h *Hall) sendNames(s *session, c *channel) {
	symbol := "="
	if c.is(modeSecret) {
		symbol = "@"
	}
	mine := s.user.in(c)
	all := mine != nil && mine.rank >= HalfOp || s.user.may(h, RightSee)
	room := 510 - len(":"+h.config.Name+" 353 "+s.name()+" = "+c.name+" :")
	names := make([]byte, 0, room)
	for _, m := range c.members {
		u := m.user
		if !all && (m.hidden() || mine == nil && u.is(modeInvisible)) {
			continue
		}
		name := u.nick()
		if s.has(CapUserhostInNames) {
			name = u.source
		}
		prefix := m.rank.prefixes(s.has(CapMultiPrefix))
		if len(names) > 0 && len(names)+1+len(prefix)+len(name) > room {
			h.reply(s, nNamReply, symbol, c.name, string(names))
			names = names[:0]
			if h.full(s, "NAMES") {
				return
			}
		}
		if len(names) > 0 {
			names = append(names, ' ')
		}
		names = append(append(names, prefix...), name...)
	}
	if len(names) > 0 {
		h.reply(s, nNamReply, symbol, c.name, string(names))
	}
}

// A condition is what LIST asks of a channel.
type condition func(*channel) bool

func (h *Hall) list(s *session, params []string, _ *ircmsg.Message) {
	var names []string
	var conditions []condition
	for word := range strings.SplitSeq(param(params, 0), ",") {
		switch c := h.listCondition(word); {
		case word == "":
		case c != nil:
			conditions = append(conditions, c)
		default:
			names = append(names, word)
		}
	}
	h.reply(s, nListStart, "Channel", "Users  Name")
	if len(names) > 0 && !slices.ContainsFunc(names, hasWildcard) {
		for _, name := range names {
			if c := h.findChannel(name); c != nil {
				h.listOne(s, c, conditions)
			}
		}
		names = nil
	} else {
		h.listAll(s, names, conditions)
	}
	h.reply(s, nListEnd, "End of /LIST")
}

func hasWildcard(mask string) bool { return strings.ContainsAny(mask, "*?") }

func (h *Hall) listAll(s *session, masks []string, conditions []condition) {
	for _, c := range h.slots {
		if h.full(s, "LIST") {
			return
		}
		if c == nil {
			continue
		}
		if len(masks) > 0 && !slices.ContainsFunc(masks, func(mask string) bool { return matches(mask, c.name) }) {
			continue
		}
		h.listOne(s, c, conditions)
	}
}

func (h *Hall) listOne(s *session, c *channel, conditions []condition) {
	if !h.knows(s.user, c) {
		return
	}
	for _, holds := range conditions {
		if !holds(c) {
			return
		}
	}
	h.reply(s, nList, c.name, strconv.Itoa(len(c.members)), c.topic)
}

// listCondition reads a condition of ELIST: users ("<n", ">n"), creation ("C<n", in
// minutes), topic ("T>n") or a mask that is not to match ("!mask"). It returns nil for
// anything else.
func (h *Hall) listCondition(word string) condition {
	if mask, ok := strings.CutPrefix(word, "!"); ok {
		return func(c *channel) bool { return !matches(mask, c.name) }
	}
	kind, rest := byte('U'), word
	if len(word) > 2 && (word[0] == 'C' || word[0] == 'c' || word[0] == 'T' || word[0] == 't') {
		kind, rest = word[0]&^0x20, word[1:]
	}
	if len(rest) < 2 || rest[0] != '<' && rest[0] != '>' {
		return nil
	}
	limit, err := strconv.ParseInt(rest[1:], 10, 32)
	if err != nil {
		return nil
	}
	less := rest[0] == '<'
	now := h.seconds()
	switch kind {
	case 'C':
		return func(c *channel) bool { return ago(now, c.created, limit, less) }
	case 'T':
		return func(c *channel) bool { return c.topicAt > 0 && ago(now, c.topicAt, limit, less) }
	}
	return func(c *channel) bool {
		if less {
			return int64(len(c.members)) < limit
		}
		return int64(len(c.members)) > limit
	}
}

// ago says whether something was less, or more, than some minutes ago.
func ago(now, then, minutes int64, less bool) bool {
	if less {
		return now-then < minutes*60
	}
	return now-then > minutes*60
}
