package epi

import (
	"errors"
	"slices"
	"sync"

	"github.com/epinet/epi/internal/driver"
)

// A Group is connections that are written to together: a chat's channel, a
// game's region. The zero Group has no members. Its methods may be called from
// any goroutine, also inside callbacks, and never block. A connection may be in
// any number of groups; when it ends it leaves them, before OnClose is called.
//
// Send, SendExcept and Each cost one task on each loop that has members, however
// many those are. They, Add and Remove have one order, in which every loop takes
// them: two members see the messages of a group in the same order, whoever sent
// them, and a member gets those whose call came between its Add and its Remove.
// Loop.Do is part of that order as seen by the calling goroutine: what it gives
// to Do after Send runs after the message was queued.
//
// So a message is queued when the loop has come to its task, at the earliest
// when the callback that called Send has returned, and for members on the
// caller's own loop mostly in the same turn. What that callback itself writes to
// a member by Conn.Write or Conn.Send comes before it, also when it is written
// after Send; to answer behind a message, write in a function given to Loop.Do.
//
// At most Engine.MaxTasks tasks of groups wait for one loop, besides those of
// Loop.Do; what would exceed that fails with ErrTooManyTasks for all loops.
type Group struct {
	mu    sync.Mutex   // orders what is given to the loops; before Loop.mu
	parts []*groupPart // guarded by mu; one for each loop that has members
}

// A groupPart is the members of a group on one loop.
type groupPart struct {
	group   *Group
	loop    *Loop
	members []member // of the loop

	// names are the members as the last Add and Remove have left them, whose
	// tasks the loop may have yet to come to. Guarded by Group.mu.
	names map[*Conn]struct{}
}

// A member is a connection in a part of a group. It is small, and the connection
// is in it, because a send goes through all of them.
type member struct {
	conn *Conn
	in   *membership
}

// A membership is a member's place, as its connection needs it to leave. It
// belongs to the loop.
type membership struct {
	part  *groupPart
	index int         // in part.members
	next  *membership // of the same connection
}

// Add makes c a member. Adding a member again changes nothing. The errors are
// ErrClosed, when the connection is closed or closing, and ErrTooManyTasks.
func (g *Group) Add(c *Conn) error {
	if c.state.Load()&ending != 0 {
		return ErrClosed
	}
	g.mu.Lock()
	p := g.partOf(c.loop)
	if p == nil {
		p = &groupPart{group: g, loop: c.loop, names: map[*Conn]struct{}{}}
		g.parts = append(g.parts, p)
	}
	if p.has(c) {
		g.mu.Unlock()
		return nil
	}
	sleeping, err := c.loop.submitGroup(func() { p.join(c) })
	if err == nil {
		p.names[c] = struct{}{}
	}
	g.prune(p)
	g.mu.Unlock()
	if sleeping {
		c.loop.wake()
	}
	if errors.Is(err, ErrShutdown) {
		return ErrClosed // with its loop
	}
	return err
}

// Remove makes c no member any more. For one that is none it does nothing. The
// error is ErrTooManyTasks.
func (g *Group) Remove(c *Conn) error {
	g.mu.Lock()
	p := g.partOf(c.loop)
	if p == nil || !p.has(c) {
		g.mu.Unlock()
		return nil
	}
	sleeping, err := c.loop.submitGroup(func() { p.part(c) })
	if err == nil {
		delete(p.names, c)
		g.prune(p)
	}
	g.mu.Unlock()
	if sleeping {
		c.loop.wake()
	}
	if errors.Is(err, ErrShutdown) {
		return nil // it has left with the end of its loop
	}
	return err
}

// Send queues bufs for every member, as Conn.Send does: they must never change
// again. A member whose queue has no room is reset, with ErrQueueFull as the
// cause, since its stream would have a gap that no one sees; for anything else
// use Each. Members that are closing, or whose writing half is, are left out.
// The error is ErrTooManyTasks, and then no member gets the message.
func (g *Group) Send(bufs ...[]byte) error { return g.SendExcept(nil, bufs...) }

// SendExcept is Send to all members but one.
func (g *Group) SendExcept(c *Conn, bufs ...[]byte) error {
	size := 0
	for _, b := range bufs {
		size += len(b)
	}
	if size == 0 {
		return nil
	}
	bufs = slices.Clone(bufs) // the slice is the caller's
	return g.post(func(p *groupPart) { p.send(c, bufs, size) })
}

// Each calls fn for every member, on the member's loop: for those of one loop
// one after the other, for those of different loops at the same time. fn must
// not block. It is for messages that differ from member to member, and may do
// with the member what any goroutine may. A panic in it closes that member. The
// error is ErrTooManyTasks, and then fn is called for nobody.
func (g *Group) Each(fn func(*Conn)) error {
	return g.post(func(p *groupPart) { p.each(fn) })
}

// Len returns the number of members: those for which Add has returned, and
// Remove has not, whose connections have not ended.
func (g *Group) Len() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := 0
	for _, p := range g.parts {
		n += len(p.names)
	}
	return n
}

// post gives a task to every loop that has members, or to none.
func (g *Group) post(task func(*groupPart)) error {
	var sleepers [16]*Loop
	wake := sleepers[:0]
	g.mu.Lock()
	for i, p := range g.parts {
		if err := p.loop.reserveGroupTask(); err != nil {
			for _, p := range g.parts[:i] {
				p.loop.groupTasks.Add(-1)
			}
			g.mu.Unlock()
			return err
		}
	}
	for _, p := range g.parts {
		sleeping, err := p.loop.submit(func() { p.loop.groupTasks.Add(-1); task(p) }, unbounded)
		if err != nil {
			p.loop.groupTasks.Add(-1) // the loop has ended, and with it its members
		}
		if sleeping {
			wake = append(wake, p.loop)
		}
	}
	g.mu.Unlock()
	for _, l := range wake {
		l.wake()
	}
	return nil
}

// partOf returns the part on l, or nil. The caller holds mu.
func (g *Group) partOf(l *Loop) *groupPart {
	for _, p := range g.parts {
		if p.loop == l {
			return p
		}
	}
	return nil
}

// prune drops p when it has no members. Tasks that still wait for it find none.
// The caller holds mu.
func (g *Group) prune(p *groupPart) {
	if len(p.names) > 0 {
		return
	}
	if i := slices.Index(g.parts, p); i >= 0 {
		g.parts = slices.Delete(g.parts, i, i+1)
	}
}

// has reports whether c is a member for those who call from now on. The caller
// holds Group.mu.
func (p *groupPart) has(c *Conn) bool {
	_, ok := p.names[c]
	return ok
}

// forget takes c, which has ended, out of the account.
func (p *groupPart) forget(c *Conn) {
	p.group.mu.Lock()
	delete(p.names, c)
	p.group.prune(p)
	p.group.mu.Unlock()
}

// join is Add's task.
func (p *groupPart) join(c *Conn) {
	l := p.loop
	if c.state.Load()&closed != 0 {
		p.forget(c)
		return
	}
	if l.memberships == nil {
		l.memberships = map[*Conn]*membership{}
	}
	m := &membership{part: p, index: len(p.members), next: l.memberships[c]}
	l.memberships[c] = m
	p.members = append(p.members, member{c, m})
}

// part is Remove's task.
func (p *groupPart) part(c *Conn) {
	l := p.loop
	m := l.membership(c, p)
	if m == nil {
		return
	}
	if first := l.memberships[c]; first != m {
		for first.next != m {
			first = first.next
		}
		first.next = m.next
	} else if m.next != nil {
		l.memberships[c] = m.next
	} else {
		delete(l.memberships, c)
	}
	m.leave()
}

// leave gives the member's place to the last one.
func (m *membership) leave() {
	p := m.part
	last := len(p.members) - 1
	moved := p.members[last]
	p.members[m.index] = moved
	moved.in.index = m.index
	p.members[last] = member{}
	p.members = p.members[:last]
}

// membership returns that of c in p, or nil. Loop only.
func (l *Loop) membership(c *Conn, p *groupPart) *membership {
	for m := l.memberships[c]; m != nil; m = m.next {
		if m.part == p {
			return m
		}
	}
	return nil
}

// leaveGroups takes a connection that is closed out of its groups. Loop only.
func (l *Loop) leaveGroups(c *Conn) {
	first := l.memberships[c]
	if first == nil {
		return
	}
	delete(l.memberships, c)
	for m := first; m != nil; m = m.next {
		m.leave()
		m.part.forget(c)
	}
}

// turnsAtOnce is how many connections a send gives their turns under one lock.
const turnsAtOnce = 64

// send is SendExcept's task.
func (p *groupPart) send(except *Conn, bufs [][]byte, size int) {
	var room [turnsAtOnce]*Conn
	ready := room[:0]
	now := len(bufs) == 1 && p.sendsNow()
	for _, m := range p.members {
		if m.conn == except || now && m.conn.sendNow(bufs[0]) || !m.conn.share(bufs, size) {
			continue
		}
		ready = append(ready, m.conn)
		if len(ready) == cap(ready) {
			p.loop.enqueue(ready...)
			ready = room[:0]
		}
	}
	p.loop.enqueue(ready...)
	p.loop.visited += len(p.members)
}

// sendsNow reports whether a message is better sent by its task than queued: the
// members are visited once then, and not again for their turns, when they have left the
// cache. It is not while other messages of groups wait, which would leave by the same
// calls, nor with io_uring, where one call is for the sends of many connections.
func (p *groupPart) sendsNow() bool {
	l := p.loop
	return l.cfg.backend != driver.Uring && l.groupTasks.Load() == 0 && l.isCaller()
}

// sendNow sends a group's message to a connection that has nothing queued, and queues
// what the kernel does not take of it. It reports false, and does nothing, unless the
// kernel takes some. The caller is the loop, and the holder.
func (c *Conn) sendNow(p []byte) bool {
	if len(p) > c.loop.cfg.maxSend || !c.plain() || !c.takesNow(len(p)) {
		return false
	}
	n := c.loop.direct.SendNow(&c.sock, p)
	if n == 0 {
		return false
	}
	if n < len(p) {
		c.queueRest(p[n:])
	}
	c.moved(n)
	return true
}

// queueRest queues what is left of a message, before what others have queued since.
// It cannot be refused: there was room, but for that.
func (c *Conn) queueRest(p []byte) {
	c.sending = c.loop.pool.Queue()
	c.sending.Append(&c.loop.pool, p)
	c.mu.Lock()
	c.queued += len(p)
	if c.queued > c.marks().high {
		c.set(congested)
	}
	c.mu.Unlock()
	c.request(doCheck)
}

// each is Each's task.
func (p *groupPart) each(fn func(*Conn)) {
	p.eachFrom(0, fn)
	p.loop.visited += len(p.members)
}

func (p *groupPart) eachFrom(next int, fn func(*Conn)) {
	defer func() {
		if next < len(p.members) { // fn has ended the goroutine
			p.eachFrom(next, fn)
		}
	}()
	for next < len(p.members) {
		m := p.members[next]
		next++
		if m.conn.state.Load()&ending == 0 {
			m.conn.call("Group.Each", func() error { fn(m.conn); return nil })
		}
	}
}

// share queues a group's message and reports whether the caller must give the
// connection a turn.
func (c *Conn) share(bufs [][]byte, size int) (wanted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.reserve(size)
	if err == nil {
		c.outbox().Append(&c.loop.pool, bufs...)
	}
	if errors.Is(err, ErrQueueFull) {
		_ = c.endLocked(aborting|resetting, ErrQueueFull)
	}
	return c.wantsTurn()
}

// reserveGroupTask admits a task of a group, unless MaxTasks wait.
func (l *Loop) reserveGroupTask() error {
	if l.groupTasks.Add(1) <= int64(l.cfg.maxTasks) {
		return nil
	}
	l.groupTasks.Add(-1)
	return l.refuseTask(l.cfg.maxTasks)
}

// submitGroup gives the loop one task of a group.
func (l *Loop) submitGroup(fn func()) (sleeping bool, err error) {
	if err := l.reserveGroupTask(); err != nil {
		return false, err
	}
	sleeping, err = l.submit(func() { l.groupTasks.Add(-1); fn() }, unbounded)
	if err != nil {
		l.groupTasks.Add(-1)
	}
	return sleeping, err
}
