package hall

import (
	"strconv"
	"strings"

	"github.com/epinet/epi/apps/chat/ircmsg"
)

// A query is a WHO.
type query struct {
	session *session
	fields  string // of WHOX; "" is plain WHO
	token   string
	opers   bool // only operators
}

func (h *Hall) who(s *session, params []string, _ *ircmsg.Message) {
	mask := param(params, 0)
	q := &query{session: s}
	if flags := param(params, 1); flags != "" {
		var fields string
		var extended bool
		flags, fields, extended = strings.Cut(flags, "%")
		if extended {
			q.fields, q.token, _ = strings.Cut(fields, ",")
		}
		q.opers = strings.Contains(flags, "o")
	}
	h.whoMask(q, mask)
	h.reply(s, nEndOfWho, printable(mask), "End of WHO list")
}

func (h *Hall) whoMask(q *query, mask string) {
	if isChannelName(mask) {
		h.whoChannel(q, mask)
		return
	}
	if u := h.find(mask); u != nil {
		h.whoUser(q, u, nil)
		return
	}
	if mask != "" && mask != "0" && !hasWildcard(mask) {
		return
	}
	for _, u := range h.everyone {
		if h.full(q.session, "WHO") {
			return
		}
		if h.visible(q.session.user, u) && (mask == "" || mask == "0" || whoMatches(mask, u)) {
			h.whoUser(q, u, nil)
		}
	}
}

func whoMatches(mask string, u *user) bool {
	return matches(mask, u.nick()) || matches(mask, u.name()) || matches(mask, u.host()) || matches(mask, u.source)
}

// visible says whether somebody meets a user in answers to masks: with the mode i, only
// those do who share a channel with them.
func (h *Hall) visible(to, u *user) bool {
	return !u.is(modeInvisible) || to.may(h, RightSee) || to.shares(u)
}

func (h *Hall) whoChannel(q *query, name string) {
	c := h.findChannel(name)
	if c == nil || !h.knows(q.session.user, c) {
		return
	}
	for _, m := range c.members {
		if h.full(q.session, "WHO") {
			return
		}
		if h.sees(q.session.user, m) && h.visible(q.session.user, m.user) {
			h.whoUser(q, m.user, m)
		}
	}
}

// whoUser sends the line for a user, as the member of a channel if m is not nil.
func (h *Hall) whoUser(q *query, u *user, m *member) {
	if q.opers && !u.is(modeOperator) {
		return
	}
	channel := "*"
	flags := h.whoFlags(q.session, u, m)
	if m != nil {
		channel = m.channel.name
	}
	if q.fields != "" {
		h.whox(q, u, channel, flags)
		return
	}
	h.reply(q.session, nWhoReply, channel, u.name(), u.host(), h.config.Name, u.nick(), flags, "0 "+u.realname)
}

// whoFlags returns presence, operator, rank and bot, as 352 has them.
func (h *Hall) whoFlags(s *session, u *user, m *member) string {
	flags := "H"
	if u.away() != "" {
		flags = "G"
	}
	if u.is(modeOperator) {
		flags += "*"
	}
	if m != nil {
		flags += m.rank.prefixes(s.has(CapMultiPrefix))
	}
	if u.is(modeBot) {
		flags += "B"
	}
	return flags
}

// whoxFields are the fields of WHOX in the order in which they are sent.
const whoxFields = "tcuihsnfdlaor"

func (h *Hall) whox(q *query, u *user, channel, flags string) {
	var params []string
	for i := range len(whoxFields) {
		if strings.IndexByte(q.fields, whoxFields[i]) < 0 {
			continue
		}
		if field := h.whoxField(q, whoxFields[i], u, channel, flags); field != "" {
			params = append(params, field)
		}
	}
	h.reply(q.session, nWhoSpcRpl, params...)
}

func (h *Hall) whoxField(q *query, field byte, u *user, channel, flags string) string {
	switch field {
	case 't':
		return tokenOf(q.token)
	case 'c':
		return channel
	case 'u':
		return u.name()
	case 'i':
		if h.mayKnowAddress(q.session.user, u) && u.home.Address != "" {
			return onWire(u.home.Address)
		}
		return "255.255.255.255"
	case 'h':
		return u.host()
	case 's':
		return h.config.Name
	case 'n':
		return u.nick()
	case 'f':
		return flags
	case 'd':
		return "0"
	case 'l':
		return strconv.FormatInt(h.idle(u), 10)
	case 'a':
		if u.account == "" {
			return "0"
		}
		return u.account
	case 'o':
		return "n/a"
	}
	return u.realname
}

// tokenOf returns the token of WHOX: up to three digits, or 0.
func tokenOf(token string) string {
	if token == "" || len(token) > 3 || strings.Trim(token, "0123456789") != "" {
		return "0"
	}
	return token
}

// idle returns for how many seconds a user has said nothing.
func (h *Hall) idle(u *user) int64 { return max(0, h.seconds()-int64(u.active)) }

// onWire returns an address as it can be a parameter: one of IPv6 that begins with a
// colon gets a 0 before it.
func onWire(address string) string {
	if strings.HasPrefix(address, ":") {
		return "0" + address
	}
	return address
}

func (h *Hall) mayKnowAddress(to, u *user) bool { return to == u || to.may(h, RightSee) }

func (h *Hall) whois(s *session, params []string, _ *ircmsg.Message) {
	nick := param(params, 0)
	if len(params) > 1 {
		if server := params[0]; !h.isServer(server) && h.find(server) == nil {
			h.reply(s, nNoSuchServer, printable(server), "No such server")
			return
		}
		nick = params[1]
	}
	nick, _, _ = strings.Cut(nick, ",")
	if nick == "" {
		h.reply(s, nNoNicknameGiven, "No nickname given")
		return
	}
	if u := h.find(nick); u != nil {
		h.whoisUser(s, u)
	} else {
		h.reply(s, nNoSuchNick, printable(nick), "No such nick")
	}
	h.reply(s, nEndOfWhois, printable(nick), "End of /WHOIS list")
}

// isServer says whether a target is this server.
func (h *Hall) isServer(name string) bool { return matches(name, h.config.Name) }

func (h *Hall) whoisUser(s *session, u *user) {
	full := h.mayKnowAddress(s.user, u)
	h.reply(s, nWhoisUser, u.nick(), u.name(), u.host(), "*", u.realname)
	h.whoisChannels(s, u)
	h.reply(s, nWhoisServer, u.nick(), h.config.Name, h.config.Description)
	if u.is(modeOperator) {
		title := h.config.Operators[u.more.operator].Title
		if title == "" {
			title = "is an IRC operator"
		}
		h.reply(s, nWhoisOperator, u.nick(), title)
	}
	if away := u.away(); away != "" {
		h.reply(s, nAway, u.nick(), away)
	}
	if full {
		h.reply(s, nWhoisActually, u.nick(), u.name()+"@"+u.home.Host, orStar(onWire(u.home.Address)), "Actual user@host, Actual IP")
		h.reply(s, nWhoisModes, u.nick(), "is using modes "+u.modes.String())
	}
	if u.is(modeSecure) {
		h.reply(s, nWhoisSecure, u.nick(), "is using a secure connection")
	}
	if full && u.home.Fingerprint != "" {
		h.reply(s, nWhoisCertFP, u.nick(), "has client certificate fingerprint "+u.home.Fingerprint)
	}
	if u.account != "" {
		h.reply(s, nWhoisAccount, u.nick(), u.account, "is logged in as")
	}
	if u.is(modeBot) {
		h.reply(s, nWhoisBot, u.nick(), "is a bot on "+h.config.Network)
	}
	h.whoisMetadata(s, u)
	h.reply(s, nWhoisIdle, u.nick(), strconv.FormatInt(h.idle(u), 10), strconv.FormatInt(int64(u.signon), 10), "seconds idle, signon time")
}

// whoisChannels sends the channels of a user that the asker may know of.
func (h *Hall) whoisChannels(s *session, u *user) {
	room := 510 - len(":"+h.config.Name+" 319 "+s.name()+" "+u.nick()+" :")
	line := ""
	for _, m := range u.channels {
		if !h.sees(s.user, m) || u.is(modeInvisible) && !h.mayKnowAddress(s.user, u) && s.user.in(m.channel) == nil {
			continue
		}
		word := m.rank.prefixes(s.has(CapMultiPrefix)) + m.channel.name
		if line != "" && len(line)+1+len(word) > room {
			h.reply(s, nWhoisChannels, u.nick(), line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	if line != "" {
		h.reply(s, nWhoisChannels, u.nick(), line)
	}
}

// A formerUser is what WHOWAS knows.
type formerUser struct {
	nick, name, host, realname string
	address                    string
	left                       int64 // seconds
}

// remember keeps what WHOWAS is to know of a user that leaves or changes the nick.
func (h *Hall) remember(u *user) {
	if len(h.whowas) >= h.config.WhoWas {
		h.whowas = h.whowas[len(h.whowas)-h.config.WhoWas+1:]
	}
	h.whowas = append(h.whowas, &formerUser{
		nick: u.nick(), name: u.name(), host: u.host(), realname: u.realname, address: u.home.Address, left: h.seconds(),
	})
}

func (h *Hall) whowasCommand(s *session, params []string, _ *ircmsg.Message) {
	nick := param(params, 0)
	if nick == "" {
		h.reply(s, nNoNicknameGiven, "No nickname given")
		return
	}
	most, _ := strconv.Atoi(param(params, 1))
	found := 0
	for i := len(h.whowas) - 1; i >= 0 && (most <= 0 || found < most); i-- {
		f := h.whowas[i]
		if !sameName(f.nick, nick) {
			continue
		}
		found++
		h.reply(s, nWhoWasUser, f.nick, f.name, f.host, "*", f.realname)
		if s.user.may(h, RightSee) && f.address != "" {
			h.reply(s, nWhoisActually, f.nick, onWire(f.address), "Actual IP")
		}
		h.reply(s, nWhoisServer, f.nick, h.config.Name, rfcTime(f.left))
	}
	if found == 0 {
		h.reply(s, nWasNoSuchNick, printable(nick), "There was no such nickname")
	}
	h.reply(s, nEndOfWhoWas, printable(nick), "End of WHOWAS")
}

func (h *Hall) userhost(s *session, params []string, _ *ircmsg.Message) {
	var words []string
	for _, nick := range params[:min(len(params), maxUserhost)] {
		u := h.find(nick)
		if u == nil {
			continue
		}
		word := u.nick()
		if u.is(modeOperator) {
			word += "*"
		}
		presence := "=+"
		if u.away() != "" {
			presence = "=-"
		}
		words = append(words, word+presence+u.name()+"@"+u.host())
	}
	h.reply(s, nUserHost, strings.Join(words, " "))
}

// maxUserhost is the most nicks of one USERHOST (RFC 2812, 4.8).
const maxUserhost = 5

func (h *Hall) ison(s *session, params []string, _ *ircmsg.Message) {
	var there []string
	for _, param := range params {
		for nick := range strings.FieldsSeq(param) {
			if u := h.find(nick); u != nil {
				there = append(there, u.nick())
			}
		}
	}
	h.reply(s, nIsOn, strings.Join(there, " "))
}
