package hall

import "github.com/epinet/epi/apps/chat/fabric"

// mayOwn says whether this node is one that gets channels: a draining one does not, while
// there are others.
func (n *network) mayOwn() bool {
	if !n.self.Draining {
		return true
	}
	for _, at := range n.order {
		if !at.member.Draining {
			return false
		}
	}
	return true
}

// drain gives all channels away that are owned here.
func (h *Hall) drain() {
	n := h.net
	if n.mayOwn() {
		return
	}
	for _, c := range h.slots {
		if c == nil || !c.net.mine {
			continue
		}
		name := fold(c.name)
		n.release(name)
		c.net.mine = false
		n.postAll("left", question{name}, nil)
	}
	n.orphans = h.now
}

// gotLeft notes that a node has given a channel away.
func (h *Hall) gotLeft(from *node, q *question) {
	c := h.channels[q.Channel]
	if c == nil || c.net.owner != from {
		return
	}
	c.net.owner = nil
	h.net.orphans = h.now
	h.adoptOrphans()
}

// maxGiven is how often a channel is claimed that a draining node has: it gives it away.
const maxGiven = 100

// isGiven says whether a name that is taken will soon not be.
func (n *network) isGiven(g *grant, holder fabric.Node) bool {
	at := n.nodes[holder]
	if at == nil || !at.member.Draining || !n.mayOwn() || g.tries == maxGiven {
		return false
	}
	g.tries++
	return true
}
