package hall

import (
	"slices"
	"strings"

	"github.com/epinet/epi/apps/chat/ircmsg"
)

// A user is what others see.
type user struct {
	source           string // nick!name@host; the ends of the first two parts are below
	nickEnd, nameEnd uint16
	modes            userModes
	place            uint32 // in Hall.everyone
	signon           uint32 // seconds since 1970
	active           uint32 // the same; the last message
	realname         string
	account          string  // "" is none
	home             *Origin // of the session that registered

	sessions []*session
	one      [1]*session // where sessions is while there is one, as most have
	channels []*member
	more     *more     // what few users have
	net      *presence // nil where the hall is alone
}

func (u *user) nick() string { return u.source[:u.nickEnd] }

func (u *user) name() string { return u.source[u.nickEnd+1 : u.nameEnd] }

// host returns the host as others see it.
func (u *user) host() string { return u.source[u.nameEnd+1:] }

// identify sets who a user is for others.
func (u *user) identify(nick, name, host string) {
	u.source = nick + "!" + name + "@" + host
	u.nickEnd = uint16(len(nick))
	u.nameEnd = u.nickEnd + 1 + uint16(len(name))
	u.rejudge()
}

// more is the state of a user that most do not have.
type more struct {
	away     string  // "" is present
	operator string  // the name of OPER
	accepts  []*user // of ACCEPT; some may have left
	invites  []*channel
	// stays: the user outlives its sessions.
	stays bool
	// alone: another session of the account is not this user.
	alone bool
	// notified is until when no message that g keeps from the user is announced again.
	notified int64
	// markers and metadata are those of a user without account.
	markers  markers
	metadata metadata
}

// userModes is a set of the modes of a user.
type userModes uint16

const (
	modeBot        userModes = 1 << iota // B
	modeCallerID                         // g
	modeInvisible                        // i
	modeOperator                         // o
	modeRegistered                       // R: messages from those without account are refused
	modeNoCTCP                           // T
	modeWallops                          // w
	modeSecure                           // Z: all sessions are encrypted; the server sets it
)

// userModeLetters are in the order in which they are shown, of the bits above.
const userModeLetters = "BgioRTwZ"

func (m userModes) String() string {
	out := []byte{'+'}
	for i := range len(userModeLetters) {
		if m&(1<<i) != 0 {
			out = append(out, userModeLetters[i])
		}
	}
	return string(out)
}

func (u *user) extra() *more {
	if u.more == nil {
		u.more = &more{}
	}
	return u.more
}

func (u *user) away() string {
	if u.more == nil {
		return ""
	}
	return u.more.away
}

func (u *user) is(mode userModes) bool { return u.modes&mode != 0 }

// may says whether a user is an operator with a right. One that the configuration no
// longer names has none.
func (u *user) may(h *Hall, right string) bool {
	if u == nil || !u.is(modeOperator) {
		return false
	}
	rights := h.config.Operators[u.more.operator].Rights
	return slices.Contains(rights, right) || slices.Contains(rights, RightAll)
}

// rejudge forgets what the lists of the channels said of the user.
func (u *user) rejudge() {
	for _, m := range u.channels {
		m.judged = 0
	}
}

// in returns the user's membership of a channel, or nil.
func (u *user) in(c *channel) *member {
	if u == nil {
		return nil
	}
	for _, m := range u.channels {
		if m.channel == c {
			return m
		}
	}
	return nil
}

// shares says whether two users have a channel in common.
func (u *user) shares(other *user) bool {
	if u == other {
		return true
	}
	for _, m := range u.channels {
		if other.in(m.channel) != nil {
			return true
		}
	}
	return false
}

// find returns the user with a nick, or nil.
func (h *Hall) find(nick string) *user {
	if nick == "" || len(nick) > h.config.Nick {
		return nil
	}
	return h.users[h.nickKey(nick)]
}

// enter makes a registered user of a session.
func (h *Hall) enter(u *user) {
	u.place = uint32(len(h.everyone))
	h.everyone = append(h.everyone, u)
	h.users[h.nickKey(u.nick())] = u
	h.enlist(u)
	h.most = max(h.most, len(h.everyone))
	if u.is(modeInvisible) {
		h.hidden++
	}
}

// usersOf returns the users of an account, at all nodes. The caller clones the list before it
// changes who has the account.
func (h *Hall) usersOf(account string) []*user {
	if account == "" {
		return nil
	}
	return h.named[fold(account)]
}

// enlist puts a user among those of its account, if it has one.
func (h *Hall) enlist(u *user) {
	if u.account != "" {
		h.named[fold(u.account)] = append(h.named[fold(u.account)], u)
	}
}

// delist takes a user off those of its account.
func (h *Hall) delist(u *user) {
	if u.account == "" {
		return
	}
	left := without(h.named[fold(u.account)], u)
	if len(left) == 0 {
		delete(h.named, fold(u.account))
		return
	}
	h.named[fold(u.account)] = left
}

// relist gives a user another account, or none.
func (h *Hall) relist(u *user, account string) {
	h.delist(u)
	u.account = account
	h.enlist(u)
}

// quit takes a user that has no session any more off everything, and shows that to
// those who could see them.
func (h *Hall) quit(u *user, reason string) {
	item := h.toNeighbours(u, nil, h.fromUser(u, ircmsg.Message{Command: "QUIT", Params: []string{reason}, Text: true}))
	h.recordEverywhere(u, "QUIT", reason)
	h.deliver(false, item)
	h.vanish(u, reason)
}

// vanish takes a user off everything. The other nodes get the reason, if it is one of this node.
func (h *Hall) vanish(u *user, reason string) {
	if h.net != nil {
		h.departed(u, reason)
	}
	for len(u.channels) > 0 {
		h.detach(u.channels[len(u.channels)-1])
	}
	key := h.nickKey(u.nick())
	if h.users[key] == u {
		delete(h.users, key)
	}
	last := h.everyone[len(h.everyone)-1]
	h.everyone[u.place] = last
	last.place = u.place
	h.everyone = h.everyone[:len(h.everyone)-1]
	h.delist(u)
	if u.is(modeInvisible) {
		h.hidden--
	}
	if u.is(modeOperator) {
		h.opers--
	}
	if u.more != nil {
		for _, c := range u.more.invites {
			c.invited = without(c.invited, u)
		}
	}
	if h.net != nil && h.users[key] != nil {
		h.remember(u)
		return // the nick is somebody else's already
	}
	h.forgetMarkers(u)
	h.remember(u)
	h.notifyWatchers(key, nMonOffline, u.nick())
}

// sessionsOf returns the numbers of a user's sessions, but of one.
func sessionsOf(u *user, but *session) []SessionID {
	ids := make([]SessionID, 0, len(u.sessions))
	for _, s := range u.sessions {
		if s != but {
			ids = append(ids, s.id)
		}
	}
	return ids
}

// writeUser writes a command from the server, or a numeric, to all sessions of a user.
func (h *Hall) writeUser(u *user, command string, params ...string) {
	for _, s := range u.sessions {
		h.say(s, command, params...)
	}
}

// ranks of members, from the highest: the mode and the prefix of each bit.
const (
	rankModes    = "vhoaq"
	rankPrefixes = "+%@&~"
)

// top returns the highest bit of a rank.
func (r Rank) top() Rank {
	for bit := Founder; bit != 0; bit >>= 1 {
		if r&bit != 0 {
			return bit
		}
	}
	return 0
}

// String returns the modes of a rank, from the highest: "qo".
func (r Rank) String() string {
	var out []byte
	for i := len(rankModes) - 1; i >= 0; i-- {
		if r&(1<<i) != 0 {
			out = append(out, rankModes[i])
		}
	}
	return string(out)
}

// ParseRank reads what Rank.String returns; other letters count for nothing.
func ParseRank(letters string) (r Rank) {
	for i := range len(letters) {
		r |= rankOf(rankModes, letters[i])
	}
	return r
}

// prefixes returns the prefixes of a rank, from the highest: all, or the first.
func (r Rank) prefixes(all bool) string {
	var out []byte
	for i := len(rankPrefixes) - 1; i >= 0; i-- {
		if r&(1<<i) == 0 {
			continue
		}
		out = append(out, rankPrefixes[i])
		if !all {
			break
		}
	}
	return string(out)
}

// rankOf returns the bit for a letter of rankModes or rankPrefixes, or 0.
func rankOf(letters string, c byte) Rank {
	i := strings.IndexByte(letters, c)
	if i < 0 {
		return 0
	}
	return 1 << i
}
