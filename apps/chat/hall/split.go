package hall

import (
	"errors"
	"slices"

	"github.com/epinet/epi/apps/chat/fabric"
	"github.com/epinet/epi/apps/chat/ircmsg"
)

// nodeDown takes a node off with all its users. Its channels have no owner until somebody
// wants something of them.
func (h *Hall) nodeDown(at *node) {
	n := h.net
	name := at.member.Node
	delete(n.nodes, name)
	n.order = without(n.order, at)
	h.outlast(at)
	n.postAll("over", overOp{name, at.member.Epoch}, nil)
	for _, c := range h.slots {
		if c != nil && c.net.owner == at {
			c.net.owner = nil
			n.orphans = h.now
		}
	}
	var gone []*user
	for _, u := range h.everyone {
		if u.net.node == at {
			gone = append(gone, u)
		}
	}
	h.showSplit(at, gone)
	for _, u := range gone {
		h.vanish(u, "")
	}
	for _, c := range slices.Clone(h.slots) {
		if c != nil && len(c.members) == 0 && c.registered == nil && c.net.mayEnd() {
			h.remove(c)
		}
	}
	for r := range n.early {
		if r.Node == name && r.epoch() <= at.member.Epoch { // of its next life, a seat may be here first
			delete(n.early, r)
		}
	}
	h.adoptOrphans()
	for _, g := range n.sortedGrants() {
		if g.asked[at] {
			delete(g.asked, at)
			h.tryOwn(g)
		}
	}
	var lost []*run
	for _, r := range n.runs {
		if r.node == at {
			lost = append(lost, r)
		}
	}
	h.failRuns(lost)
	h.failPosts(at)
	h.fillVacancies()
}

// showSplit shows that users of a node are gone, as a batch (ircv3.net/specs/batches/netsplit).
func (h *Hall) showSplit(at *node, users []*user) {
	if len(users) == 0 {
		return
	}
	self, other := string(h.net.self.Node), string(at.member.Node)
	batch := &Item{Need: CapBatch}
	for _, u := range users {
		for _, m := range u.channels {
			if !slices.Contains(batch.Channels, m.seenBy()) {
				batch.Channels = append(batch.Channels, m.seenBy())
			}
		}
	}
	if len(batch.Channels) == 0 {
		return
	}
	id := MsgID(h.nextID())
	h.giveHere(batch.of(h.batchLine("+"+id, "netsplit", self, other)))
	for _, u := range users {
		h.showQuit(u, id, self+" "+other)
	}
	h.giveHere(batch.of(h.batchLine("-" + id)))
}

func (h *Hall) batchLine(params ...string) *ircmsg.Line {
	return h.line(nil, ircmsg.Body{Message: ircmsg.Message{Source: h.config.Name, Command: "BATCH", Params: params}})
}

// of returns an item for the same sessions with another line.
func (i *Item) of(line *ircmsg.Line) *Item {
	return &Item{Channels: i.Channels, Need: i.Need, Lines: lines(line)}
}

// showQuit shows those here that a user is gone, within a batch if it has a name.
func (h *Hall) showQuit(u *user, batch, reason string) {
	tags := h.tags(u, "")
	if batch != "" {
		tags = append(tags, ircmsg.Tag{Key: "batch", Value: batch, Need: CapBatch})
	}
	m := ircmsg.Message{Source: u.source, Command: "QUIT", Params: []string{reason}, Text: true}
	h.giveHere(h.toNeighbours(u, nil, h.line(tags, ircmsg.Body{Message: m})))
}

// fence stops to own anything: the own lease is over.
func (h *Hall) fence() {
	n := h.net
	n.live = false
	grants := n.sortedGrants()
	vacancies := n.vacancies
	n.vacancies = nil
	clear(n.grants)
	clear(n.nicks)
	for _, c := range h.slots {
		if c != nil {
			c.net.mine = false
		}
	}
	for _, u := range h.everyone {
		if u.net.node == nil {
			u.net.told = false
		}
	}
	for len(n.order) > 0 {
		h.nodeDown(n.order[0])
	}
	clear(n.early) // all comes again
	for _, g := range grants {
		g.answer("", fabric.ErrFenced)
	}
	for _, v := range vacancies {
		if v.next != nil {
			v.next(fabric.ErrFenced)
		}
	}
}

// A returning is a membership that the owner of the channel does not know: of before a lease, here or
// there.
type returning struct {
	member *member
	sent   int64
}

// goBackEvery is how long the answer of an owner is waited for, in milliseconds.
const goBackEvery = 2000

// comeBack claims the nicks of the users that are here, and takes them back into their
// channels. Who has lost the nick meanwhile has to go.
func (h *Hall) comeBack() {
	for _, u := range slices.Clone(h.everyone) {
		if u.net.node == nil {
			h.net.introduce(u, false)
			h.claimAgain(u)
		}
	}
}

func (h *Hall) claimAgain(u *user) {
	n, key, lease := h.net, h.nickKey(u.nick()), h.net.self.Epoch
	n.nicks[key] = true
	n.claim(nickKeyOf(key), func(err error) {
		switch present := n.here[u.net.number] == u && lease == n.self.Epoch; {
		case !present:
			if lease == n.self.Epoch && err == nil && !n.nicks[key] {
				n.wire.Release(nickKeyOf(key)) // given back before it was had, which had no effect then
			}
		case errors.Is(err, fabric.ErrTaken):
			delete(n.nicks, key)
			h.lose(u)
		case errors.Is(err, fabric.ErrUnavailable):
			h.claimAgain(u)
		case err == nil:
			h.present(u)
		}
	})
}

// lose takes a user off who has lost its nick to another node while this one had no lease.
func (h *Hall) lose(u *user) {
	const reason = "Nickname is in use since the network was cut"
	h.removeUser(u, reason, func(own *session) { h.end(own, reason, "") })
}

// isUnconfirmed says whether a user of this node has not got its nick again yet, since its node was cut
// off: another one may have it. It does nothing in a channel, since the other nodes do not know it.
func (u *user) isUnconfirmed() bool { return u != nil && u.net.node == nil && !u.net.told }

// makeWay takes a user of this node off who has not got its nick again yet, when one of another node
// comes who has it: two of one name, and clients took what is shown of the other for their own.
func (h *Hall) makeWay(nick string) {
	if u := h.find(nick); u.isUnconfirmed() {
		h.lose(u)
	}
}

// present lets the network know of a user that was here before the lease.
func (h *Hall) present(u *user) {
	n := h.net
	n.introduce(u, true)
	for _, m := range u.channels {
		n.willReturn(m)
	}
	h.sendChanged()
	h.goBack()
}

// willReturn notes that a member is to go back.
func (n *network) willReturn(m *member) {
	if n.coming[m] == nil {
		r := &returning{member: m}
		n.returns = append(n.returns, r)
		n.coming[m] = r
	}
}

// isReturning says whether a member is one for the owner of the channel only later.
func (h *Hall) isReturning(m *member) bool {
	return m.user.net.node == nil && (!m.user.net.told || h.net.coming[m] != nil)
}

// isBack notes that the owner knows a member.
func (h *Hall) isBack(m *member) {
	if r := h.net.coming[m]; r != nil {
		delete(h.net.coming, m)
		h.net.returns = without(h.net.returns, r)
	}
}

// backOp asks the owner of a channel to take a member back. The channel is as it was known
// there, for the case that it is nowhere else.
type backOp struct {
	User  uint64 `json:"u"`
	Rank  Rank   `json:"r,omitempty"`
	Split string `json:"s"`
	State *state `json:"k"`
}

// goBack takes members back to their channels.
func (h *Hall) goBack() {
	n := h.net
	for _, r := range slices.Clone(n.returns) {
		m := r.member
		switch {
		case m.user.in(m.channel) != m:
			h.isBack(m)
		case m.channel.net.mine:
			h.isBack(m)
			h.seatedAgain(m)
			h.spreadFar(h.returnItem(m), nil) // nobody here has seen them go
		case !n.live || r.sent != 0 && h.now-r.sent < goBackEvery:
		default:
			r.sent = h.now
			h.goBackTo(m)
		}
	}
}

func (h *Hall) goBackTo(m *member) {
	n, c := h.net, m.channel
	to := c.net.owner
	if to == nil {
		home, _ := fabric.Home(fold(c.name), n.members())
		to = n.nodes[home.Node]
	}
	if to != nil {
		n.post(to, "back", backOp{m.user.net.number, m.rank, n.split, h.state(c)}, nil)
		return
	}
	h.acquire(fold(c.name), func(fabric.Node, error) {})
}

func (h *Hall) gotBack(from *node, b *backOp) {
	u := from.users[b.User]
	if u == nil {
		return
	}
	name := fold(b.State.Kept.Name)
	h.acquire(name, func(holder fabric.Node, err error) {
		if holder == "" && err == nil && from.users[b.User] == u {
			h.takeBack(from, u, b)
		}
	})
}

// takeBack makes a user a member again who was one before its node was cut off. The rank is
// the one from then only where the channel is: nobody becomes an operator by a cut.
func (h *Hall) takeBack(from *node, u *user, b *backOp) {
	c := h.channels[fold(b.State.Kept.Name)]
	rank := b.Rank
	switch {
	case c == nil:
		c = h.create(b.State.Kept.Name)
		h.setState(c, b.State)
		c.net.split = b.Split
		h.noteChannel(c)
	case c.net.split != b.Split:
		rank = c.registered.grants(u.account)
	}
	m := u.in(c)
	if m != nil {
		h.seatedAgain(m)
		return
	}
	if rank == 0 && h.bannedFrom(c, u) {
		h.net.post(from, "out", inChannel{Channel: fold(c.name), User: u.net.number}, nil)
		return
	}
	m = h.add(c, u, rank)
	item := h.returnItem(m)
	m.since = h.lastID
	h.giveHere(item)
	h.spreadFar(item, from) // its sessions have seen nobody go
}

// returnItem shows a member who is there again.
func (h *Hall) returnItem(m *member) *Item {
	item := newItem(h.joinLine(m.user, m.channel))
	item.to(m.seenBy())
	if m.rank != 0 {
		item.Lines = lines(append(item.Lines, h.fromServer("MODE", rankParams(m.channel, m.user, m.rank)...))...)
	}
	return item
}

// gotOut takes a member off that may not come back.
func (h *Hall) gotOut(_ *node, o *inChannel) {
	m := h.net.here[o.User].in(h.channels[o.Channel])
	if m == nil {
		return
	}
	h.isBack(m)
	h.showPart(m)
	h.detach(m)
}

// after returns the next number of a message after one: those of this node have its slot.
func (n *network) after(last int64) int64 {
	return (last>>slotBits+1)<<slotBits | n.slot
}
