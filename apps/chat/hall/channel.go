package hall

import (
	"slices"
	"strconv"
	"unicode"
	"unicode/utf8"
)

// A channel has members, modes and a topic. It is gone when its last member leaves,
// unless it is registered.
type channel struct {
	id      ChannelID
	name    string
	members []*member
	created int64 // seconds
	began   int64 // all that was said in it has higher numbers

	modes    channelModes
	password string // k
	limit    int    // l
	forward  string // f: where those go who may not join

	topic   string
	topicBy string
	topicAt int64 // seconds

	bans, excepts, invexes []listed // b, e, I
	// judgement changes with the lists: see member.judged.
	judgement uint32
	invited   []*user

	metadata   metadata
	registered *registered // nil: it is gone with its last member
	net        *sequence   // nil where the hall is alone
}

// A member is a user in a channel.
type member struct {
	user    *user
	channel *channel
	rank    Rank
	place   int // in channel.members
	// judged is the channel's judgement when muted was found; 0 is never.
	judged uint32
	muted  bool
	since  int64 // the number of the user's JOIN
}

// channelModes is a set of the modes of a channel that have no parameter.
type channelModes uint16

const (
	modeNoChannelCTCP channelModes = 1 << iota // C
	modeRoleplay                               // E
	modeSinceJoin                              // H: members read no history from before their JOIN
	modeAccountSpeak                           // M: who has no account or voice is mute
	modeAccountJoin                            // R: who has no account stays out
	modeNoNotice                               // T
	modeOpModerated                            // U: only operators read those without voice
	modeInviteOnly                             // i
	modeModerated                              // m
	modeNoExternal                             // n
	modeSecret                                 // s
	modeTopic                                  // t: the topic is for operators
	modeAuditorium                             // u: those without voice do not see each other
)

// channelModeLetters are in the order in which they are shown, of the bits above.
const channelModeLetters = "CEHMRTUimnstu"

// A listed is an entry of a list mode.
type listed struct {
	mask string
	by   string
	at   int64 // seconds
}

func (c *channel) is(mode channelModes) bool { return c.modes&mode != 0 }

// findChannel returns the channel with a name, or nil.
func (h *Hall) findChannel(name string) *channel {
	if name == "" || len(name) > h.config.ChannelName {
		return nil
	}
	return h.channels[fold(name)]
}

// isChannelName says whether a target is meant to be a channel.
func isChannelName(name string) bool { return name != "" && name[0] == '#' }

// validChannelName says whether a channel may have a name.
func (h *Hall) validChannelName(name string) bool {
	if !isChannelName(name) || len(name) < 2 || len(name) > h.config.ChannelName || !utf8.ValidString(name) {
		return false
	}
	for _, r := range name {
		if r == ' ' || r == ',' || r == ':' || r == '*' || r == '?' || !unicode.IsGraphic(r) || unicode.Is(unicode.Z, r) {
			return false
		}
	}
	return true
}

// create returns a new channel, without members.
func (h *Hall) create(name string) *channel {
	c := &channel{name: name, created: h.seconds(), began: h.lastID, judgement: 1}
	for i := range len(h.config.ChannelModes) {
		c.modes |= flagOf(h.config.ChannelModes[i])
	}
	if len(h.free) > 0 {
		c.id = h.free[len(h.free)-1]
		h.free = h.free[:len(h.free)-1]
		h.slots[c.id] = c
	} else {
		c.id = ChannelID(len(h.slots))
		h.slots = append(h.slots, c)
	}
	h.channels[fold(name)] = c
	if h.net != nil {
		h.sequence(c)
	}
	return c
}

// remove takes a channel off that has no members.
func (h *Hall) remove(c *channel) {
	if h.net != nil {
		h.dissolve(c)
	}
	for _, u := range c.invited {
		u.more.invites = without(u.more.invites, c)
	}
	delete(h.channels, fold(c.name))
	h.slots[c.id] = nil
	h.free = append(h.free, c.id)
}

// flagOf returns the mode without parameter that has a letter, or 0.
func flagOf(letter byte) channelModes {
	for i := range len(channelModeLetters) {
		if channelModeLetters[i] == letter {
			return 1 << i
		}
	}
	return 0
}

// add makes a user a member, for the gate, too.
func (h *Hall) add(c *channel, u *user, rank Rank) *member {
	m := &member{user: u, channel: c, rank: rank, place: len(c.members)}
	c.members = append(c.members, m)
	u.channels = append(u.channels, m)
	u.rejudge()
	h.keepUser(u)
	for _, s := range u.sessions {
		h.seat(s, m)
	}
	if h.net != nil {
		h.seated(m)
	}
	return m
}

// seat passes a session's membership to the gate.
func (h *Hall) seat(s *session, m *member) {
	if s.far == nil {
		h.gate.Member(s.id, m.channel.id, m.rank)
	}
}

// leave ends a membership, and the channel with the last one.
func (h *Hall) leave(m *member) {
	if h.net != nil {
		h.unseated(m)
	}
	h.detach(m)
}

// detach is leave for what the other nodes know already.
func (h *Hall) detach(m *member) {
	c, u := m.channel, m.user
	last := c.members[len(c.members)-1]
	c.members[m.place] = last
	last.place = m.place
	c.members[len(c.members)-1] = nil
	c.members = c.members[:len(c.members)-1]
	u.channels = without(u.channels, m)
	u.rejudge()
	for _, s := range u.sessions {
		if s.far == nil {
			h.gate.Leave(s.id, c.id)
		}
	}
	h.keepUser(u)
	if c.net != nil {
		c.net.left(u)
	}
	if len(c.members) == 0 && c.registered == nil && c.net.mayEnd() {
		h.remove(c)
	}
}

// setRank changes a rank, for the gate, too.
func (h *Hall) setRank(m *member, rank Rank) {
	m.rank = rank
	h.keepUser(m.user)
	for _, s := range m.user.sessions {
		h.seat(s, m)
	}
	if h.net != nil {
		h.seatedAgain(m)
	}
}

// rankIn returns the rank of a user in a channel, 0 for those who are not in it.
func (u *user) rankIn(c *channel) Rank {
	if m := u.in(c); m != nil {
		return m.rank
	}
	return 0
}

// hidden says whether only operators of the channel see a member.
func (m *member) hidden() bool { return m.channel.is(modeAuditorium) && m.rank == 0 }

// seenBy returns who sees what a member does.
func (m *member) seenBy() Reach {
	if m.hidden() {
		return Reach{Channel: m.channel.id, Rank: HalfOp}
	}
	return Reach{Channel: m.channel.id}
}

// sees says whether a user may know of a member.
func (h *Hall) sees(u *user, m *member) bool {
	if m.user == u || u.may(h, RightSee) {
		return true
	}
	mine := u.in(m.channel)
	if mine == nil && m.channel.is(modeSecret) {
		return false
	}
	return !m.hidden() || mine != nil && mine.rank >= HalfOp
}

// knows says whether a user may know of a channel.
func (h *Hall) knows(u *user, c *channel) bool {
	return !c.is(modeSecret) || u.in(c) != nil || u.may(h, RightSee)
}

// letters returns the modes without parameter.
func (c *channel) letters() string {
	var letters []byte
	for i := range len(channelModeLetters) {
		if c.modes&(1<<i) != 0 {
			letters = append(letters, channelModeLetters[i])
		}
	}
	return string(letters)
}

// modeString returns the modes as 324 has them. Only members see the key.
func (c *channel) modeString(withKey bool) []string {
	letters := []byte("+" + c.letters())
	params := []string{""}
	if c.password != "" {
		letters = append(letters, 'k')
		key := c.password
		if !withKey {
			key = "*"
		}
		params = append(params, key)
	}
	if c.limit > 0 {
		letters = append(letters, 'l')
		params = append(params, strconv.Itoa(c.limit))
	}
	if c.forward != "" {
		letters = append(letters, 'f')
		params = append(params, c.forward)
	}
	params[0] = string(letters)
	return params
}

// findListed returns the place of a mask in a list, or -1.
func findListed(list []listed, mask string) int {
	return slices.IndexFunc(list, func(l listed) bool { return sameName(l.mask, mask) })
}
