package hall

import (
	"cmp"
	"encoding/json"
	"reflect"
	"slices"

	"github.com/epinet/epi/apps/chat/ircmsg"
)

// A sequence is what a channel has in a network. Its owner numbers all that happens in it,
// and the others take that in this order, and from nobody else.
type sequence struct {
	mine  bool
	owner *node // nil: this node, or nobody
	// reign is greater for each owner than for the one before, and number counts in all
	// reigns. Of two copies, the one with the greater pair is the later one.
	reign  int64
	number uint64
	at     map[*node]int // members by their nodes
	claim  stamp         // of the last claim to register it: see claimRegistration
	kept   *KeepChannel  // its registration, if all nodes keep that and no owner has said so
	// adopting: it is made what a snapshot says.
	adopting bool
	log      []logged
	// split is the node, and its life before, whose members brought the channel back.
	split string
}

// logged is something said, for nodes that have missed it.
type logged struct {
	stamp
	At   int64           `json:"t"`
	Item json.RawMessage `json:"i"`
}

// What is said is kept for nodes that have missed it for so long, and so much of it.
const (
	logFor  = 30_000 // ms
	logMost = 256
)

// mayEnd says whether a channel without members is removed: its owner does so.
func (q *sequence) mayEnd() bool { return q == nil || !q.adopting && (q.mine || q.owner == nil) }

// left counts a member less.
func (q *sequence) left(u *user) {
	if at := u.net.node; at != nil {
		if q.at[at]--; q.at[at] == 0 {
			delete(q.at, at)
		}
	}
}

// step numbers what happens next.
func (q *sequence) step() stamp {
	q.number++
	return stamp{q.reign, q.number}
}

// A stamp is the place of something in a channel's order.
type stamp struct {
	Reign  int64  `json:"r,omitempty"`
	Number uint64 `json:"n,omitempty"`
}

func (s stamp) isBefore(other stamp) bool {
	return s.Reign < other.Reign || s.Reign == other.Reign && s.Number < other.Number
}

func (q *sequence) isBefore(s stamp) bool { return stamp{q.reign, q.number}.isBefore(s) }

// order is the place of what has last happened in a channel; zero outside a network.
func (c *channel) order() stamp {
	if c.net == nil {
		return stamp{}
	}
	return stamp{c.net.reign, c.net.number}
}

// isUnclaimed says whether nobody has owned a channel since this node began, so that it is as
// it was kept.
func (q *sequence) isUnclaimed() bool { return !q.mine && q.owner == nil && q.reign == 0 }

// takes says whether something of a channel comes from its owner and is new, and notes its
// number.
func (q *sequence) takes(from *node, s stamp) bool {
	if q.mine || q.owner != from || !q.isBefore(s) {
		return false
	}
	q.reign, q.number = s.Reign, s.Number
	return true
}

// sequence makes a new channel one of the network, and of this node if that has claimed it.
func (h *Hall) sequence(c *channel) {
	c.net = &sequence{at: map[*node]int{}}
	if g := h.net.grants[fold(c.name)]; g != nil && g.held {
		c.net.mine, c.net.reign = true, h.nextID()
		h.net.postAll("channel", h.snapshot(c), nil)
	}
}

// dissolve ends a channel in the network.
func (h *Hall) dissolve(c *channel) {
	if !c.net.mine {
		return
	}
	h.net.postAll("empty", emptied{fold(c.name), c.net.step()}, nil)
	h.net.release(fold(c.name))
	c.net.mine = false
}

// noteChannel has a change of a channel sent to the others.
func (h *Hall) noteChannel(c *channel) {
	if h.net != nil && c.net.mine && !slices.Contains(h.net.altered, c) {
		h.net.altered = append(h.net.altered, c)
	}
}

// state is what the others know of a channel but for its members.
type state struct {
	stamp
	Kept       KeptChannel `json:"k"`
	Registered bool        `json:"g,omitempty"`
	Began      int64       `json:"b,omitempty"`
	Metadata   metadata    `json:"m,omitempty"`
	Invited    []ref       `json:"i,omitempty"`
}

func (h *Hall) state(c *channel) *state {
	st := &state{stamp: stamp{c.net.reign, c.net.number}, Kept: c.kept(), Registered: c.registered != nil, Began: c.began, Metadata: c.metadata}
	for _, u := range c.invited {
		st.Invited = append(st.Invited, h.net.refOf(u))
	}
	return st
}

// A snapshot is all of a channel.
type snapshot struct {
	state
	Seats []seating `json:"s"`
	Log   []logged  `json:"l,omitempty"`
}

// A seating is a member for the others.
type seating struct {
	ref
	Rank  Rank  `json:"r,omitempty"`
	Since int64 `json:"t,omitempty"`
}

func (h *Hall) snapshot(c *channel) *snapshot {
	snap := &snapshot{state: *h.state(c)}
	for _, m := range c.members {
		if !m.user.net.told {
			continue // see present
		}
		snap.Seats = append(snap.Seats, seating{h.net.refOf(m.user), m.rank, m.since})
	}
	snap.Seats = append(snap.Seats, h.net.earlySeats(c)...)
	for _, l := range c.net.log {
		if l.At > h.now-logFor {
			snap.Log = append(snap.Log, l)
		}
	}
	return snap
}

// seatChange is a member who comes, gets another rank, or goes.
type seatChange struct {
	Channel string `json:"c"`
	stamp
	Seat seating `json:"s"`
	Out  bool    `json:"o,omitempty"`
}

// seated counts a new member, and sends it to the others.
func (h *Hall) seated(m *member) {
	if at := m.user.net.node; at != nil {
		m.channel.net.at[at]++
	}
	h.seatedAgain(m)
}

func (h *Hall) seatedAgain(m *member) {
	if m.channel.net.mine && m.user.net.told {
		seat := seating{h.net.refOf(m.user), m.rank, h.lastID}
		h.net.postAll("seat", seatChange{Channel: fold(m.channel.name), stamp: m.channel.net.step(), Seat: seat}, nil)
	}
}

// unseated lets the others know that a member goes. That a user quits, its own node sends.
func (h *Hall) unseated(m *member) {
	if m.channel.net.mine {
		seat := seating{ref: h.net.refOf(m.user)}
		h.net.postAll("seat", seatChange{Channel: fold(m.channel.name), stamp: m.channel.net.step(), Seat: seat, Out: true}, nil)
	}
}

func (h *Hall) gotSeat(from *node, s *seatChange) {
	c := h.channels[s.Channel]
	if c == nil || !c.net.takes(from, s.stamp) {
		return
	}
	u := h.userOf(s.Seat.ref)
	if u == nil {
		h.seatLater(c, s)
		return
	}
	m := u.in(c)
	switch {
	case s.Out && m != nil:
		h.detach(m)
	case s.Out:
	case m != nil:
		h.isBack(m)
		h.setRank(m, s.Seat.Rank)
	default:
		h.add(c, u, s.Seat.Rank).since = s.Seat.Since
	}
}

// earlySeat is a membership of a user that is not known yet.
type earlySeat struct {
	channel *channel
	seat    seating
	missing []*session // that were shown the channel without that member
}

// seatLater notes a membership until its user is known.
func (h *Hall) seatLater(c *channel, s *seatChange) {
	early := slices.DeleteFunc(h.net.early[s.Seat.ref], func(e earlySeat) bool { return e.channel == c })
	if !s.Out && h.net.later(s.Seat.ref) {
		early = append(early, earlySeat{channel: c, seat: s.Seat})
	}
	if len(early) == 0 {
		delete(h.net.early, s.Seat.ref)
		return
	}
	h.net.early[s.Seat.ref] = early
}

// earlySeats are those of a channel.
func (n *network) earlySeats(c *channel) (seats []seating) {
	for _, early := range n.early {
		for _, e := range early {
			if e.channel == c {
				seats = append(seats, e.seat)
			}
		}
	}
	slices.SortFunc(seats, func(a, b seating) int { return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.User, b.User)) })
	return seats
}

// dropEarly forgets memberships of users that a node does not have: it has named all.
func (n *network) dropEarly(at *node) {
	for r := range n.early {
		if r.Node == at.member.Node && !n.later(r) {
			delete(n.early, r)
		}
	}
}

func (h *Hall) seatEarly(u *user, r ref) {
	early := h.net.early[r]
	delete(h.net.early, r)
	for _, e := range early {
		if h.channels[fold(e.channel.name)] == e.channel && u.in(e.channel) == nil {
			m := h.add(e.channel, u, e.seat.Rank)
			m.since = e.seat.Since
			h.showEarly(m, e.missing)
		}
	}
}

// missEarly notes that a session is shown a channel without the members who are not known yet.
func (n *network) missEarly(s *session, c *channel) {
	for _, early := range n.early {
		for i := range early {
			if early[i].channel == c {
				early[i].missing = append(early[i].missing, s)
			}
		}
	}
}

// showEarly shows a member to those who came after it and were shown the channel without it.
func (h *Hall) showEarly(m *member, missing []*session) {
	item := h.returnItem(m)
	item.Channels = nil
	for _, s := range missing {
		if !s.gone && s.user.in(m.channel) != nil {
			item.Sessions = append(item.Sessions, s.id)
		}
	}
	h.giveHere(item)
}

// gotState takes over what has changed of a channel; its members have seen it.
func (h *Hall) gotState(from *node, st *state) {
	c := h.channels[fold(st.Kept.Name)]
	if c != nil && c.net.takes(from, st.stamp) {
		h.setState(c, st)
	}
}

func (h *Hall) setState(c *channel, st *state) {
	was, before := c.registered != nil, c.kept()
	c.register(&st.Kept)
	c.began, c.metadata = st.Began, st.Metadata
	switch {
	case !st.Registered:
		c.registered = nil
		if was {
			h.dropKept(c, c.name)
		}
	case !was || !reflect.DeepEqual(before, c.kept()):
		h.touchChannel(c)
	}
	for len(c.invited) > 0 {
		h.uninvite(c.invited[0], c)
	}
	for _, r := range st.Invited {
		if u := h.userOf(r); u != nil && u.in(c) == nil {
			h.remind(u, c)
		}
	}
}

// emptied is the end of a channel.
type emptied struct {
	Channel string `json:"c"`
	stamp
}

func (h *Hall) gotEmpty(from *node, e *emptied) {
	c := h.channels[e.Channel]
	if c == nil || !c.net.takes(from, e.stamp) {
		return
	}
	if slices.ContainsFunc(c.members, func(m *member) bool { return m.user.net.node == nil }) {
		c.net.owner, h.net.orphans = nil, h.now // they are to come back: see goBack
		return
	}
	h.dropChannel(c)
}

// dropChannel takes a copy of a channel off, with the members that it still has.
func (h *Hall) dropChannel(c *channel) {
	c.net.owner = nil
	if c.registered != nil {
		c.registered = nil
		h.dropKept(c, c.name)
	}
	for len(c.members) > 1 {
		h.detach(c.members[len(c.members)-1])
	}
	if len(c.members) == 1 {
		h.detach(c.members[0]) // and with the last, the channel
		return
	}
	h.remove(c)
}

// renaming is another name of a channel.
type renaming struct {
	Channel string `json:"c"`
	stamp
	Name string `json:"t"`
	Last int64  `json:"l"`
}

// renameFar lets the others know that a channel is called otherwise from now on.
func (h *Hall) renameFar(c *channel, name string) {
	old := fold(c.name)
	h.net.postAll("name", renaming{old, c.net.step(), name, h.nextID()}, nil)
	if old != fold(name) {
		h.net.release(old)
	}
	h.noteChannel(c)
}

func (h *Hall) gotName(from *node, r *renaming) {
	c := h.channels[r.Channel]
	if c == nil || !c.net.takes(from, r.stamp) {
		return
	}
	if other := h.channels[fold(r.Name)]; other != nil && other != c {
		h.dropChannel(other)
	}
	old := c.name
	h.setName(c, r.Name)
	h.renamed(c, old)
	if !sameName(old, r.Name) && h.config.History.Enabled {
		h.moveRecords(fold(old), fold(r.Name), r.Last)
	}
}

// gotChannel takes over a whole channel.
func (h *Hall) gotChannel(from *node, snap *snapshot) {
	c := h.channels[fold(snap.Kept.Name)]
	asked := c != nil && c.net.owner == from
	switch {
	case c == nil:
		c = h.create(snap.Kept.Name)
	case asked:
	case c.net.owner == nil && !c.net.mine:
	case c.net.reign >= snap.Reign:
		return
	case c.net.mine:
		h.net.release(fold(c.name))
		c.net.mine = false
	}
	c.net.owner = from
	delete(from.unnamed, c)
	if !asked {
		h.comeToo(c, snap)
	}
	h.adopt(c, snap)
	h.goBack()
}

// comeToo has members here go back to a channel whose new owner does not know of them: it has claimed
// the channel before it knew of this node, and so has not asked.
func (h *Hall) comeToo(c *channel, snap *snapshot) {
	known := map[uint64]bool{} // of the users here
	for _, s := range snap.Seats {
		if s.Node == h.net.self.Node {
			known[s.User] = true
		}
	}
	for _, m := range c.members {
		if m.user.net.node == nil && m.user.net.told && !known[m.user.net.number] {
			h.net.willReturn(m)
		}
	}
}

// adopt makes a copy of a channel what a snapshot says, and shows members here what they
// have missed.
func (h *Hall) adopt(c *channel, snap *snapshot) {
	q := c.net
	for _, l := range snap.Log {
		if q.isBefore(l.stamp) {
			h.showMissed(c, l)
		}
	}
	q.reign, q.number, q.log = snap.Reign, snap.Number, snap.Log
	h.adoptState(c, &snap.state)
	seats := make(map[*user]seating, len(snap.Seats))
	for _, s := range snap.Seats {
		u := h.userOf(s.ref)
		if u == nil {
			h.seatLater(c, &seatChange{Seat: s})
			continue
		}
		seats[u] = s
	}
	for _, s := range snap.Seats {
		u := h.userOf(s.ref)
		if u == nil {
			continue
		}
		m := u.in(c)
		if m == nil {
			m = h.add(c, u, s.Rank)
			m.since = s.Since
			h.showJoin(m)
			continue
		}
		h.isBack(m)
		if m.rank != s.Rank {
			h.showRanks(m, s.Rank)
			h.setRank(m, s.Rank)
		}
	}
	for _, m := range slices.Clone(c.members) {
		if _, stays := seats[m.user]; stays || h.isReturning(m) {
			continue
		}
		h.showPart(m)
		q.adopting = true // without members, its owner ends it
		h.detach(m)
		q.adopting = false
	}
}

// adoptState sets the state of a channel, and shows what is another topic.
func (h *Hall) adoptState(c *channel, st *state) {
	topic, modes := c.topic, c.modes
	h.setState(c, st)
	if topic != c.topic {
		h.showHere(c, ircmsg.Message{Source: h.config.Name, Command: "TOPIC", Params: []string{c.name, c.topic}, Text: true})
	}
	if modes == c.modes {
		return
	}
	var made []change
	for i := range len(channelModeLetters) {
		if bit := channelModes(1 << i); (modes^c.modes)&bit != 0 {
			made = append(made, change{add: c.is(bit), letter: channelModeLetters[i]})
		}
	}
	h.showHere(c, ircmsg.Message{Source: h.config.Name, Command: "MODE", Params: append([]string{c.name}, modeParams(made)...)})
}

// showHere shows something to the members here only.
func (h *Hall) showHere(c *channel, m ircmsg.Message) {
	h.giveHere(toChannel(c, h.line(h.tags(nil, ""), ircmsg.Body{Message: m})))
}

func (h *Hall) showPart(m *member) {
	item := newItem(h.line(h.tags(m.user, ""), ircmsg.Body{Message: ircmsg.Message{Source: m.user.source, Command: "PART", Params: []string{m.channel.name}}}))
	item.to(m.seenBy())
	item.Sessions = sessionsOf(m.user, nil)
	h.giveHere(item)
}

func (h *Hall) showJoin(m *member) {
	item := h.returnItem(m)
	item.Sessions = sessionsOf(m.user, nil)
	h.giveHere(item)
	if m.user.net.node == nil {
		h.showIn(m)
	}
}

// showRanks shows what another rank than before has more and less.
func (h *Hall) showRanks(m *member, rank Rank) {
	var made []change
	for i := len(rankModes) - 1; i >= 0; i-- {
		if bit := Rank(1 << i); (m.rank^rank)&bit != 0 {
			made = append(made, change{add: rank&bit != 0, letter: rankModes[i], param: m.user.nick()})
		}
	}
	h.showHere(m.channel, ircmsg.Message{Source: h.config.Name, Command: "MODE", Params: append([]string{m.channel.name}, modeParams(made)...)})
}
