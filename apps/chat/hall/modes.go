package hall

import (
	"strconv"
	"strings"

	"github.com/epinet/epi/apps/chat/ircmsg"
)

func (h *Hall) mode(s *session, params []string, _ *ircmsg.Message) {
	if isChannelName(params[0]) {
		h.channelMode(s, params[0], params[1:])
		return
	}
	h.userMode(s, params[0], params[1:])
}

// A change is one mode that was changed, as MODE writes it.
type change struct {
	add    bool
	letter byte
	param  string
}

// changing reads and makes the changes of one MODE.
type changing struct {
	hall    *Hall
	session *session
	channel *channel
	rank    Rank // of who changes; all bits for the server
	params  []string
	with    int // changes that had a parameter
	made    []change
	refused bool // 482 was sent
	asked   string
}

func (h *Hall) channelMode(s *session, name string, params []string) {
	c := h.findChannel(name)
	if c == nil {
		h.reply(s, nNoSuchChannel, printable(name), "No such channel")
		return
	}
	m := s.user.in(c)
	if len(params) == 0 {
		if !h.knows(s.user, c) {
			h.reply(s, nNotOnChannel, c.name, "You're not on that channel")
			return
		}
		h.reply(s, nChannelModeIs, append([]string{c.name}, c.modeString(m != nil)...)...)
		h.reply(s, nChannelCreated, c.name, strconv.FormatInt(c.created, 10))
		return
	}
	x := &changing{hall: h, session: s, channel: c, params: params[1:]}
	if m != nil {
		x.rank = m.rank | c.registered.grants(s.account())
	}
	x.apply(params[0], m != nil || h.knows(s.user, c))
	x.announce(s.user.source, s.user)
}

// apply reads the letters and makes each change. Without mayAsk, lists are not shown.
func (x *changing) apply(letters string, mayAsk bool) {
	add := true
	for i := range len(letters) {
		switch letter := letters[i]; letter {
		case '+', '-':
			add = letter == '+'
		default:
			x.one(add, letter, mayAsk)
		}
	}
}

func (x *changing) one(add bool, letter byte, mayAsk bool) {
	switch {
	case strings.IndexByte(listModes, letter) >= 0:
		x.list(add, letter, mayAsk)
	case rankOf(rankModes, letter) != 0:
		x.status(add, letter)
	case letter == 'k':
		x.key(add)
	case letter == 'l':
		x.limit(add)
	case letter == 'f':
		x.forward(add)
	case strings.IndexByte(x.hall.flags(), letter) >= 0:
		x.flag(add, letter)
	default:
		x.hall.reply(x.session, nUnknownMode, printable(string(rune(letter))), "is unknown mode char to me")
	}
}

// next takes the next parameter, "" and false if there is none or there were too many.
func (x *changing) next() (string, bool) {
	if len(x.params) == 0 {
		return "", false
	}
	p := x.params[0]
	x.params = x.params[1:]
	x.with++
	return p, x.with <= x.hall.config.Modes
}

// may says whether who changes has a rank, and replies once if not.
func (x *changing) may(rank Rank) bool {
	if x.rank >= rank {
		return true
	}
	if !x.refused {
		x.refused = true
		text := "You're not a channel operator"
		if x.rank >= HalfOp {
			text = "You need a higher rank for that"
		}
		x.hall.reply(x.session, nChanOPrivsNeeded, x.channel.name, text)
	}
	return false
}

func (x *changing) did(add bool, letter byte, param string) {
	x.made = append(x.made, change{add: add, letter: letter, param: param})
	if rankOf(rankModes, letter) == 0 { // those are kept by account: see registered
		x.hall.touchChannel(x.channel)
	}
}

func (x *changing) flag(add bool, letter byte) {
	if !x.may(HalfOp) || x.channel.is(flagOf(letter)) == add {
		return
	}
	x.channel.modes ^= flagOf(letter)
	x.did(add, letter, "")
}

func (x *changing) invalid(letter byte, param, why string) {
	x.hall.reply(x.session, nInvalidModeParam, x.channel.name, string(rune(letter)), printable(param), why)
}

func (x *changing) key(add bool) {
	key, ok := x.next()
	c := x.channel
	if !x.may(HalfOp) {
		return
	}
	if !add {
		if c.password != "" {
			c.password = ""
			x.did(false, 'k', "*")
		}
		return
	}
	if !ok || !validKey(key) || len(key) > x.hall.config.Key {
		x.invalid('k', "*", "Invalid key")
		return
	}
	if c.password != key {
		c.password = strings.Clone(key)
		x.did(true, 'k', key)
	}
}

// validKey says whether a key can be a parameter of JOIN.
func validKey(key string) bool {
	for i := range len(key) {
		if key[i] <= ' ' || key[i] == ',' || key[i] == 0x7f {
			return false
		}
	}
	return key != "" && key[0] != ':'
}

func (x *changing) limit(add bool) {
	c := x.channel
	if !add {
		if x.may(HalfOp) && c.limit != 0 {
			c.limit = 0
			x.did(false, 'l', "")
		}
		return
	}
	text, ok := x.next()
	if !x.may(HalfOp) {
		return
	}
	limit, err := strconv.ParseInt(text, 10, 32)
	if !ok || err != nil || limit < 1 {
		x.invalid('l', text, "Invalid limit")
		return
	}
	if c.limit != int(limit) {
		c.limit = int(limit)
		x.did(true, 'l', strconv.Itoa(c.limit))
	}
}

// forward sets where those go who may not join; who sets it is an operator there, too.
func (x *changing) forward(add bool) {
	c := x.channel
	if !add {
		if x.may(HalfOp) && c.forward != "" {
			c.forward = ""
			x.did(false, 'f', "")
		}
		return
	}
	name, _ := x.next()
	if !x.may(HalfOp) {
		return
	}
	to := x.hall.findChannel(name)
	if to == nil || to == c {
		x.invalid('f', name, "No such channel to forward to")
		return
	}
	if x.session.user.rankIn(to) < Op {
		x.hall.reply(x.session, nChanOPrivsNeeded, to.name, "You're not a channel operator")
		return
	}
	if c.forward != to.name {
		c.forward = to.name
		x.did(true, 'f', to.name)
	}
}

// neededFor returns the rank that it takes to give or take one.
func neededFor(rank Rank) Rank {
	switch rank {
	case Voice:
		return HalfOp
	case HalfOp, Op:
		return Op
	}
	return Founder
}

func (x *changing) status(add bool, letter byte) {
	nick, ok := x.next()
	rank := rankOf(rankModes, letter)
	if !ok {
		return
	}
	u := x.hall.mentioned(nick)
	if u == nil {
		x.hall.reply(x.session, nNoSuchNick, printable(nick), "No such nick")
		return
	}
	own := !add && u == x.session.user
	if !own && !x.may(neededFor(rank)) {
		return
	}
	m := u.in(x.channel)
	if m == nil {
		x.hall.reply(x.session, nUserNotInChannel, u.nick(), x.channel.name, "They aren't on that channel")
		return
	}
	if (m.rank&rank != 0) == add {
		return
	}
	x.hall.setRank(m, m.rank^rank)
	x.did(add, letter, u.nick())
}

func (x *changing) list(add bool, letter byte, mayAsk bool) {
	mask, ok := x.next()
	if mask == "" {
		if mayAsk && strings.IndexByte(x.asked, letter) < 0 {
			x.asked += string(rune(letter))
			x.showList(letter)
		}
		return
	}
	if !ok || !x.may(HalfOp) {
		return
	}
	if !validMask(mask) {
		x.invalid(letter, mask, "Invalid mask")
		return
	}
	mask = fullMask(mask)
	list := x.listFor(letter)
	at := findListed(*list, mask)
	if !add {
		if at >= 0 {
			mask = (*list)[at].mask
			*list = append((*list)[:at], (*list)[at+1:]...)
			x.channel.judgement++
			x.did(false, letter, mask)
		}
		return
	}
	if at >= 0 {
		return
	}
	if len(*list) >= x.hall.config.List {
		x.hall.reply(x.session, nBanListFull, x.channel.name, string(rune(letter)), "Channel list is full")
		return
	}
	by := x.hall.config.Name
	if x.session.user != nil {
		by = x.session.user.source
	}
	*list = append(*list, listed{mask: strings.Clone(mask), by: by, at: x.hall.seconds()})
	x.channel.judgement++
	x.did(true, letter, mask)
}

// maxMask is the most bytes of a mask, so that it fits into a line with others.
const maxMask = 200

// validMask says whether a mask can be a parameter in the middle of a line.
func validMask(mask string) bool {
	return !strings.Contains(mask, " ") && len(mask) <= maxMask && mask[0] != ':'
}

func (x *changing) listFor(letter byte) *[]listed {
	switch letter {
	case 'b':
		return &x.channel.bans
	case 'e':
		return &x.channel.excepts
	}
	return &x.channel.invexes
}

// showList sends a list. Exceptions are for operators.
func (x *changing) showList(letter byte) {
	entry, end, text := nBanList, nEndOfBanList, "End of channel ban list"
	switch letter {
	case 'e':
		entry, end, text = nExceptList, nEndOfExceptList, "End of channel exception list"
	case 'I':
		entry, end, text = nInvexList, nEndOfInvexList, "End of channel invite exception list"
	}
	if letter != 'b' && !x.may(HalfOp) {
		return
	}
	for _, l := range *x.listFor(letter) {
		x.hall.reply(x.session, entry, x.channel.name, l.mask, l.by, strconv.FormatInt(l.at, 10))
	}
	x.hall.reply(x.session, end, x.channel.name, text)
}

// modeLine is how much of the changes goes into one MODE.
const modeLine = 300

// announce shows the channel what has changed, in as many lines as it takes. by is nil for
// the server.
func (x *changing) announce(source string, by *user) {
	h := x.hall
	for len(x.made) > 0 {
		n, with, size := 0, 0, 0
		for n < len(x.made) && with < h.config.Modes && (n == 0 || size+len(x.made[n].param) <= modeLine) {
			if x.made[n].param != "" {
				with++
			}
			size += len(x.made[n].param) + 3
			n++
		}
		m := ircmsg.Message{Source: source, Command: "MODE", Params: append([]string{x.channel.name}, modeParams(x.made[:n])...)}
		tags := h.tags(by, MsgID(h.nextID()))
		h.recordModes(x, &m)
		h.deliver(x.session.user.in(x.channel) != nil, toChannel(x.channel, h.line(tags, ircmsg.Body{Message: m})))
		x.made = x.made[n:]
	}
}

// modeParams writes changes: the letters with their signs, then the parameters.
func modeParams(changes []change) []string {
	letters := make([]byte, 0, 2*len(changes))
	params := []string{""}
	for i, c := range changes {
		if i == 0 || changes[i-1].add != c.add {
			letters = append(letters, plusOrMinus(c.add))
		}
		letters = append(letters, c.letter)
		if c.param != "" {
			params = append(params, c.param)
		}
	}
	params[0] = string(letters)
	return params
}

func plusOrMinus(add bool) byte {
	if add {
		return '+'
	}
	return '-'
}

func userModeOf(letter byte) userModes {
	i := strings.IndexByte(userModeLetters, letter)
	if i < 0 {
		return 0
	}
	return 1 << i
}

func (h *Hall) userMode(s *session, nick string, params []string) {
	u := h.find(nick)
	switch {
	case u == nil:
		h.reply(s, nNoSuchNick, printable(nick), "No such nick")
		return
	case u != s.user:
		h.reply(s, nUsersDontMatch, "Can't change mode for other users")
		return
	case len(params) == 0:
		h.reply(s, nUModeIs, u.modes.String())
		return
	}
	var made []change
	add, unknown := true, false
	for i := range len(params[0]) {
		switch letter := params[0][i]; {
		case letter == '+' || letter == '-':
			add = letter == '+'
		case userModeOf(letter) == 0:
			unknown = true
		case h.changeUserMode(u, add, userModeOf(letter)):
			made = append(made, change{add: add, letter: letter})
		}
	}
	if unknown {
		h.reply(s, nUModeUnknown, "Unknown MODE flag")
	}
	h.announceUserModes(u, made)
}

// changeUserMode changes a mode of a user if they may, and says whether it was changed.
func (h *Hall) changeUserMode(u *user, add bool, mode userModes) bool {
	if u.is(mode) == add || mode == modeSecure || mode == modeOperator && add {
		return false
	}
	u.modes ^= mode
	h.touchUser(u)
	switch mode {
	case modeInvisible:
		h.hidden--
		if add {
			h.hidden += 2
		}
	case modeOperator:
		h.opers--
		u.more.operator = ""
	}
	return true
}

// setSecure says whether all sessions of a user are encrypted.
func (h *Hall) setSecure(u *user, secure bool) {
	if u.is(modeSecure) != secure {
		u.modes ^= modeSecure
		h.noteUser(u)
		h.announceUserModes(u, []change{{add: secure, letter: 'Z'}})
	}
}

func (h *Hall) announceUserModes(u *user, made []change) {
	if len(made) == 0 {
		return
	}
	params := append([]string{u.nick()}, modeParams(made)...)
	h.deliver(h.turnOf(u), toUsers([]*user{u}, h.fromUser(u, ircmsg.Message{Command: "MODE", Params: params})))
}
