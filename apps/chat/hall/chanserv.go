package hall

import (
	"strconv"
	"strings"
	"time"
)

func chanServ() *service {
	return &service{
		name: "ChanServ",
		help: []string{
			"REGISTER <#channel>: keep a channel whose operator you are",
			"UNREGISTER <#channel>: no longer keep it",
			"TRANSFER <#channel> <account>: give it to somebody else",
			"AMODE <#channel> [+|-<modes> <account>]: show or change who has a rank (q is the founder's) whenever they join",
			"INFO <#channel>: show who keeps it",
			"SET <#channel> HISTORY <days>: how long messages are kept, at most; 0 is as long as the server does",
			"OP, DEOP, HALFOP, DEHALFOP, VOICE, DEVOICE <#channel> [nick]: give or take a rank",
			"KICK <#channel> <nick> [reason], BAN, UNBAN <#channel> <mask>",
			"TOPIC <#channel> <text>: set the topic",
			"INVITE <nick> <#channel>: invite somebody",
			"For operators: LIST [mask]",
		},
		commands: map[string]func(*Hall, *session, []string, func(string)){
			"REGISTER":   csRegister,
			"UNREGISTER": csUnregister,
			"DROP":       csUnregister,
			"TRANSFER":   csTransfer,
			"AMODE":      csAMode,
			"INFO":       csInfo,
			"SET":        csSet,
			"LIST":       csList,
			"OP":         csRank("+o"),
			"DEOP":       csRank("-o"),
			"HALFOP":     csRank("+h"),
			"DEHALFOP":   csRank("-h"),
			"VOICE":      csRank("+v"),
			"DEVOICE":    csRank("-v"),
			"KICK":       csKick,
			"BAN":        csMask("+b"),
			"UNBAN":      csMask("-b"),
			"TOPIC":      csTopic,
			"INVITE":     csInvite,
		},
	}
}

// csRank is a command that gives or takes a rank. Who has a rank by their account has
// its rights here, whether they have it just now or not.
func csRank(letters string) func(*Hall, *session, []string, func(string)) {
	return func(h *Hall, s *session, params []string, answer func(string)) {
		if len(params) == 0 {
			answer("Syntax: <command> <#channel> [nick]")
			return
		}
		nick := s.user.nick()
		if len(params) > 1 {
			nick = params[1]
		}
		h.channelMode(s, params[0], []string{letters, nick})
	}
}

func csMask(letters string) func(*Hall, *session, []string, func(string)) {
	return func(h *Hall, s *session, params []string, answer func(string)) {
		if len(params) < 2 {
			answer("Syntax: <command> <#channel> <mask>")
			return
		}
		h.channelMode(s, params[0], []string{letters, params[1]})
	}
}

func csKick(h *Hall, s *session, params []string, answer func(string)) {
	if len(params) < 2 {
		answer("Syntax: KICK <#channel> <nick> [reason]")
		return
	}
	h.kick(s, []string{params[0], params[1], strings.Join(params[2:], " ")}, nil)
}

func csRegister(h *Hall, s *session, params []string, answer func(string)) {
	if len(params) == 0 {
		answer("Syntax: REGISTER <#channel>")
		return
	}
	if s.account() == "" {
		answer("You must be logged in to register a channel")
		return
	}
	m := h.operator(s, params[0], Op)
	switch {
	case m == nil:
		return
	case m.channel.registered != nil:
		answer(m.channel.name + " is registered already")
		return
	case h.channelsOf(s.account()) >= h.config.Registered:
		answer("You have registered too many channels")
		return
	}
	if h.net != nil {
		h.claimRegistration(s, m.channel, answer)
		return
	}
	h.registerChannel(m.channel, m.user.account)
	answer(m.channel.name + " is registered now")
}

// channelsOf returns how many channels an account has registered.
func (h *Hall) channelsOf(account string) (n int) {
	for _, c := range h.slots {
		if c != nil && c.registered != nil && sameName(c.registered.founder, account) {
			n++
		}
	}
	return n
}

// ownChannel returns a registered channel that a session may administer, or nil after an
// answer.
func (h *Hall) ownChannel(s *session, params []string, answer func(string)) *channel {
	c := h.findChannel(param(params, 0))
	switch {
	case c == nil || c.registered == nil:
		answer("No such channel is registered")
		return nil
	case c.registered.grants(s.account())&Founder == 0 && !s.user.may(h, RightSA):
		answer("Only the founder may do that")
		return nil
	}
	return c
}

func csUnregister(h *Hall, s *session, params []string, answer func(string)) {
	if c := h.ownChannel(s, params, answer); c != nil {
		h.unregister(c)
		answer(c.name + " is no longer registered")
	}
}

// maxKeepDays is a hundred years.
const maxKeepDays = 36_500

func csSet(h *Hall, s *session, params []string, answer func(string)) {
	days, err := strconv.Atoi(param(params, 2))
	if !strings.EqualFold(param(params, 1), "HISTORY") || err != nil || days < 0 || days > maxKeepDays {
		answer("Syntax: SET <#channel> HISTORY <days>")
		return
	}
	c := h.ownChannel(s, params, answer)
	if c == nil {
		return
	}
	c.registered.days = days
	h.touchChannel(c)
	if days == 0 {
		answer(c.name + " keeps messages as long as the server does")
		return
	}
	answer(c.name + " keeps messages for " + strconv.Itoa(days) + " days at most")
}

func csTransfer(h *Hall, s *session, params []string, answer func(string)) {
	if len(params) < 2 {
		answer("Syntax: TRANSFER <#channel> <account>")
		return
	}
	if h.ownChannel(s, params, answer) == nil {
		return
	}
	h.ask(s, Work{Kind: FindAccount, Account: params[1]}, answer, func(r *Result) {
		c := h.ownChannel(s, params, answer) // somebody may have been faster
		if c == nil {
			return
		}
		c.registered.founder = r.Account
		h.touchChannel(c)
		h.grantIn(c)
		answer(c.name + " belongs to " + r.Account + " now")
	})
}

// grantIn gives all members of a channel what their accounts have there.
func (h *Hall) grantIn(c *channel) {
	for _, m := range c.members {
		h.grant(m)
	}
}

func csAMode(h *Hall, s *session, params []string, answer func(string)) {
	c := h.ownChannel(s, params, answer)
	if c == nil {
		return
	}
	if len(params) == 1 {
		answer("~ " + c.registered.founder)
		for _, g := range c.registered.ranks {
			answer(g.Rank.prefixes(true) + " " + g.Account)
		}
		answer("End of the list")
		return
	}
	letters := params[1]
	if len(letters) < 2 || letters[0] != '+' && letters[0] != '-' || strings.Trim(letters[1:], "aohv") != "" || len(params) < 3 {
		answer("Syntax: AMODE <#channel> +|-<aohv> <account>")
		return
	}
	h.ask(s, Work{Kind: FindAccount, Account: params[2]}, answer, func(r *Result) {
		if c := h.ownChannel(s, params, answer); c != nil {
			h.changeGranted(c, letters, r.Account, answer)
		}
	})
}

// changeGranted changes the rank that an account has whenever it joins, and the rank
// that it has now.
func (h *Hall) changeGranted(c *channel, letters, account string, answer func(string)) {
	bits := ParseRank(letters[1:])
	has := Rank(0)
	if i := c.registered.find(account); i >= 0 {
		has = c.registered.ranks[i].Rank
	} else if len(c.registered.ranks) >= maxGranted {
		answer("Too many accounts have a rank here")
		return
	}
	if letters[0] == '+' {
		has |= bits
	} else {
		has &^= bits
	}
	c.registered.set(account, has)
	h.touchChannel(c)
	h.grantIn(c)
	answer(account + " has the modes +" + has.String() + " in " + c.name + " whenever they join")
}

func csInfo(h *Hall, s *session, params []string, answer func(string)) {
	c := h.findChannel(param(params, 0))
	if c == nil || c.registered == nil || !h.knows(s.user, c) {
		answer("No such channel is registered")
		return
	}
	answer("Channel: " + c.name)
	answer("Founder: " + c.registered.founder)
	answer("Created: " + time.Unix(c.created, 0).UTC().Format(time.RFC3339))
}

func csList(h *Hall, s *session, params []string, answer func(string)) {
	if !onlyOperators(h, s, answer) {
		return
	}
	mask := orStar(param(params, 0))
	for _, c := range h.slots {
		if c != nil && c.registered != nil && matches(mask, c.name) && !h.full(s, "CS") {
			answer(c.name + " " + c.registered.founder)
		}
	}
	answer("End of the list")
}

func csTopic(h *Hall, s *session, params []string, answer func(string)) {
	if len(params) < 2 {
		answer("Syntax: TOPIC <#channel> <text>")
		return
	}
	h.topic(s, []string{params[0], strings.Join(params[1:], " ")}, nil)
}

func csInvite(h *Hall, s *session, params []string, answer func(string)) {
	if len(params) < 2 {
		answer("Syntax: INVITE <nick> <#channel>")
		return
	}
	h.invite(s, params, nil)
}
