package hall

import (
	"cmp"
	"errors"
	"slices"

	"github.com/epinet/epi/apps/chat/fabric"
)

// A grant is a channel's name that this node owns, or is about to.
//
// A name that was claimed may have had another owner: all nodes are asked for what they
// know of the channel before anything is done in it, and from then on take nothing of it
// from anybody else.
type grant struct {
	name    string
	held    bool
	asked   map[*node]bool // that have not answered yet
	known   []view         // what they have answered
	tries   int
	waiting []func(holder fabric.Node, err error)
}

// A view is a channel as a node knows it.
type view struct {
	node *node // nil is this one
	*snapshot
}

func channelKey(name string) fabric.Key { return fabric.Key{Kind: fabric.Channel, Name: name} }

// acquire makes this node the owner of a channel's name and calls then, at once or later;
// with the owner, if there is another one, and with an error if that cannot be known now.
func (h *Hall) acquire(name string, then func(holder fabric.Node, err error)) {
	n := h.net
	g := n.grants[name]
	switch {
	case !n.live:
		then("", fabric.ErrFenced)
		return
	case g != nil && g.held:
		then("", nil)
		return
	case g != nil:
		g.waiting = append(g.waiting, then)
		return
	}
	g = &grant{name: name, waiting: []func(fabric.Node, error){then}}
	n.grants[name] = g
	h.claimGrant(g)
}

func (h *Hall) claimGrant(g *grant) {
	n := h.net
	n.claim(channelKey(g.name), func(err error) {
		var taken *fabric.TakenError
		switch {
		case n.grants[g.name] != g:
			if err == nil && n.live && n.grants[g.name] == nil {
				n.wire.Release(channelKey(g.name))
			}
		case err == nil:
			h.askAll(g)
		case errors.As(err, &taken) && n.isGiven(g, taken.Holder.Node):
			h.claimGrant(g)
		case taken != nil:
			delete(n.grants, g.name)
			g.answer(taken.Holder.Node, nil)
		default:
			delete(n.grants, g.name)
			g.answer("", err)
		}
	})
}

func (g *grant) answer(holder fabric.Node, err error) {
	waiting := g.waiting
	g.waiting = nil
	for _, then := range waiting {
		then(holder, err)
	}
}

// question asks a node for what it knows of a channel.
type question struct {
	Channel string `json:"c"`
}

// answer is what it knows: nothing, if it has no such channel.
type answer struct {
	Channel string    `json:"c"`
	Known   *snapshot `json:"k,omitempty"`
}

func (h *Hall) askAll(g *grant) {
	g.asked = map[*node]bool{}
	for _, at := range h.net.order {
		g.asked[at] = true
		h.net.post(at, "ask", question{g.name}, nil)
	}
	h.tryOwn(g)
}

// askToo asks a node that is new, or has missed something, what those were asked that were
// there.
func (h *Hall) askToo(at *node) {
	for _, g := range h.net.sortedGrants() {
		if g.asked != nil && !g.held {
			g.asked[at] = true
			h.net.post(at, "ask", question{g.name}, nil)
		}
	}
}

func (n *network) sortedGrants() []*grant {
	all := make([]*grant, 0, len(n.grants))
	for _, g := range n.grants {
		all = append(all, g)
	}
	slices.SortFunc(all, func(a, b *grant) int {
		if a.name < b.name {
			return -1
		}
		return 1
	})
	return all
}

// gotAsk answers a node that has claimed a channel, and takes nothing of it from its former
// owner any more.
func (h *Hall) gotAsk(from *node, q *question) {
	a := answer{Channel: q.Channel}
	if c := h.channels[q.Channel]; c != nil {
		if c.net.mine {
			h.net.release(q.Channel)
			c.net.mine = false
		}
		if former := c.net.owner; former != nil && former != from {
			h.outlast(former)
		}
		c.net.owner = from
		a.Known = h.snapshot(c)
	}
	h.net.post(from, "answer", a, nil)
}

func (h *Hall) gotAnswer(from *node, a *answer) {
	g := h.net.grants[a.Channel]
	if g == nil || !g.asked[from] {
		return
	}
	delete(g.asked, from)
	if a.Known != nil {
		g.known = append(g.known, view{from, a.Known})
	}
	h.tryOwn(g)
}

// outlast makes what is numbered from now on come after all that a node has numbered whose
// ownership is over: also after what it has shown to its own clients alone, by a clock that
// may be ahead of those of the others.
func (h *Hall) outlast(at *node) { h.lastID = max(h.lastID, (h.now+at.ahead)<<IDBits) }

// tryOwn begins to own a channel when all have answered.
func (h *Hall) tryOwn(g *grant) {
	if len(g.asked) > 0 || g.held {
		return
	}
	g.asked = nil
	if c := h.channels[g.name]; c != nil {
		g.known = append(g.known, view{nil, h.snapshot(c)})
	}
	if len(g.known) > 0 {
		h.takeOver(g)
	}
	g.held, g.known = true, nil
	h.net.fresh = append(h.net.fresh, g)
	waiting := g.waiting
	g.waiting = nil
	for _, then := range waiting {
		h.acquire(g.name, then) // again, if those before have ended the channel
	}
}

// takeOver makes a channel that there is one of this node.
func (h *Hall) takeOver(g *grant) {
	latest := h.merged(g)
	c := h.channels[g.name]
	if c == nil {
		c = h.create(latest.Kept.Name)
	}
	c.net.owner = nil
	unsaid := c.net.kept
	c.net.kept = nil
	h.adopt(c, latest)
	if unsaid != nil && c.registered == nil && latest.isBefore(stamp{unsaid.Reign, unsaid.Number}) {
		c.register(&unsaid.Channel) // its owner has ended before it could say so
	}
	if len(c.members) == 0 && c.registered == nil {
		h.remove(c) // whoever comes makes it anew
		h.net.postAll("empty", emptied{g.name, stamp{h.nextID(), 1}}, nil)
		return
	}
	c.net.mine, c.net.reign = true, h.nextID()
	h.net.postAll("channel", h.snapshot(c), nil)
}

// merged returns the latest state that any node knows of a channel. Which users are in it,
// their own nodes know best: they have shown them the JOIN.
func (h *Hall) merged(g *grant) *snapshot {
	latest := *g.known[0].snapshot
	for _, v := range g.known[1:] {
		if latest.isBefore(v.stamp) {
			latest = *v.snapshot
		}
	}
	ranks := map[ref]Rank{}
	for _, s := range latest.Seats {
		ranks[s.ref] = s.Rank
	}
	latest.Seats, latest.Log = nil, nil
	for _, v := range g.known {
		for _, s := range v.Seats {
			if s.Node == h.nameOf(v.node) {
				s.Rank = ranks[s.ref]
				latest.Seats = append(latest.Seats, s)
			}
		}
		latest.Log = append(latest.Log, v.Log...)
	}
	slices.SortFunc(latest.Log, func(a, b logged) int {
		return cmp.Or(cmp.Compare(a.Reign, b.Reign), cmp.Compare(a.Number, b.Number))
	})
	latest.Log = slices.CompactFunc(latest.Log, func(a, b logged) bool { return a.stamp == b.stamp })
	return &latest
}

// nameOf returns the name of a node; nil is this one.
func (h *Hall) nameOf(at *node) fabric.Node {
	if at == nil {
		return h.net.self.Node
	}
	return at.member.Node
}

// orphanWait is how long a channel without an owner is left to the node that it belongs to,
// in milliseconds: that one may not know the channel.
const orphanWait = 3000

// adoptOrphans claims channels whose owner is down.
func (h *Hall) adoptOrphans() {
	n := h.net
	if n.orphans == 0 || !n.live || !n.mayOwn() {
		return
	}
	left := false
	for _, c := range slices.Clone(h.slots) {
		if c == nil || c.net.mine || c.net.owner != nil {
			continue
		}
		left = true
		name := fold(c.name)
		home, _ := fabric.Home(name, n.members())
		if home.Node == n.self.Node || h.now-n.orphans > orphanWait {
			h.acquire(name, func(fabric.Node, error) {})
		}
	}
	if !left {
		n.orphans = 0
	}
}

// release gives a channel's name back.
func (n *network) release(name string) {
	if n.grants[name] == nil {
		return
	}
	delete(n.grants, name)
	n.wire.Release(channelKey(name))
}

// dropUnused gives names back that were claimed for channels that there are not.
func (h *Hall) dropUnused() {
	for _, g := range h.net.fresh {
		if h.net.grants[g.name] == g && g.held && h.channels[g.name] == nil {
			h.net.release(g.name)
		}
	}
	h.net.fresh = h.net.fresh[:0]
}
