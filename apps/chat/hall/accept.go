package hall

import (
	"slices"
	"strings"

	"github.com/epinet/epi/apps/chat/ircmsg"
)

// accept changes or shows the list of those whose messages the modes R and g let
// through.
func (h *Hall) accept(s *session, params []string, _ *ircmsg.Message) {
	for word := range strings.SplitSeq(params[0], ",") {
		switch {
		case word == "":
		case word == "*":
			h.showAccepts(s)
		case word[0] == '-':
			h.unaccept(s, word[1:])
		default:
			h.acceptNick(s, strings.TrimPrefix(word, "+"))
		}
	}
}

func (h *Hall) showAccepts(s *session) {
	for _, u := range h.accepted(s.user) {
		h.reply(s, nAcceptList, u.nick())
	}
	h.reply(s, nEndOfAccept, "End of /ACCEPT list")
}

func (h *Hall) acceptNick(s *session, nick string) {
	u := h.find(nick)
	switch {
	case u == nil:
		h.reply(s, nNoSuchNick, printable(nick), "No such nick")
	case s.user.acceptsFrom(u):
		h.reply(s, nAcceptExist, u.nick(), "is already on your accept list")
	case len(h.accepted(s.user)) >= h.config.Accept:
		h.reply(s, nAcceptFull, "Accept list is full")
	default:
		s.user.extra().accepts = append(s.user.extra().accepts, u)
	}
}

func (h *Hall) unaccept(s *session, nick string) {
	u := h.find(nick)
	if u == nil || !s.user.acceptsFrom(u) {
		h.reply(s, nAcceptNot, printable(nick), "is not on your accept list")
		return
	}
	s.user.more.accepts = without(s.user.more.accepts, u)
}

// accepted returns the list without those who have left.
func (h *Hall) accepted(u *user) []*user {
	if u.more == nil {
		return nil
	}
	u.more.accepts = slices.DeleteFunc(u.more.accepts, func(other *user) bool { return h.users[h.nickKey(other.nick())] != other })
	return u.more.accepts
}

func (u *user) acceptsFrom(other *user) bool {
	return u.more != nil && slices.Contains(u.more.accepts, other)
}

// acceptReplies lets through the answers of somebody whom a user with such a mode
// writes to.
func (h *Hall) acceptReplies(u, to *user) {
	if u.modes&(modeRegistered|modeCallerID) == 0 || u.acceptsFrom(to) || len(h.accepted(u)) >= h.config.Accept {
		return
	}
	u.extra().accepts = append(u.extra().accepts, to)
}
