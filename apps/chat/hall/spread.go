package hall

import (
	"bytes"
	"encoding/json"
	"slices"

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
	if len(item.Channels) != 1 {
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
	return far
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

// readItem is the op of an item: what is said is logged as it has come.
func readItem(h *Hall, from *node, data []byte) error {
	far, item, err := decodeItem(data)
	if err != nil {
		return err
	}
	h.gotItem(from, far, item, data)
	return nil
}

// decodeItem reads an item of another node, whose receivers here are not known yet.
func decodeItem(data []byte) (*farItem, *Item, error) {
	far, err := decode[farItem](data)
	if err != nil {
		return nil, nil, err
	}
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
		h.showFar(far, item)
		return
	}
	c := h.channels[far.Reach[0].Channel]
	if c == nil || !c.net.takes(from, far.stamp) {
		return
	}
	h.showFar(far, item)
	if far.Said {
		c.net.keep(logged{far.stamp, h.now, bytes.Clone(data)}) // a part of a parcel
	}
}

// showFar gives an item of another node to the sessions here.
func (h *Hall) showFar(far *farItem, item *Item) {
	for _, r := range far.Reach {
		if c := h.channels[r.Channel]; c != nil {
			item.Channels = append(item.Channels, Reach{c.id, r.Rank})
		}
	}
	item.Sessions, item.Except = h.ownOf(far.Sessions), h.ownOf(far.Except)
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

// showMissed shows members here something that was said while this node did not hear it.
func (h *Hall) showMissed(c *channel, l logged) {
	far, item, err := decodeItem(l.Item)
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
