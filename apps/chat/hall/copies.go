package hall

import (
	"cmp"
	"slices"

	"github.com/epinet/epi/apps/chat/ircmsg"
)

// A portrait is what the other nodes know of a user.
type portrait struct {
	User     uint64           `json:"u"`
	Nick     string           `json:"n"`
	Name     string           `json:"i"`
	Host     string           `json:"h"`
	Realname string           `json:"r,omitempty"`
	Account  string           `json:"a,omitempty"`
	Modes    string           `json:"m,omitempty"`
	Away     string           `json:"w,omitempty"`
	Operator string           `json:"o,omitempty"`
	Signon   uint32           `json:"s,omitempty"`
	Active   uint32           `json:"t,omitempty"`
	Home     Origin           `json:"f"`
	Stays    bool             `json:"y,omitempty"`
	Sessions []sessionPicture `json:"c,omitempty"`
}

// A sessionPicture is what they know of a session.
type sessionPicture struct {
	ID     SessionID `json:"i"`
	Caps   Caps      `json:"c,omitempty"`
	Origin *Origin   `json:"o,omitempty"` // nil is that of the user
}

// here makes a user one of this node.
func (h *Hall) here(u *user) {
	if h.net == nil {
		return
	}
	u.net = &presence{}
	h.net.introduce(u, h.net.live)
}

// introduce gives a user a number. With told the other nodes know it from then on: in the
// order of the numbers.
func (n *network) introduce(u *user, told bool) {
	delete(n.here, u.net.number)
	n.users++
	u.net.number, u.net.told = uint64(n.self.Epoch)<<userBits+n.users, told
	n.here[u.net.number] = u
	if told {
		n.changed = append(n.changed, u)
	}
}

// noteUser has a change of a user sent to the others.
func (h *Hall) noteUser(u *user) {
	if h.net == nil || u.net == nil || u.net.node != nil || !u.net.told || slices.Contains(h.net.changed, u) {
		return
	}
	h.net.changed = append(h.net.changed, u)
}

// sendChanged sends the others the users and channels that have changed.
func (h *Hall) sendChanged() {
	n := h.net
	for _, u := range n.changed {
		if n.here[u.net.number] == u && u.net.told {
			n.postAll("user", h.portrait(u), nil)
		}
	}
	for _, c := range n.altered {
		if c.net.mine && h.channels[fold(c.name)] == c {
			c.net.step()
			n.postAll("state", h.state(c), nil)
		}
	}
	n.changed, n.altered = n.changed[:0], n.altered[:0]
}

func (h *Hall) portrait(u *user) *portrait {
	p := &portrait{
		User: u.net.number, Nick: u.nick(), Name: u.name(), Host: u.host(), Realname: u.realname, Account: u.account,
		Modes: u.modes.String(), Away: u.away(), Signon: u.signon, Active: u.active, Home: *u.home,
		Stays: u.stays(),
	}
	if u.more != nil {
		p.Operator = u.more.operator
	}
	for _, s := range u.sessions {
		copied := sessionPicture{ID: s.id, Caps: s.caps}
		if s.origin != u.home {
			copied.Origin = s.origin
		}
		p.Sessions = append(p.Sessions, copied)
	}
	return p
}

// gotUser takes over what a node says of one of its users.
func (h *Hall) gotUser(from *node, p *portrait) {
	delete(from.sweep, p.User)
	from.seen = max(from.seen, p.User)
	if u := from.users[p.User]; u != nil {
		h.redraw(u, p)
		return
	}
	u := &user{realname: p.Realname, account: p.Account, home: &p.Home, signon: p.Signon, active: p.Active}
	u.net = &presence{number: p.User, node: from, told: true}
	u.modes = modesOf(p.Modes)
	u.identify(p.Nick, p.Name, p.Host)
	h.setAside(u, p)
	h.makeWay(p.Nick)
	known := h.find(p.Nick) != nil
	h.enter(u)
	if u.is(modeOperator) {
		h.opers++
	}
	from.users[p.User] = u
	h.copySessions(u, p)
	if !known {
		h.notifyWatchers(h.nickKey(p.Nick), nMonOnline, u.source)
	}
	h.seatEarly(u, ref{from.member.Node, p.User})
}

// setAside sets what few users have.
func (h *Hall) setAside(u *user, p *portrait) {
	u.net.stays = p.Stays
	if p.Away != "" || p.Operator != "" || u.more != nil {
		u.extra().away, u.extra().operator = p.Away, p.Operator
	}
}

func modesOf(letters string) (modes userModes) {
	for i := range len(letters) {
		modes |= userModeOf(letters[i])
	}
	return modes
}

// redraw changes the copy of a user. Those who share a channel with it got the change from
// its own node; those who only watch it get it here.
func (h *Hall) redraw(u *user, p *portrait) {
	if u.nick() != p.Nick { // what has shown that was lost, or reached nobody here
		h.showNick(u, p.Nick)
		h.renick(u, p.Nick)
	}
	u.net.quit = false // for those alone who do not know CHGHOST
	before := *u
	away := u.away()
	u.identify(p.Nick, p.Name, p.Host)
	h.setModes(u, modesOf(p.Modes))
	u.realname, u.home, u.active = p.Realname, &p.Home, p.Active
	if u.account != p.Account {
		h.relist(u, p.Account)
	}
	h.setAside(u, p)
	h.copySessions(u, p)
	if before.account != u.account {
		h.notifyDistant(u, CapAccountNotify, ircmsg.Message{Command: "ACCOUNT", Params: []string{orStar(u.account)}})
		for _, m := range u.channels {
			if m.channel.net.mine {
				h.grant(m)
			}
		}
	}
	if away != p.Away {
		m := ircmsg.Message{Command: "AWAY"}
		if p.Away != "" {
			m.Params, m.Text = []string{p.Away}, true
		}
		h.notifyDistant(u, CapAwayNotify, m)
	}
	if before.realname != u.realname {
		h.notifyDistant(u, CapSetname, ircmsg.Message{Command: "SETNAME", Params: []string{u.realname}, Text: true})
	}
}

// notifyDistant notifies sessions here that watch a user and share no channel with it.
func (h *Hall) notifyDistant(u *user, need Caps, m ircmsg.Message) {
	var ids []SessionID
	for _, s := range h.extendedWatchers(u) {
		if !s.user.shares(u) {
			ids = append(ids, s.id)
		}
	}
	if len(ids) == 0 {
		return
	}
	item := newItem(h.fromUser(u, m))
	item.Sessions, item.Need = ids, need
	h.giveHere(item)
}

func (h *Hall) renick(u *user, nick string) {
	h.makeWay(nick)
	h.remember(u)
	old, oldKey, key := u.nick(), h.nickKey(u.nick()), h.nickKey(nick)
	if h.users[oldKey] == u {
		delete(h.users, oldKey)
	}
	u.identify(nick, u.name(), u.host())
	h.users[key] = u
	if key != oldKey {
		h.notifyWatchers(oldKey, nMonOffline, old)
		h.notifyWatchers(key, nMonOnline, u.source)
	}
}

// setModes sets all modes of a copy, and counts.
func (h *Hall) setModes(u *user, modes userModes) {
	count := func(mode userModes, n *int) {
		switch {
		case modes&mode != 0 && !u.is(mode):
			*n++
		case modes&mode == 0 && u.is(mode):
			*n--
		}
	}
	count(modeInvisible, &h.hidden)
	count(modeOperator, &h.opers)
	u.modes = modes
}

// copySessions makes the sessions of a copy those that its node has.
func (h *Hall) copySessions(u *user, p *portrait) {
	at := u.net.node
	for _, s := range slices.Clone(u.sessions) {
		if !slices.ContainsFunc(p.Sessions, func(c sessionPicture) bool { return c.ID == s.far.id }) {
			h.dropCopy(s)
		}
	}
	for _, c := range p.Sessions {
		s := at.sessions[c.ID]
		if s == nil {
			h.net.far++
			s = &session{id: farSessions | h.net.far, user: u, far: &distance{node: at, id: c.ID}}
			h.net.guests++
			h.sessions[s.id] = s
			at.sessions[c.ID] = s
			u.sessions = append(u.sessions, s)
		}
		s.caps, s.origin = c.Caps, c.Origin
		if s.origin == nil {
			s.origin = u.home
		}
	}
}

func (h *Hall) dropCopy(s *session) {
	s.gone = true
	h.net.guests--
	delete(h.sessions, s.id)
	delete(s.far.node.sessions, s.far.id)
	s.user.sessions = without(s.user.sessions, s)
}

// departure is the end of a user.
type departure struct {
	User   uint64 `json:"u"`
	Reason string `json:"r,omitempty"`
}

func (h *Hall) gotGone(from *node, d *departure) {
	delete(from.sweep, d.User)
	from.seen = max(from.seen, d.User)
	delete(h.net.early, ref{from.member.Node, d.User})
	if u := from.users[d.User]; u != nil {
		h.lostSight(u, cmp.Or(d.Reason, closedReason))
	}
}

// closedReason is why a user is gone of whom its node has not said why.
const closedReason = "Connection closed"

// lostSight takes a user of another node off, and shows its QUIT to those here who have not read it.
func (h *Hall) lostSight(u *user, reason string) {
	if !u.net.quit {
		h.showQuit(u, "", reason)
	}
	h.vanish(u, reason)
}

// departed takes a user off the network.
func (h *Hall) departed(u *user, reason string) {
	n := h.net
	if at := u.net.node; at != nil {
		for len(u.sessions) > 0 {
			h.dropCopy(u.sessions[0])
		}
		delete(at.users, u.net.number)
		return
	}
	delete(n.here, u.net.number)
	if !u.net.told {
		n.releaseNick(h.nickKey(u.nick()))
		return
	}
	n.postAll("gone", departure{u.net.number, reason}, nil)
	u.net.told = false
	n.leaveNick(h.nickKey(u.nick()))
}

// beginSweep expects a node to name all its users: those that it does not are gone.
func (h *Hall) beginSweep(from *node) {
	from.sweep = make(map[uint64]bool, len(from.users))
	for number := range from.users {
		from.sweep[number] = true
	}
	from.unnamed = map[*channel]bool{}
	for _, c := range h.slots {
		if c != nil && c.net.owner == from {
			from.unnamed[c] = true
		}
	}
}

func (h *Hall) endSweep(from *node) {
	if from.sweep == nil {
		return // a part of what it has sent was lost: it sends all again
	}
	var left []*user
	for _, u := range h.everyone {
		if u.net.node == from && from.sweep[u.net.number] {
			left = append(left, u)
		}
	}
	from.sweep = nil
	h.endDoubt(from)
	for _, u := range left {
		h.lostSight(u, closedReason)
	}
}

func (h *Hall) endSweepOfChannels(from *node) {
	if from.unnamed == nil {
		return
	}
	unnamed := from.unnamed
	from.unnamed, from.behind = nil, 0
	h.net.dropEarly(from)
	for _, c := range slices.Clone(h.slots) {
		if c != nil && unnamed[c] && c.net.owner == from {
			h.dropChannel(c)
		}
	}
}

// userOf finds who is meant by a node; nil is nobody who is known now.
func (h *Hall) userOf(r ref) *user {
	n := h.net
	if r.Node == n.self.Node {
		return n.here[r.User]
	}
	if at := n.nodes[r.Node]; at != nil {
		return at.users[r.User]
	}
	return nil
}

// refOf names a user for the others.
func (n *network) refOf(u *user) ref {
	if u.net.node != nil {
		return ref{u.net.node.member.Node, u.net.number}
	}
	return ref{n.self.Node, u.net.number}
}

// later says whether a user that is not known may still be announced: also one that its node has
// named before others, if something that it has sent was lost.
func (n *network) later(r ref) bool {
	if r.Node == n.self.Node || n.over[r.Node] >= r.epoch() {
		return false
	}
	at := n.nodes[r.Node]
	return at == nil || r.User > at.seen || at.behind != 0
}
