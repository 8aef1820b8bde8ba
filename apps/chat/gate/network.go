package gate

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/apps/chat/fabric"
	"github.com/epinet/epi/apps/chat/hall"
)

// networked is a desk's part in a network of several machines. All but news, leased and live belongs to
// the desk's loop.
type networked struct {
	fabric fabric.Fabric // nil: this machine is alone
	self   fabric.Node
	leased fabric.Epoch // that was reported last; of the fabric's goroutine
	epoch  fabric.Epoch // of the lease that the hall knows, 0: none
	first  fabric.Epoch // of the first lease of this process, 0: it has had none
	live   atomic.Bool  // as Hall.InNetwork says
	// catchUp is that of Config; it does not change.
	catchUp func(context.Context) error
	news    mailbox

	journals [fabric.Shards]journal
	appends  appends
	sharing  sharing
	readings [fabric.Shards]reading
	others   atomic.Uint64 // nodes that have come so far
	batch    *batch        // of the news that is applied; nil: it has come from node to node
}

// A mailbox has what the fabric has called its handler for, and the hall does not know yet.
type mailbox struct {
	mu     sync.Mutex
	room   sync.Cond
	list   []newsOf     // guarded by mu
	posted bool         // guarded by mu; the desk has been asked to look
	ended  bool         // guarded by mu; the desk's loop looks no more
	copies atomic.Int64 // messages of other nodes that are not durable here yet
}

// newsOf is news of the fabric, or of a batch of the replicated history.
type newsOf struct {
	hall.News
	batch *batch
}

// maxNews is how much waits for the hall before the fabric does.
const maxNews = 1024

// maxCopies is how many messages of other nodes wait for the disk before the replicated
// history is read on. A store refuses what is far more than that, and would miss it for good.
const maxCopies = 10_000

// join makes the hall one of a network. Its first event comes later.
func (d *desk) join(f fabric.Fabric) {
	d.net.fabric, d.net.self = f, f.Self().Node
	d.net.news.room.L = &d.net.news.mu
	d.hall.Join(d)
}

// startNetwork lets the fabric begin.
func (d *desk) startNetwork() error {
	if d.net.fabric == nil {
		return nil
	}
	config := d.server.config.Load()
	if err := d.openReadings(config.History); err != nil {
		return err
	}
	if err := d.openSharing(config.History, config.Kept.Last); err != nil {
		return err
	}
	if err := d.loop.Do(d.keepTicking); err != nil {
		return err
	}
	return d.net.fabric.Start((*reporter)(d))
}

// checkLease fences the hall as soon as the lease is over by the clock. The fabric says so,
// too, but may say it later: after a time in which the process was stopped, what clients
// have sent meanwhile may come first.
func (d *desk) checkLease() {
	if d.net.epoch == 0 || d.net.fabric.Valid() {
		return
	}
	d.net.epoch = 0
	d.net.live.Store(false)
	d.hall.Apply(&hall.Event{Kind: hall.Networked, At: d.server.nowMillis(), News: &hall.News{Kind: hall.Fenced}})
}

// read gives the hall what the fabric has said.
func (d *desk) read() {
	m := &d.net.news
	m.mu.Lock()
	list := m.list
	m.list, m.posted = nil, false
	m.room.Broadcast()
	m.mu.Unlock()
	for i := range list {
		switch list[i].Kind {
		case hall.Leased:
			d.net.epoch = list[i].From.Epoch
			if d.net.first == 0 {
				d.net.first = d.net.epoch
			}
			d.readSoon()
			d.share()
		case hall.NodeUp:
			d.readSoon()
			d.noteUp()
		case hall.NodeMissed:
			d.readSoon()
		case hall.Fenced:
			d.net.epoch = 0
		}
		d.net.batch = list[i].batch
		d.apply(&hall.Event{Kind: hall.Networked, News: &list[i].News})
		if d.net.batch != nil {
			d.net.batch.end(nil)
			d.net.batch = nil
		}
		d.net.live.Store(d.hall.InNetwork())
	}
}

// InNetwork says whether this machine is one of its network: clients are let in. It may be called
// from any goroutine.
func (s *Server) InNetwork() bool { return s.desk.net.live.Load() }

// Carry is a method of hall.Wire.
func (d *desk) Carry(to fabric.Node, data []byte, records []int64) {
	d.do(op{kind: opRun, run: func() {
		_ = d.net.fabric.Send(to, data) // a node that is down needs it no more
	}}, d.keepings(records...)...)
}

// Claim is a method of hall.Wire.
func (d *desk) Claim(number uint64, key fabric.Key) {
	d.net.fabric.Claim(key, func(_ fabric.Claim, err error) {
		(*reporter)(d).report(hall.News{Kind: hall.ClaimEnded, Number: number, Err: err})
	})
}

// Release is a method of hall.Wire.
func (d *desk) Release(key fabric.Key) {
	d.net.fabric.Release(fabric.Claim{Key: key, Epoch: d.net.epoch})
}

// Changed gives the hall what all nodes keep and one of them has changed. It may be called
// from any goroutine but the engine's, and waits while the hall is too far behind.
func (s *Server) Changed(c hall.Change) {
	(*reporter)(s.desk).report(hall.News{Kind: hall.Changed, Change: c})
}

// A reporter is the fabric's handler: it brings to the desk's loop what happens in the
// network, in order.
type reporter desk

// keptTimeout bounds how long a node that begins waits for what the others have kept.
const keptTimeout = 10 * time.Second

// retryTask is when a task is offered to the loop again that had too many.
const retryTask = time.Millisecond

// report waits while the hall is too far behind.
func (r *reporter) report(n hall.News) { r.reportOf(nil, n) }

// reportOf is report, and waits with what is of a batch while the disk is too far behind.
func (r *reporter) reportOf(b *batch, n hall.News) {
	m := &r.net.news
	m.mu.Lock()
	defer m.mu.Unlock()
	for (len(m.list) >= maxNews || b != nil && m.copies.Load() >= maxCopies) && !m.ended {
		m.room.Wait()
	}
	if m.ended {
		return
	}
	m.list = append(m.list, newsOf{n, b})
	for !m.posted && !m.ended {
		err := r.loop.Do((*desk)(r).read)
		switch {
		case err == nil:
			m.posted = true
		case errors.Is(err, epi.ErrTooManyTasks):
			m.mu.Unlock()
			time.Sleep(retryTask)
			m.mu.Lock()
		default:
			m.ended = true
			m.room.Broadcast()
		}
	}
}

// copyEnded lets the replicated history be read on when there is room again.
func (m *mailbox) copyEnded() {
	if m.copies.Add(-1) != maxCopies-1 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.room.Broadcast()
}

// endNetwork lets nobody wait for the desk any more.
func (d *desk) endNetwork() {
	m := &d.net.news
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended = true
	if m.room.L != nil {
		m.room.Broadcast()
	}
}

// Up is a method of fabric.Handler.
func (r *reporter) Up(m fabric.Member) {
	kind := hall.NodeUp
	if m.Node == r.net.self && m.Epoch != r.net.leased {
		kind = hall.Leased
		if r.net.leased == 0 {
			r.catchUpKept()
		}
		r.net.leased = m.Epoch
	}
	r.report(hall.News{Kind: kind, From: m})
	if kind == hall.Leased {
		r.replay()
	}
}

// catchUpKept waits before the hall may own anything until it knows what all nodes keep: the
// store of a node that was away is old.
func (r *reporter) catchUpKept() {
	if r.net.catchUp == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), keptTimeout)
	defer cancel()
	if err := r.net.catchUp(ctx); err != nil {
		r.server.config.Load().Log.Warn("what other nodes have kept is not here yet: channels may be as this node knew them", "error", err)
	}
}

// Down is a method of fabric.Handler.
func (r *reporter) Down(m fabric.Member) { r.report(hall.News{Kind: hall.NodeDown, From: m}) }

// Received is a method of fabric.Handler.
func (r *reporter) Received(from fabric.Member, data []byte) {
	if len(data) == 1 && data[0] == hall.ReadAgain {
		r.replay()
		return
	}
	r.report(hall.News{Kind: hall.NodeSaid, From: from, Data: data})
}

// Gap is a method of fabric.Handler.
func (r *reporter) Gap(from fabric.Member) {
	r.report(hall.News{Kind: hall.NodeMissed, From: from})
	r.replay()
}

// Fenced is a method of fabric.Handler.
func (r *reporter) Fenced() { r.report(hall.News{Kind: hall.Fenced}) }
