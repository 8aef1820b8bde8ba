package hall

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/epinet/epi/apps/chat/ircmsg"
)

func (h *Hall) oper(s *session, params []string, _ *ircmsg.Message) {
	name := strings.Clone(params[0])
	h.begin(s, Work{Kind: CheckOperator, Account: name, Password: params[1], Fingerprint: s.origin.Fingerprint}, func(r *Result) {
		if _, known := h.config.Operators[name]; !r.OK || !known {
			h.reply(s, nPasswdMismatch, "Password incorrect")
			return
		}
		h.makeOperator(s.user, name)
		h.logDeed(s.user, "OPER", []string{s.user.source})
		h.reply(s, nYoureOper, "You are now an IRC operator")
	})
}

func (h *Hall) makeOperator(u *user, name string) {
	u.extra().operator = name
	h.noteUser(u)
	if u.is(modeOperator) {
		return
	}
	u.modes |= modeOperator
	h.opers++
	h.announceUserModes(u, []change{{add: true, letter: 'o'}})
}

func (h *Hall) kill(s *session, params []string, _ *ircmsg.Message) {
	u := h.mentioned(params[0])
	if u == nil {
		h.reply(s, nNoSuchNick, printable(params[0]), "No such nick")
		return
	}
	reason := ircmsg.Truncate(param(params, 1), h.config.Kick)
	if reason == "" {
		reason = "<no reason supplied>"
	}
	h.expel(u, "Killed ("+s.user.nick()+" ("+reason+"))", ircmsg.Message{Source: s.user.source, Command: "KILL", Params: []string{u.nick(), reason}, Text: true})
}

// expel ends a user with all sessions, which read a message first.
func (h *Hall) expel(u *user, reason string, first ircmsg.Message) {
	h.removeUser(u, reason, func(own *session) {
		m := first
		h.write(own, "", &m)
		h.end(own, reason, "")
	})
}

func (h *Hall) wallops(s *session, params []string, _ *ircmsg.Message) {
	if params[0] == "" {
		h.reply(s, nNeedMoreParams, "WALLOPS", "Not enough parameters")
		return
	}
	var readers []*user
	for _, u := range h.everyone {
		if u.is(modeWallops) {
			readers = append(readers, u)
		}
	}
	line := h.fromUser(s.user, ircmsg.Message{Command: "WALLOPS", Params: []string{params[0]}, Text: true})
	h.deliver(s.user.is(modeWallops), toUsers(readers, line))
}

func (h *Hall) rehash(s *session, _ []string, _ *ircmsg.Message) {
	h.reply(s, nRehashing, "configuration", "Rehashing")
	h.begin(s, Work{Kind: Rehash}, func(r *Result) {
		if !r.OK {
			h.notice(s, "Rehash failed: "+r.Text)
		}
	})
}

func (h *Hall) die(s *session, _ []string, _ *ircmsg.Message) {
	h.lastWork++
	h.gate.Begin(&Work{Kind: Die, Session: s.id, Number: h.lastWork})
}

func (h *Hall) restart(s *session, _ []string, _ *ircmsg.Message) {
	h.lastWork++
	h.gate.Begin(&Work{Kind: Restart, Session: s.id, Number: h.lastWork})
}

// sajoin makes a user a member of a channel whatever its modes say.
func (h *Hall) sajoin(s *session, params []string, _ *ircmsg.Message) {
	u, name := s.user, params[0]
	if len(params) > 1 {
		u, name = h.mentioned(params[0]), params[1]
	}
	if u == nil {
		h.reply(s, nNoSuchNick, printable(params[0]), "No such nick")
		return
	}
	if c := h.enterable(s, u, name, "They have joined too many channels"); c != nil {
		h.admitTo(u, c, 0)
	}
}

// samode changes the modes of a channel as if by its founder.
func (h *Hall) samode(s *session, params []string, _ *ircmsg.Message) {
	c := h.findChannel(params[0])
	if c == nil {
		h.reply(s, nNoSuchChannel, printable(params[0]), "No such channel")
		return
	}
	x := &changing{hall: h, session: s, channel: c, params: params[2:], rank: Founder}
	x.apply(params[1], true)
	x.announce(h.config.Name, nil)
}

// chghost gives a user another name and host.
func (h *Hall) chghost(s *session, params []string, _ *ircmsg.Message) {
	u := h.mentioned(params[0])
	if u == nil {
		h.reply(s, nNoSuchNick, printable(params[0]), "No such nick")
		return
	}
	name, host := params[1], params[2]
	if name != h.userName(name) || !validHost(host) {
		h.fail(s, "CHGHOST", "INVALID_HOST", printable(name), printable(host), "That is not a valid name and host")
		return
	}
	h.setHost(u, name, host)
}

// validHost says whether something can stand behind the @.
func validHost(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return host[0] != ':'
	}
	return ircmsg.ValidHostname(host)
}

// A serverBan keeps people from the server: by a mask of nick!user@host (KLINE), or by
// address (DLINE).
type serverBan struct {
	mask   string
	prefix netip.Prefix // of a DLINE
	reason string
	by     string
	set    int64 // seconds
	ends   int64 // seconds, 0 is never
}

// noReason stands where nobody gave one.
const noReason = "No reason given"

func (b *serverBan) isAddress() bool { return b.prefix.IsValid() }

func (b *serverBan) coversEverybody() bool {
	return strings.Trim(b.mask, "*!@.?") == "" || b.isAddress() && b.prefix.Bits() == 0
}

func (b *serverBan) over(now int64) bool { return b.ends != 0 && b.ends <= now }

// covers says whether a ban is for somebody with a nick and a name who comes from
// somewhere.
func (b *serverBan) covers(nick, name string, o *Origin) bool {
	if b.isAddress() {
		ip, err := netip.ParseAddr(o.Address)
		return err == nil && b.prefix.Contains(ip.Unmap())
	}
	return matches(b.mask, nick+"!"+name+"@"+o.Host) || o.Address != "" && matches(b.mask, nick+"!"+name+"@"+o.Address)
}

// coversUser says whether a ban is for a user, wherever one of the sessions comes from.
func (b *serverBan) coversUser(u *user) bool {
	return b.covers(u.nick(), u.name(), u.home) ||
		slices.ContainsFunc(u.sessions, func(s *session) bool { return b.covers(u.nick(), u.name(), s.origin) })
}

// bannedOrigin returns the ban on somebody who wants to come in, or nil.
func (h *Hall) bannedOrigin(nick, name string, o *Origin) *serverBan {
	h.dropOldBans()
	for i := range h.bans {
		if h.bans[i].covers(nick, name, o) {
			return &h.bans[i]
		}
	}
	return nil
}

func (h *Hall) dropOldBans() {
	now := h.seconds()
	h.bans = slices.DeleteFunc(h.bans, func(b serverBan) bool {
		if b.over(now) && h.net == nil { // several nodes keep it: one of them may have set it anew
			h.gate.Keep(DropBan{b.mask})
		}
		return b.over(now)
	})
}

func (h *Hall) kline(s *session, params []string, _ *ircmsg.Message) { h.ban(s, "KLINE", params) }

func (h *Hall) dline(s *session, params []string, _ *ircmsg.Message) { h.ban(s, "DLINE", params) }

// ban sets a ban: [duration] mask [reason]. It ends the sessions that it covers.
func (h *Hall) ban(s *session, command string, params []string) {
	duration, timed := banDuration(params[0])
	if timed && len(params) > 1 {
		params = params[1:]
	} else {
		duration = 0
	}
	ban := serverBan{mask: strings.Clone(fullSource(params[0])), reason: strings.Join(params[1:], " "), by: s.user.nick(), set: h.seconds()}
	ban.reason = orWord(ban.reason, noReason)
	if duration > 0 {
		ban.ends = h.seconds() + duration
	}
	if command == "DLINE" {
		prefix, ok := addresses(params[0])
		if !ok {
			h.fail(s, command, "INVALID_MASK", printable(params[0]), "That is no address, and no range of addresses")
			return
		}
		ban.mask, ban.prefix = prefix.String(), prefix
	}
	if !validMask(ban.mask) {
		h.fail(s, command, "INVALID_MASK", printable(params[0]), "That is no mask")
		return
	}
	if ban.coversEverybody() {
		h.fail(s, command, "INVALID_MASK", printable(params[0]), "That would ban everybody")
		return
	}
	h.setBan(ban)
	h.notice(s, command+" set on "+ban.mask)
	h.enforce(&ban, func(u *user) bool { return u != s.user }) // who has set it stays
}

// enforce ends those of some users that a ban covers.
func (h *Hall) enforce(ban *serverBan, of func(*user) bool) {
	for _, u := range slices.Clone(h.everyone) {
		if !of(u) || !ban.coversUser(u) {
			continue
		}
		h.expel(u, "Banned: "+ban.reason, ircmsg.Message{
			Source: h.config.Name, Command: nYoureBanned, Params: []string{u.nick(), "You are banned from this server: " + ban.reason}, Text: true,
		})
	}
}

func addresses(text string) (netip.Prefix, bool) {
	if prefix, err := netip.ParsePrefix(text); err == nil {
		return prefix.Masked(), true
	}
	ip, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Prefix{}, false
	}
	ip = ip.Unmap()
	return netip.PrefixFrom(ip, ip.BitLen()), true
}

// banDuration reads how long a ban holds: minutes, or numbers with units as in 1d12h.
func banDuration(text string) (seconds int64, ok bool) {
	if minutes, err := strconv.ParseInt(text, 10, 32); err == nil && minutes >= 0 {
		return minutes * 60, true
	}
	units := map[byte]int64{'s': 1, 'm': 60, 'h': 3600, 'd': 86400, 'w': 7 * 86400, 'y': 365 * 86400}
	rest := text
	for rest != "" {
		end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
		if end < 1 {
			return 0, false
		}
		number, err := strconv.ParseInt(rest[:end], 10, 32)
		unit := units[rest[end]]
		if err != nil || unit == 0 {
			return 0, false
		}
		seconds += number * unit
		rest = rest[end+1:]
	}
	return seconds, text != ""
}

func (h *Hall) unban(s *session, params []string, m *ircmsg.Message) {
	mask := fullSource(params[0])
	if prefix, ok := addresses(params[0]); ok {
		mask = prefix.String()
	}
	command := strings.ToUpper(m.Command)
	if !h.dropBan(mask) {
		h.fail(s, command, "NO_SUCH_BAN", printable(params[0]), "There is no such ban")
		return
	}
	h.notice(s, command+" of "+mask)
}

// listBans sends the bans with who set them and how many seconds they still hold.
func (h *Hall) listBans(s *session, addresses bool) {
	h.dropOldBans()
	for _, b := range h.bans {
		if b.isAddress() != addresses {
			continue
		}
		letter := "K"
		if addresses {
			letter = "D"
		}
		left := "*"
		if b.ends != 0 {
			left = strconv.FormatInt(b.ends-h.seconds(), 10)
		}
		h.reply(s, nStatsKLine, letter, b.mask, b.by, left, b.reason)
	}
}

// logDeed has what an operator did kept.
func (h *Hall) logDeed(u *user, what string, params []string) {
	name := ""
	if u.more != nil {
		name = u.more.operator
	}
	detail := ""
	if len(params) > 1 {
		detail = strings.Join(params[1:], " ")
	}
	h.gate.Keep(KeepDeed{At: h.now, By: name, What: what, Target: strings.Clone(param(params, 0)), Detail: detail})
}
