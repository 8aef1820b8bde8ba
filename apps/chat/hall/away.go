package hall

import (
	"strings"

	"github.com/epinet/epi/apps/chat/ircmsg"
)

// awayCommand says that a user is not there, or there again. "*" is an absence without
// a reason (draft/pre-away).
func (h *Hall) awayCommand(s *session, params []string, _ *ircmsg.Message) {
	text := strings.Clone(ircmsg.Truncate(param(params, 0), h.config.Away))
	if r := s.registering(); r != nil {
		if !s.has(CapPreAway) {
			h.reply(s, nNotRegistered, "You have not registered")
			return
		}
		r.away = text
		h.confirmAway(s, text)
		return
	}
	h.setAway(s.user, text)
	h.confirmAway(s, text)
}

func (h *Hall) confirmAway(s *session, text string) {
	if text == "" {
		h.reply(s, nUnAway, "You are no longer marked as being away")
		return
	}
	h.reply(s, nNowAway, "You have been marked as being away")
}

// setAway changes a user's absence and notifies those who want to know.
func (h *Hall) setAway(u *user, text string) {
	if u.away() == text {
		return
	}
	u.extra().away = text
	h.touchUser(u)
	m := ircmsg.Message{Command: "AWAY"}
	if text != "" {
		m.Params, m.Text = []string{text}, true
	}
	item := h.toNeighbours(u, h.extendedWatchers(u), h.fromUser(u, m))
	item.Need = CapAwayNotify
	h.deliver(false, item)
}

// updateAway ends an absence without a reason when somebody is there who has not said
// that they are away.
func (h *Hall) updateAway(u *user) {
	if u.away() == "*" {
		h.setAway(u, "")
	}
}

func (h *Hall) setname(s *session, params []string, _ *ircmsg.Message) {
	name := params[0]
	if name == "" || len(name) > h.config.RealName {
		h.fail(s, "SETNAME", "INVALID_REALNAME", "Realname is not valid")
		return
	}
	u := s.user
	u.realname = strings.Clone(name)
	h.touchUser(u)
	u.rejudge()
	item := h.toNeighboursAndSelf(u, h.extendedWatchers(u), h.fromUser(u, ircmsg.Message{Command: "SETNAME", Params: []string{name}, Text: true}))
	item.Need = CapSetname
	h.deliver(true, item)
}

// setHost gives a user another name or host, and shows it to those who see them.
func (h *Hall) setHost(u *user, name, host string) {
	if u.name() == name && u.host() == host {
		return
	}
	item := h.toNeighboursAndSelf(u, h.extendedWatchers(u), h.fromUser(u, ircmsg.Message{Command: "CHGHOST", Params: []string{name, host}}))
	item.Need = CapChghost
	quit := h.toNeighbours(u, nil, h.fromUser(u, ircmsg.Message{Command: "QUIT", Params: []string{"Changing host"}, Text: true}))
	quit.Unless = CapChghost
	h.deliver(h.turnOf(u), item)
	h.deliver(false, quit)
	u.identify(u.nick(), name, host)
	h.touchUser(u)
	for _, m := range u.channels {
		back := newItem(h.joinLine(u, m.channel))
		back.to(m.seenBy())
		back.Except, back.Unless = sessionsOf(u, nil), CapChghost
		if m.rank != 0 {
			back.Lines = lines(append(back.Lines, h.fromServer("MODE", rankParams(m.channel, u, m.rank)...))...)
		}
		h.deliver(false, back)
	}
	h.writeUser(u, nVisibleHost, u.nick(), host, "is now your displayed host")
}

// rankParams returns the MODE that gives a user a rank in a channel.
func rankParams(c *channel, u *user, rank Rank) []string {
	params := []string{c.name, "+" + rank.String()}
	for range rank.String() {
		params = append(params, u.nick())
	}
	return params
}
