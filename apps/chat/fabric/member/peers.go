package member

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/epinet/epi/apps/chat/fabric"
)

// A peer is what a member knows of another node.
type peer struct {
	member fabric.Member // with the last epoch that is known
	up     bool          // the handler had Up; only while the own node has a lease

	rev   uint64        // the last revision of its record that is known
	fresh time.Duration // since when that is known: its lease was renewed then or earlier
	ever  bool          // seen is a time
	seen  time.Duration // its last hello

	sent uint64 // number of the last message to it, within both epochs
	got  uint64 // number of the last message from it

	burying bool // an operation on its record is under way
}

func (p *peer) seenWithin(now, d time.Duration) bool { return p.ever && now-p.seen < d }

// peer returns what is known of a node; a node that was not known is added.
func (m *Member) peer(name fabric.Node) *peer {
	i, found := slices.BinarySearchFunc(m.peers, name, func(p *peer, name fabric.Node) int {
		return strings.Compare(string(p.member.Node), string(name))
	})
	if !found {
		m.peers = slices.Insert(m.peers, i, &peer{member: fabric.Member{Node: name}})
	}
	return m.peers[i]
}

// know takes over what the store has about another node. It returns nil if that has no
// lease.
func (m *Member) know(name fabric.Node, r record, revision uint64) *peer {
	if r.Over {
		m.over(name, r.Epoch)
		return nil
	}
	if r.Epoch > 0 {
		m.over(name, r.Epoch-1)
	}
	if r.Epoch <= m.buried[name] {
		return nil // the replica is behind
	}
	p := m.peer(name)
	if r.Epoch > p.member.Epoch {
		p.member = fabric.Member{Node: name, Epoch: r.Epoch, Version: r.Version}
		p.sent, p.got = 0, 0
	}
	p.renewed(revision, m.clock())
	return p
}

func (p *peer) renewed(revision uint64, now time.Duration) {
	if revision > p.rev {
		p.rev, p.fresh = revision, now
	}
}

// over notes that all epochs of a node up to the given one have ended.
func (m *Member) over(name fabric.Node, epoch fabric.Epoch) {
	if epoch <= m.buried[name] {
		return
	}
	m.buried[name] = epoch
	i := slices.IndexFunc(m.peers, func(p *peer) bool { return p.member.Node == name })
	if i < 0 || m.peers[i].member.Epoch > epoch {
		return
	}
	p := m.peers[i]
	if p.up {
		member := p.member
		m.Call(func(h fabric.Handler) { h.Down(member) })
	}
	m.peers = slices.Delete(m.peers, i, i+1)
}

// isOver says whether an epoch is known to have ended, and whether it is known to
// last. It may be neither.
func (m *Member) isOver(name fabric.Node, epoch fabric.Epoch) (over, lasts bool) {
	if epoch <= m.buried[name] {
		return true, false
	}
	if name == m.config.Node {
		return epoch < m.self.Epoch, epoch == m.self.Epoch
	}
	for _, p := range m.peers {
		if p.member.Node == name {
			return epoch < p.member.Epoch, p.up && epoch == p.member.Epoch
		}
	}
	return false, false
}

// beat says hello to all who are known, and to all who are not.
func (m *Member) beat() {
	for _, p := range m.peers {
		m.greet(p)
	}
	m.wire.Publish(helloFrame(m.self, 0, 0, m.revision))
}

func (m *Member) greet(p *peer) {
	m.wire.Send(p.member.Node, helloFrame(m.self, p.member.Epoch, p.sent, m.revision))
}

// bury ends the leases of those that have not renewed them.
func (m *Member) bury() {
	now := m.clock()
	for _, p := range m.peers {
		if !p.burying && p.rev != 0 && now-p.fresh >= m.config.Lease {
			m.buryOne(p)
		}
	}
}

func (m *Member) buryOne(p *peer) {
	p.burying = true
	dead := p.member
	value := encode(record{Epoch: dead.Epoch, Over: true, Version: dead.Version})
	m.store.Update(nodeKey(dead.Node), value, p.rev, func(_ uint64, err error) {
		p.burying = false
		switch {
		case err == nil:
			m.over(dead.Node, dead.Epoch)
			m.wire.Publish(overFrame(m.self, dead.Node, dead.Epoch))
		case errors.Is(err, ErrConflict):
			m.exhume(p)
		}
	})
}

// exhume looks why a node could not be buried.
func (m *Member) exhume(p *peer) {
	p.burying = true
	m.store.Get(nodeKey(p.member.Node), func(value []byte, revision uint64, err error) {
		p.burying = false
		if err != nil {
			return
		}
		if m.know(p.member.Node, readRecord(value, revision), revision) == p {
			m.deaf(p)
		}
	})
}

// deaf gives up the own lease if a member that is older than this one is alive but its
// hellos do not come.
func (m *Member) deaf(p *peer) {
	if m.held() && p.member.Epoch < m.self.Epoch && !p.seenWithin(m.clock(), m.config.Lease) {
		m.fence()
	}
}

// Receive takes a frame that has come over the wire.
func (m *Member) Receive(data []byte) {
	if m.closed {
		return
	}
	m.checkLease()
	f, ok := parse(data)
	if !ok || f.from.Node == m.config.Node {
		return
	}
	switch f.kind {
	case frameHello:
		m.hello(f)
	case frameOver:
		m.epochOver(f)
	case frameData:
		m.data(f)
	}
}

func (m *Member) hello(f frame) {
	if f.from.Epoch == 0 { // it wants to join, and must know who is there
		if m.held() {
			m.wire.Send(f.from.Node, helloFrame(m.self, 0, 0, m.revision))
		}
		return
	}
	if f.from.Epoch <= m.buried[f.from.Node] {
		return
	}
	m.over(f.from.Node, f.from.Epoch-1)
	p := m.peer(f.from.Node)
	known := p.member
	p.member = f.from
	now := m.clock()
	p.renewed(f.revision, now)
	p.ever, p.seen = true, now
	if !m.held() {
		return
	}
	if !p.up || known.Draining != f.from.Draining {
		p.up = true
		m.Call(func(h fabric.Handler) { h.Up(f.from) })
	}
	if f.to != m.self.Epoch {
		if f.to == 0 && known.Epoch == f.from.Epoch {
			return // for all
		}
		m.greet(p) // it does not know this epoch
		return
	}
	m.expect(p, f.number+1)
}

// epochOver takes a node's word that an epoch is over, which it has from the result of a
// write.
func (m *Member) epochOver(f frame) {
	if f.node != m.config.Node {
		m.over(f.node, f.epoch)
		return
	}
	if m.held() && f.epoch >= m.self.Epoch {
		m.fence()
	}
}

func (m *Member) data(f frame) {
	if !m.held() || f.to != m.self.Epoch {
		return
	}
	i := slices.IndexFunc(m.peers, func(p *peer) bool { return p.member.Node == f.from.Node })
	if i < 0 || !m.peers[i].up || m.peers[i].member.Epoch != f.from.Epoch || f.number <= m.peers[i].got {
		return
	}
	p := m.peers[i]
	m.expect(p, f.number)
	p.got = f.number
	from := p.member
	m.Call(func(h fabric.Handler) { h.Received(from, f.payload) })
}

// expect notes which number the next message of a peer has.
func (m *Member) expect(p *peer, next uint64) {
	if next <= p.got+1 {
		return
	}
	p.got = next - 1
	from := p.member
	m.Call(func(h fabric.Handler) { h.Gap(from) })
}

// Send sends a message to a member.
func (m *Member) Send(to fabric.Node, data []byte) error {
	if len(data) > fabric.MaxMessage {
		return fabric.ErrTooLarge
	}
	if !m.Valid() {
		return fabric.ErrFenced
	}
	for _, p := range m.peers {
		if p.member.Node == to && p.up {
			m.send(p, data)
			return nil
		}
	}
	return fabric.ErrDown
}

// Broadcast sends a message to all other members, and returns how many those are.
func (m *Member) Broadcast(data []byte) (sent int, err error) {
	if len(data) > fabric.MaxMessage {
		return 0, fabric.ErrTooLarge
	}
	if !m.Valid() {
		return 0, fabric.ErrFenced
	}
	for _, p := range m.peers {
		if p.up {
			m.send(p, data)
			sent++
		}
	}
	return sent, nil
}

func (m *Member) send(p *peer, data []byte) {
	p.sent++
	m.wire.Send(p.member.Node, dataFrame(m.self, p.member.Epoch, p.sent, data))
}
