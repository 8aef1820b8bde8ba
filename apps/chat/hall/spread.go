package hall

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/epinet/epi/apps/chat/fabric"
	"github.com/epinet/epi/apps/chat/ircmsg"
)

// farItem is an Item for another node: channels by name, sessions by their nodes. It is the
// same for all nodes, so that it is written once.
type farItem struct {
	stamp
	Reach    []farReach       `json:"c,omitempty"`
	Sessions []farSession     `json:"s,omitempty"`
	Except   []farSession     `json:"e,omitempty"`
	Need     Caps             `json:"d,omitempty"`
	Unless   Caps             `json:"u,omitempty"`
	Lines    []ircmsg.Carried `json:"l"`
	Said     bool             `json:"p,omitempty"`
	// Users are those of other nodes than the sender's whom the lines name.
	Users []named `json:"f,omitempty"`
}

// A named is a place in an item's lines that has the nick of a user. What the user's own node says comes
// to the receiver on another way, earlier or later than the item: so the receiver puts there what
// it has shown of the user last.
type named struct {
	ref
	Line  int `json:"l,omitempty"` // in farItem.Lines
	Param int `json:"p,omitempty"` // of that line, from 1 on; 0: it is the source of all
}

type farReach struct {
	Channel string `json:"c"`
	Rank    Rank   `json:"r,omitempty"`
}

type farSession struct {
	Node fabric.Node `json:"n"`
	ID   SessionID   `json:"i"`
}

// spread gives an item to the gate and to each node that has somebody who is to get it.
func (h *Hall) spread(item *Item) {
	h.giveHere(item)
	h.spreadFar(item, nil)
}

// spreadFar gives an item to the other nodes, but for one.
func (h *Hall) spreadFar(item *Item, but *node) {
	n := h.net
	var to []*node
	also := func(at *node) {
		if !slices.Contains(to, at) {
			to = append(to, at)
		}
	}
	for _, r := range item.Channels {
		for _, at := range n.order {
			if h.slots[r.Channel].net.at[at] > 0 {
				also(at)
			}
		}
	}
	for _, id := range item.Sessions {
		if s := h.sessions[id]; s != nil && s.far != nil {
			also(s.far.node)
		}
	}
	sequenced, said := h.sequenced(item), h.isSpeech(item)
	if len(to) == 0 && (sequenced == nil || !said) {
		return
	}
	far := h.farItem(item)
	far.Said = said
	if sequenced != nil {
		far.stamp = sequenced.step()
	}
	data, err := json.Marshal(far)
	if err != nil {
		h.gate.Fault(err)
		return
	}
	if sequenced != nil && said {
		sequenced.keep(logged{far.stamp, h.now, data})
	}
	var records []int64
	if item.Record != 0 {
		records = []int64{item.Record}
	}
	for _, at := range to {
		if at != but {
			n.put(at, "item", data, records)
		}
	}
}

// sequenced returns the order that an item has a place in: that of its channel, if it is of
// one that is owned here.
func (h *Hall) sequenced(item *Item) *sequence {
	if len(item.Channels) != 1 || item.private {
		return nil
	}
	if q := h.slots[item.Channels[0].Channel].net; q.mine {
		return q
	}
	return nil
}

// isSpeech says whether an item is something said, and not only tags.
func (h *Hall) isSpeech(item *Item) bool {
	return (item == h.said[0] || item == h.said[1]) && item.Need != CapMessageTags
}

// keep logs something said.
func (q *sequence) keep(l logged) {
	if len(q.log) == logMost {
		q.log = q.log[1:]
	}
	q.log = append(q.log, l)
}

func (h *Hall) farItem(item *Item) *farItem {
	far := &farItem{Need: item.Need, Unless: item.Unless, Lines: make([]ircmsg.Carried, len(item.Lines))}
	for i, line := range item.Lines {
		far.Lines[i] = line.Carry()
	}
	for _, r := range item.Channels {
		far.Reach = append(far.Reach, farReach{fold(h.slots[r.Channel].name), r.Rank})
	}
	far.Sessions, far.Except = h.namesOf(item.Sessions), h.namesOf(item.Except)
	h.nameUsers(far)
	return far
}

// nameUsers notes where the lines name users of other nodes.
func (h *Hall) nameUsers(far *farItem) {
	name := func(u *user, line, param int) {
		if u != nil && u.net.node != nil {
			far.Users = append(far.Users, named{h.net.refOf(u), line, param})
		}
	}
	name(h.whoIs(far.Lines[0].Bodies[0].Source), 0, 0)
	for i := range far.Lines {
		m := &far.Lines[i].Bodies[0]
		switch m.Command {
		case "KICK":
			name(h.find(m.Params[1]), i, 2)
		case "INVITE":
			name(h.find(m.Params[0]), i, 1)
		case "MODE":
			for p := 2; p < len(m.Params); p++ { // masks and numbers are no nicks
				name(h.find(m.Params[p]), i, p+1)
			}
		}
	}
}

// whoIs returns the user with a source, mostly the one whose turn it is; nil if there is none.
func (h *Hall) whoIs(source string) *user {
	if s := h.turn.session; s != nil && s.user != nil && s.user.source == source {
		return s.user
	}
	nick, _, _ := strings.Cut(source, "!")
	if u := h.find(nick); u != nil && u.source == source {
		return u
	}
	return nil
}

// asShown has an item name users as they were shown here last.
func (h *Hall) asShown(far *farItem) {
	for _, at := range far.Users {
		if uint(at.Line) >= uint(len(far.Lines)) {
			continue
		}
		if at.Param == 0 {
			h.resource(far, at.ref)
			continue
		}
		for _, b := range far.Lines[at.Line].Bodies {
			if 0 < at.Param && at.Param <= len(b.Params) {
				b.Params[at.Param-1] = h.shownNick(at.ref, b.Params[at.Param-1])
			}
		}
	}
}

// gone is added to the nick of a user that is gone where somebody else has that nick now: no user
// has such a nick.
const gone = relaySeparator + "gone"

// shownNick returns the nick by which a user was shown here last, who has another one for another node.
func (h *Hall) shownNick(r ref, nick string) string {
	switch u := h.userOf(r); {
	case u != nil:
		return u.nick()
	case h.find(nick) != nil && !h.net.later(r):
		return nick + gone
	}
	return nick
}

// resource gives the lines of a user the source that it has here.
func (h *Hall) resource(far *farItem, r ref) {
	was := far.Lines[0].Bodies[0].Source
	is := was
	if u := h.userOf(r); u != nil {
		is = u.source
	} else if nick, rest, ok := strings.Cut(was, "!"); ok {
		is = h.shownNick(r, nick) + "!" + rest
	}
	if is == was {
		return
	}
	for _, l := range far.Lines {
		for i := range l.Bodies {
			if l.Bodies[i].Source == was {
				l.Bodies[i].Source = is
			}
		}
	}
}

// comesLate says whether an item shows that a user joins who is gone: its node has shown that faster
// than the owner of the channel the JOIN.
func (h *Hall) comesLate(far *farItem) bool {
	if len(far.Users) == 0 || far.Users[0].Param != 0 || far.Lines[0].Bodies[0].Command != "JOIN" {
		return false
	}
	r := far.Users[0].ref
	return h.userOf(r) == nil && !h.net.later(r)
}

// namesOf names sessions for other nodes.
func (h *Hall) namesOf(ids []SessionID) (names []farSession) {
	for _, id := range ids {
		s := h.sessions[id]
		switch {
		case s == nil:
		case s.far != nil:
			names = append(names, farSession{s.far.node.member.Node, s.far.id})
		default:
			names = append(names, farSession{h.net.self.Node, id})
		}
	}
	return names
}

// giveHere gives an item to the sessions of this node.
func (h *Hall) giveHere(item *Item) {
	if slices.ContainsFunc(item.Sessions, isFar) || slices.ContainsFunc(item.Except, isFar) {
		own := *item
		own.Sessions = slices.DeleteFunc(slices.Clone(item.Sessions), isFar)
		own.Except = slices.DeleteFunc(slices.Clone(item.Except), isFar)
		item = &own
	}
	if len(item.Lines) > 0 && len(item.Channels)+len(item.Sessions) > 0 {
		h.gate.Deliver(item)
	}
}

func isFar(id SessionID) bool { return id&farSessions != 0 }

var errNoLine = errors.New("an item without a line")

// readItem is the op of an item: what is said is logged as it has come.
func readItem(h *Hall, from *node, data []byte) error {
	far, item, err := h.decodeItem(data)
	if err != nil {
		return err
	}
	h.gotItem(from, far, item, data)
	return nil
}

// decodeItem reads an item of another node, whose receivers here are not known yet.
func (h *Hall) decodeItem(data []byte) (*farItem, *Item, error) {
	far, err := decode[farItem](data)
	if err != nil {
		return nil, nil, err
	}
	if len(far.Lines) == 0 || slices.ContainsFunc(far.Lines, func(l ircmsg.Carried) bool { return len(l.Bodies) == 0 }) {
		return nil, nil, errNoLine
	}
	h.asShown(far)
	item := &Item{Need: far.Need, Unless: far.Unless, Lines: make([]*ircmsg.Line, len(far.Lines))}
	for i := range far.Lines {
		if item.Lines[i], err = far.Lines[i].Line(); err != nil {
			return nil, nil, err
		}
	}
	return far, item, nil
}

// gotItem gives what another node says to the sessions that are to get it.
func (h *Hall) gotItem(from *node, far *farItem, item *Item, data []byte) {
	if far.Number == 0 || len(far.Reach) == 0 {
		h.showChange(from, far, item)
		return
	}
	c := h.channels[far.Reach[0].Channel]
	if c == nil || !c.net.takes(from, far.stamp) || h.comesLate(far) {
		return
	}
	h.showChange(from, far, item)
	if far.Said {
		c.net.keep(logged{far.stamp, h.now, bytes.Clone(data)}) // a part of a parcel
	}
}

// showChange is showFar, and more for what shows what a user of the node has changed of itself: all here
// get that who see the user here, also those of whom its node does not know yet, and the
// user has the new nick from then on.
func (h *Hall) showChange(from *node, far *farItem, item *Item) {
	m := &far.Lines[0].Bodies[0]
	if m.Command != "NICK" && m.Command != "QUIT" {
		h.showFar(far, item)
		return
	}
	nick, _, _ := strings.Cut(m.Source, "!")
	u := h.find(nick)
	if u == nil || u.net.node != from {
		h.showFar(far, item)
		return
	}
	for _, m := range u.channels {
		item.Channels = append(item.Channels, m.seenBy())
	}
	h.showFar(far, item)
	if m.Command == "NICK" && len(m.Params) > 0 {
		h.renick(u, m.Params[0])
	}
	u.net.quit = m.Command == "QUIT"
}

// showNick shows those here that a user has another nick.
func (h *Hall) showNick(u *user, nick string) {
	m := ircmsg.Message{Source: u.source, Command: "NICK", Params: []string{nick}}
	h.giveHere(h.toNeighbours(u, nil, h.line(h.tags(u, ""), ircmsg.Body{Message: m})))
}

// showFar gives an item of another node to the sessions here.
func (h *Hall) showFar(far *farItem, item *Item) {
	for _, r := range far.Reach {
		if c := h.channels[r.Channel]; c != nil && !slices.Contains(item.Channels, Reach{c.id, r.Rank}) {
			item.Channels = append(item.Channels, Reach{c.id, r.Rank})
		}
	}
	hasEnded := func(id SessionID) bool { return h.sessions[id] == nil }
	item.Sessions, item.Except = slices.DeleteFunc(h.ownOf(far.Sessions), hasEnded), h.ownOf(far.Except)
	h.giveHere(item)
}

// ownOf returns those sessions that are of this node.
func (h *Hall) ownOf(names []farSession) (ids []SessionID) {
	for _, name := range names {
		if name.Node == h.net.self.Node {
			ids = append(ids, name.ID)
		}
	}
	return ids
}

// showMissed shows members here something that was said and did not reach this node.
func (h *Hall) showMissed(c *channel, l logged) {
	far, item, err := h.decodeItem(l.Item)
	if err != nil {
		h.gate.Fault(err)
		return
	}
	if len(far.Reach) == 0 {
		return
	}
	far.Reach = []farReach{{fold(c.name), far.Reach[0].Rank}}
	h.showFar(far, item)
}

func (h *Hall) gotBan(_ *node, k *KeptBan) {
	h.dropOldBans()
	h.addBan(banOf(k))
}

// endedBan is a ban that was taken back.
type endedBan struct {
	Mask string `json:"m"`
}

func (h *Hall) gotUnban(_ *node, b *endedBan) { h.removeBan(b.Mask) }

// sentLines are for one session of the node that they go to.
type sentLines struct {
	Session SessionID `json:"s"`
	Lines   string    `json:"l"`
}

func (h *Hall) gotSend(_ *node, l *sentLines) {
	if s := h.sessions[l.Session]; s != nil && s.far == nil && !s.gone {
		h.gate.Send(s.id, []byte(l.Lines))
	}
}

// endedSession is one that another node wants to end.
type endedSession struct {
	Session SessionID `json:"s"`
	Reason  string    `json:"r"`
	Last    string    `json:"l"`
}

func (h *Hall) gotEnd(_ *node, e *endedSession) {
	s := h.sessions[e.Session]
	if s == nil || s.far != nil {
		return
	}
	if s.user != nil {
		h.setStays(s.user, false)
	}
	h.end(s, e.Reason, e.Last)
}
