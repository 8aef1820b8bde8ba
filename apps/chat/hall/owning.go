package hall

import (
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
	best    *snapshot      // the latest that they have
	waiting []func(holder fabric.Node, err error)
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
	n.claim(channelKey(name), func(err error) {
		switch {
		case n.grants[name] != g:
			if err == nil {
				n.wire.Release(channelKey(name))
			}
		case err != nil:
			delete(n.grants, name)
			var taken *fabric.TakenError
			if errors.As(err, &taken) {
				g.answer(taken.Holder.Node, nil)
				return
			}
			g.answer("", err)
		default:
			h.askAll(g)
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

// askToo asks a node that is new what those were asked that were there.
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
	if a.Known != nil && (g.best == nil || stampBefore(g.best.stamp, a.Known.stamp)) {
		g.best = a.Known
	}
	h.tryOwn(g)
}

func stampBefore(a, b stamp) bool {
	return a.Reign < b.Reign || a.Reign == b.Reign && a.Number < b.Number
}

// tryOwn begins to own a channel when all have answered.
func (h *Hall) tryOwn(g *grant) {
	if len(g.asked) > 0 || g.held {
		return
	}
	g.held, g.asked = true, nil
	if g.best != nil || h.channels[g.name] != nil {
		h.takeOver(g)
	}
	g.best = nil
	h.net.fresh = append(h.net.fresh, g)
	g.answer("", nil)
}

// takeOver makes a channel that there is one of this node, in its latest state.
func (h *Hall) takeOver(g *grant) {
	held := g.held
	g.held = false // a channel that is made now is not new in the network
	c := h.channels[g.name]
	if c == nil {
		c = h.create(g.best.Kept.Name)
	}
	g.held = held
	c.net.owner = nil
	if g.best != nil && c.net.isBefore(g.best.stamp) {
		h.adopt(c, g.best)
	}
	c.net.mine, c.net.reign = true, h.nextID()
	h.net.postAll("channel", h.snapshot(c), nil)
	if len(c.members) == 0 && c.registered == nil {
		h.remove(c)
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
