package epi

import (
	"time"

	"github.com/epinet/epi/internal/driver"
)

const (
	// packetAgain is the pause before a Unix peer whose queue was full is tried
	// again. Nothing tells when it has room: the sending socket, which is not
	// connected, is writable all the time (unix(7)).
	packetAgain = 2 * time.Millisecond
	// packetPatience is how long it may stay full before it loses what waits.
	packetPatience = time.Second
	// packetShare is the part of Engine.PacketQueue that may wait for one such
	// peer, a quarter, and the part that is kept for the others: else those that
	// do not read would have all of it, and nobody an answer.
	packetShare = 4
)

// waiting is the datagrams of peers that have no room for them at present. They
// are set aside so that the others' go on, in an order that is kept for each
// peer:
//
//	sending ── ErrBusy ──► aside ── retry ──► sending, before all others
//
// It belongs to the loop.
type waiting struct {
	peers map[driver.Endpoint]*fullPeer // nil when there are none
	aside *packetQueue
	total int // the cost of what is aside
}

// A fullPeer is one that had no room.
type fullPeer struct {
	since int64 // on the clock of Loop.Watched
	now   bool  // not to be tried before the retry
	aside int   // the cost of what is set aside for it
}

// without returns the first datagrams of c.sending that are for peers which have
// room, as far as is known, and sets aside those before them.
func (w *waiting) without(c *PacketConn) []driver.Datagram {
	if len(w.peers) == 0 {
		return c.sending.rest()
	}
	for w.full(c.sending.rest()) {
		w.move(c)
	}
	batch := c.sending.rest()
	for i := range batch {
		if w.full(batch[i:]) {
			return batch[:i]
		}
	}
	return batch
}

// full reports whether the first of batch cannot be sent now.
func (w *waiting) full(batch []driver.Datagram) bool {
	if len(batch) == 0 {
		return false
	}
	p := w.peers[batch[0].Peer]
	return p != nil && p.now
}

// move sets the first datagram of c.sending aside, or drops it where its peer has
// its share of the queue.
func (w *waiting) move(c *PacketConn) {
	d := c.sending.rest()[0]
	p, cost := w.peers[d.Peer], packetCost(d.Bytes)
	share := c.loop.cfg.packetQueue / packetShare
	if p.aside > 0 && p.aside+cost > share || w.total > 0 && w.total+cost > c.loop.cfg.packetQueue-share {
		c.loop.count.packetsDropped.Add(1)
		c.leave(1, len(d.Bytes))
		return
	}
	p.aside += cost
	w.total += cost
	if w.aside == nil {
		w.aside = c.loop.packetQueues.get()
	}
	w.aside.add(&c.loop.pool, d)
	c.sending.first++
}

// setAside notes that the peer of the first datagram, d, has no room.
func (c *PacketConn) setAside(d driver.Datagram) {
	w := &c.waiting
	if w.peers == nil {
		w.peers = map[driver.Endpoint]*fullPeer{}
	}
	p := w.peers[d.Peer]
	if p == nil {
		p = &fullPeer{since: c.loop.now()}
		w.peers[d.Peer] = p
	}
	p.now = true
	c.loop.schedule(&c.timer, clock()+int64(packetAgain))
}

// took notes that the peers of a batch had room.
func (w *waiting) took(batch []driver.Datagram) {
	if len(w.peers) == 0 {
		return
	}
	for i := range batch {
		delete(w.peers, batch[i].Peer)
	}
}

// retry lets what was set aside be tried again, and drops it where the peer had
// no room for too long.
func (w *waiting) retry(c *PacketConn, now int64) {
	if len(w.peers) == 0 {
		return
	}
	watched := c.loop.looked()
	if c.later != nil {
		c.loop.schedule(&c.timer, now+int64(packetAgain)) // the last retry is not over
		return
	}
	if w.aside != nil {
		w.dropLate(c, watched)
		c.later, c.sending = c.sending, w.aside
		w.aside, w.total = nil, 0
	}
	for peer, p := range w.peers {
		p.now, p.aside = false, 0
		if p.late(watched) {
			delete(w.peers, peer)
		}
	}
	c.request()
}

func (p *fullPeer) late(watched int64) bool { return watched-p.since >= int64(packetPatience) }

// dropLate takes out of what was set aside the datagrams of peers whose time is
// over.
func (w *waiting) dropLate(c *PacketConn, watched int64) {
	kept := w.aside.datagrams[:0]
	for _, d := range w.aside.rest() {
		if w.peers[d.Peer].late(watched) {
			c.loop.count.packetsDropped.Add(1)
			c.unqueue(1, len(d.Bytes))
			continue
		}
		kept = append(kept, d)
	}
	clear(w.aside.datagrams[len(kept):])
	w.aside.datagrams = kept
}
