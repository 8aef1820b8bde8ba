package epi

import (
	"time"

	"github.com/epinet/epi/internal/driver"
)

const (
	// packetAgain is the pause before a Unix peer whose queue was full is tried
	// again. Nothing reports when it has room: the sending socket, which is not
	// connected, is writable all the time (unix(7)).
	packetAgain = 2 * time.Millisecond
	// packetPatience is how long it may stay full before it loses what waits.
	packetPatience = time.Second
	// packetShare is the part of Engine.PacketQueue that may wait for one such
	// peer, a quarter, and the part that is kept for the others: else those that
	// do not read would have all of it, and nobody an answer.
	packetShare = 4
)

// busyPeers is the datagrams of peers that have no room for them at present. They
// are set aside so that the others' go on, in an order that is kept for each
// peer:
//
//	sending ── ErrBusy ──► aside ── retry ──► sending, before all others
//
// It belongs to the loop.
type busyPeers struct {
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
func (w *busyPeers) without(c *PacketConn) []driver.Datagram {
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
func (w *busyPeers) full(batch []driver.Datagram) bool {
	if len(batch) == 0 {
		return false
	}
	p := w.peers[batch[0].Peer]
	return p != nil && p.now
}

// move sets the first datagram of c.sending aside, or drops it where its peer has
// its share of the queue.
func (w *busyPeers) move(c *PacketConn) {
	d := c.sending.rest()[0]
	p, cost := w.peers[d.Peer], packetCost(d.Bytes)
	share := c.loop.cfg.packetQueue / packetShare
	if p.aside > 0 && p.aside+cost > share || w.total > 0 && w.total+cost > c.loop.cfg.packetQueue-share {
		c.loop.count.packetsDropped.Add(1)
		c.dequeue(1, len(d.Bytes))
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
	c.loop.schedule(&c.timer, c.loop.cfg.Clock()+int64(packetAgain))
}

// took notes that the peers of a batch had room.
func (w *busyPeers) took(batch []driver.Datagram) {
	if len(w.peers) == 0 {
		return
	}
	for i := range batch {
		delete(w.peers, batch[i].Peer)
	}
}

// retry lets what was set aside be tried again, and drops it where the peer had
// no room for too long.
func (w *busyPeers) retry(c *PacketConn, now int64) {
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
func (w *busyPeers) dropLate(c *PacketConn, watched int64) {
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

const (
	// crowdShare is the part of a Unix socket's send buffer beyond which it is
	// crowded, and the part that is kept for peers without a record: a quarter.
	crowdShare = 4
	// bitShare is the part of what is left that one datagram may take, to a peer that
	// has not proved to read: together those never use it up, however many they are.
	bitShare = 8
	// crowdRecord is more than what a datagram takes of the send buffer besides
	// twice its bytes: the kernel rounds them up and adds its own.
	crowdRecord = 1024
	// trialPause is the pause before a peer that has not proved to read is given
	// another datagram all the same. It is four times as long each time.
	trialPause = 2 * time.Millisecond
	// fewTrials of a peer may use the reserve, and maxTrials end the growth of
	// the pause, at 2 s.
	fewTrials, maxTrials = 2, 5
	// maxTried bounds the peers that a crowded socket has a record of.
	maxTried = 1024
)

// A crowd watches the send buffer of a Unix socket that answers many peers. What
// they have not read is held there, and counts towards that one buffer (unix(7)):
// a peer that is connected to the socket and does not read could fill all of it,
// and then nobody has an answer.
//
// Nothing shows who holds how much; only the sum can be asked (SIOCOUTQ). So while
// the sum is above a quarter, each peer has one datagram at a time, and the next
// when the sum has fallen to what it was before that one: which it does as soon as
// the peer reads, because those that do not are not given more. A trial after a
// pause helps where the sum has risen for another reason.
//
//	held ── ≤ 1/4 ──► everybody, in batches
//	     ── > 1/4 ──► one datagram for each peer, until it has read it
//	     ── > 3/4 ──► those alone that have proved to read
//
// Of what is left up to three quarters, a datagram to a peer without that proof may
// take an eighth: many peers that never read, each with its one large datagram, leave
// room for the small ones of the others.
//
// It belongs to the loop.
type crowd struct {
	room   int // of the send buffer; 0 where it does not matter or is not known
	unread int // what the peers had not read when that was asked last
	since  int // no less than what was sent since then
	trials map[driver.Endpoint]trial
	said   throttle
}

// A trial is a datagram that a peer was given while the socket was crowded.
type trial struct {
	level int   // what was held before
	again int64 // when it may be given another, though it has not proved to read
	count int   // trials without such a proof
	reads bool  // it has given one before
}

// admit returns the first datagrams of a batch that may leave now. When that is
// none, the first one's peer has to wait.
func (c *PacketConn) admit(batch []driver.Datagram) []driver.Datagram {
	w := &c.crowd
	if w.room == 0 || len(batch) == 0 {
		return batch
	}
	n, _ := fitting(batch, w.room/crowdShare-w.unread-w.since)
	if n == len(batch) {
		return batch
	}
	w.unread, _ = c.loop.drv.UnreadByPeers(&c.sock)
	w.since = 0
	if w.unread <= w.room/crowdShare {
		clear(w.trials)
		n, _ = fitting(batch, w.room/crowdShare-w.unread)
		return batch[:max(n, 1)]
	}
	_, cost := fitting(batch[:1], w.room)
	if w.tries(batch[0].Peer, cost, c.loop.cfg.Clock()) {
		return batch[:1]
	}
	c.holdBack(batch[0])
	return nil
}

// fitting returns how many of the datagrams fit into so much room, and what those
// take of it.
func fitting(batch []driver.Datagram, room int) (n, cost int) {
	for n < len(batch) {
		next := cost + 2*len(batch[n].Bytes) + crowdRecord
		if next > room {
			break
		}
		n, cost = n+1, next
	}
	return n, cost
}

// tries reports whether a peer of a crowded socket may have a datagram, and makes
// a record of that.
func (w *crowd) tries(peer driver.Endpoint, cost int, now int64) bool {
	t, known := w.trials[peer]
	proved := known && w.unread <= t.level
	left := w.room - w.room/crowdShare - w.unread
	switch {
	case proved:
		t.count, t.reads = 0, true
	case known && now < t.again:
		return false
	case t.reads && (t.count <= fewTrials || cost <= left):
	case cost > left/bitShare:
		return false
	}
	t.level = w.unread
	t.again = now + int64(trialPause)<<(2*t.count)
	t.count = min(t.count+1, maxTrials)
	if w.trials == nil || len(w.trials) >= maxTried {
		w.trials = map[driver.Endpoint]trial{}
	}
	w.trials[peer] = t
	return true
}

// busy answers that there was no room for a datagram: its peer has none, or the
// socket has none for anybody.
func (c *PacketConn) busy(d driver.Datagram) {
	if unread, _ := c.loop.drv.UnreadByPeers(&c.sock); c.crowd.room > 0 && unread >= c.crowd.room {
		c.crowd.unread, c.crowd.since = unread, 0
		c.holdBack(d)
		return
	}
	c.setAside(d)
}

// holdBack holds a datagram back, as one whose peer has no room.
func (c *PacketConn) holdBack(d driver.Datagram) {
	c.loop.count.packetsCrowded.Add(1)
	if c.crowd.said.allow(c.loop.cfg.Clock()) {
		c.loop.cfg.log.Warn("peers that do not read fill the send buffer of a packet socket",
			"address", c.LocalAddr().String(), "loop", c.loop.id, "peer", PacketAddr(d.Peer).String(),
			"unread", c.crowd.unread, "room", c.crowd.room)
	}
	c.setAside(d)
}
