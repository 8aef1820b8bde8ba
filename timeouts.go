package epi

import (
	"time"

	"github.com/epinet/epi/internal/wheel"
)

// timeouts returns those that the connection has.
func (c *Conn) timeouts() *timeouts {
	if own := c.own.Load(); own != nil {
		return own
	}
	return &c.loop.cfg.timeouts
}

// SetIdleTimeout replaces Engine.IdleTimeout for this connection, from now on: the
// time begins anew. 0 and less is no limit.
func (c *Conn) SetIdleTimeout(d time.Duration) {
	c.setTimeouts(func(t *timeouts) { t.idle = max(d, 0) })
}

// SetReadTimeout replaces Engine.ReadTimeout for this connection, from now on: the
// time begins anew. 0 and less is no limit.
func (c *Conn) SetReadTimeout(d time.Duration) {
	c.setTimeouts(func(t *timeouts) { t.read = max(d, 0) })
}

// SetWriteTimeout replaces Engine.WriteTimeout for this connection, from now on:
// the time begins anew. 0 and less is no limit.
func (c *Conn) SetWriteTimeout(d time.Duration) {
	c.setTimeouts(func(t *timeouts) { t.write = max(d, 0) })
}

// SetLinger replaces Engine.Linger for this connection. 0 and less gives up at once
// what the peer's host has not acknowledged when it is closing. It may be called from
// any goroutine, also when it is closing already.
func (c *Conn) SetLinger(d time.Duration) {
	c.setTimeouts(func(t *timeouts) { t.linger = max(d, 0) })
}

func (c *Conn) setTimeouts(change func(*timeouts)) {
	c.mu.Lock()
	own := *c.timeouts()
	change(&own)
	c.own.Store(&own)
	c.todo |= doTimeouts
	c.unlock()
}

// beginTimeouts lets the time begin for what the connection's timeouts are about.
func (c *Conn) beginTimeouts() {
	now := c.loop.now()
	t := c.timeouts()
	if t.idle|t.read|t.write == 0 || c.state.Load()&starting != 0 {
		return
	}
	c.active = now
	if t.read > 0 {
		c.extras().arrived = now
	}
	if c.extra != nil {
		c.extra.stalled = 0
	}
	if t.idle|t.read != 0 {
		c.wakeAt(min(timeoutAt(now, t.idle), timeoutAt(now, t.read)))
	}
	if c.pending {
		c.noteStall(0)
	}
}

// timeoutAt returns when a timeout is over that counts from since.
func timeoutAt(since int64, d time.Duration) int64 {
	if d == 0 {
		return maxTime
	}
	return deadline(since, d)
}

// touch notes that the peer has taken bytes.
func (c *Conn) touch() {
	if c.timeouts().idle > 0 {
		c.active = c.loop.now()
	}
}

// touchReceived notes that bytes have arrived.
func (c *Conn) touchReceived() {
	t := c.timeouts()
	if t.idle|t.read == 0 {
		return
	}
	c.active = c.loop.now()
	if t.read > 0 {
		c.extras().arrived = c.active
	}
}

// firstDeliveryCheck and lastDeliveryCheck are the pauses, doubling,
// between the questions whether a closed connection's peer has everything.
const (
	firstDeliveryCheck = time.Millisecond
	lastDeliveryCheck  = 256 * time.Millisecond
)

// limitClosing starts the time after which closing ends by force.
func (c *Conn) limitClosing() {
	x := c.extras()
	if x.lingering.begun != 0 {
		return
	}
	now := c.loop.now()
	x.lingering = lingering{begun: now, progress: now}
	if c.state.Load()&opening == 0 {
		c.askPeer(now)
		x.lingering.load = c.outstanding()
	}
	c.wakeAt(now + int64(firstDeliveryCheck))
}

// outstanding returns how many bytes the peer was found not to have taken.
func (c *Conn) outstanding() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.queued + c.extra.unacked
}

// noteStall records since when the peer has taken nothing, and since when it is
// asked. n is what the kernel has just taken.
func (c *Conn) noteStall(n int) {
	t := c.timeouts()
	if n > 0 && c.extra != nil && c.extra.lingering.begun != 0 {
		c.extra.lingering.progress = c.loop.now()
		c.askPeer(c.extra.lingering.progress)
	}
	switch {
	case t.idle|t.write == 0:
	case !c.pending:
		c.endStall()
	case n > 0 || c.extras().stalled == 0:
		now := c.loop.now()
		c.askPeer(now)
		c.extra.stalled = now
		if t.write > 0 {
			c.wakeAt(deadline(now, t.write))
		}
	}
}

// endStall forgets what was noted of a send that has ended. With io_uring each send
// takes a moment, and most connections have no other use for their extra.
func (c *Conn) endStall() {
	x := c.extra
	if x == nil {
		return
	}
	x.stalled = 0
	if c.state.Load()&(starting|ending) == 0 {
		c.dropExtra()
	}
}

// askPeer looks whether the peer's host has acknowledged anything since it was last
// asked. Writability is no measure: the kernel reports it only when much of its
// buffer is free, and a slow peer may need longer for that than any timeout. Where nobody has asked since bytes last moved, but some are on their
// way, it is not known: then the peer is not idle.
func (c *Conn) askPeer(now int64) {
	unacked := c.loop.engine.shared.Unacked(c.sock.Handle)
	if unacked == 0 && c.extra == nil {
		return
	}
	x := c.extras()
	progress := unacked < x.unacked
	known := x.asked >= c.active
	x.unacked, x.asked = unacked, now
	if progress {
		x.lingering.progress = now
		if x.stalled != 0 {
			x.stalled = now
		}
	}
	if progress || unacked > 0 && !known {
		c.active = now
	}
}

// wakeAt asks for expire at the given time, of the clock of Loop.Watched, or
// earlier.
func (c *Conn) wakeAt(when int64) {
	if when >= maxTime {
		return
	}
	c.mu.Lock()
	if c.timer == nil {
		c.timer = &wheel.Timer{Owner: c}
	}
	timer := c.timer
	c.mu.Unlock()
	c.loop.schedule(timer, c.loop.realTime(when))
}

// expire is run by the loop when a deadline has come. The holder looks which.
func (c *Conn) expire(int64) { c.request(doTime) }

// checkTime looks which deadlines have passed and asks for the next. Each check
// returns the next moment at which it wants to be made.
func (c *Conn) checkTime() {
	now := c.loop.looked()
	if c.overdue(now) && c.state.Load()&opening == 0 {
		c.askPeer(now)
	}
	next := min(c.checkPreface(now), c.checkClosing(now), c.checkIdle(now), c.checkRead(now), c.checkStall(now), c.checkParts(now))
	if next >= maxTime {
		c.dropTimer()
		return
	}
	c.wakeAt(next)
}

// checkPreface ends the time for header and handshake.
func (c *Conn) checkPreface(now int64) (next int64) {
	if c.state.Load()&(handshaking|ending) != handshaking {
		return maxTime
	}
	if due := c.extra.expires; due > now {
		return due
	}
	c.refuse(aborting, ErrHandshakeTimeout)
	return maxTime
}

// dropTimer gives up the timer of a connection that has no deadline.
func (c *Conn) dropTimer() {
	c.mu.Lock()
	timer := c.timer
	c.timer = nil
	c.mu.Unlock()
	if timer != nil {
		c.loop.unschedule(timer)
	}
}

// overdue reports whether something has lasted for too long, unless the peer has
// acknowledged bytes meanwhile.
func (c *Conn) overdue(now int64) bool {
	t, x := c.timeouts(), c.extra
	return timeoutAt(c.active, t.idle) <= now ||
		x != nil && x.stalled != 0 && timeoutAt(x.stalled, t.write) <= now ||
		x != nil && x.lingering.begun != 0 && deadline(x.lingering.begun, t.linger) <= now
}

// checkClosing asks for another look whether the peer has everything, or gives
// up.
func (c *Conn) checkClosing(now int64) (next int64) {
	if c.extra == nil || c.extra.lingering.begun == 0 {
		return maxTime
	}
	end := &c.extra.lingering
	due := deadline(end.progress, c.timeouts().linger)
	if due <= now || c.tooSlow(now) {
		_ = c.end(aborting|resetting, ErrLinger)
		return maxTime
	}
	pause := max(int64(firstDeliveryCheck), min(now-end.begun, int64(lastDeliveryCheck)))
	return min(due, now+pause)
}

// tooSlow reports whether the peer of a connection that is closing takes less than
// LeastRate, on the average of the time behind the first Linger.
func (c *Conn) tooSlow(now int64) bool {
	behind := now - deadline(c.extra.lingering.begun, c.timeouts().linger)
	if behind <= 0 || c.state.Load()&opening != 0 {
		return false
	}
	taken := c.extra.lingering.load - c.outstanding()
	return float64(taken) < float64(behind)*float64(c.loop.cfg.leastRate)/float64(time.Second)
}

func (c *Conn) checkIdle(now int64) (next int64) {
	d := c.timeouts().idle
	st := c.state.Load()
	if d == 0 || st&(starting|ending) != 0 {
		return maxTime
	}
	if st&paused != 0 {
		c.active = now // who is not read from is not idle
	}
	due := deadline(c.active, d)
	if due <= now {
		c.timedOut(ErrIdle)
		return maxTime
	}
	return due
}

func (c *Conn) checkRead(now int64) (next int64) {
	d := c.timeouts().read
	st := c.state.Load()
	if d == 0 || st&(starting|ending|readEnded) != 0 {
		return maxTime
	}
	if st&(paused|congested) != 0 {
		c.extras().arrived = now
	}
	due := deadline(c.extras().arrived, d)
	if due <= now {
		c.timedOut(ErrReadTimeout)
		return maxTime
	}
	return due
}

// timedOut closes an open connection, after the handler's last word.
func (c *Conn) timedOut(cause error) {
	h, ok := c.handler.(TimeoutHandler)
	if !ok {
		_ = c.end(closing, cause)
		return
	}
	c.call("OnTimeout", func() error { h.OnTimeout(c, cause); return cause })
}

func (c *Conn) checkStall(now int64) (next int64) {
	d := c.timeouts().write
	if d == 0 || c.extra == nil || c.extra.stalled == 0 {
		return maxTime
	}
	due := deadline(c.extra.stalled, d)
	if due <= now {
		c.loop.count.stalls.Add(1)
		_ = c.end(aborting|resetting, ErrWriteStalled)
		return maxTime
	}
	return due
}

// MessagePending says whether a part of a message has arrived, and was consumed,
// whose rest is still to come: Engine.MessageTimeout bounds the time for it, which
// begins anew with each MessagePending(true). Bytes that are left unread, and the
// records of TLS, are counted without it. Callbacks only.
func (c *Conn) MessagePending(pending bool) { c.notePart(partMessage, pending, true) }

// notePart notes whether something unfinished is there, and whether it is another
// one than before.
func (c *Conn) notePart(which part, there, another bool) {
	d := c.timeouts().message
	if d == 0 || !there && c.extra == nil {
		return
	}
	x := c.extras()
	switch {
	case !there:
		x.parts[which] = 0
	case another || x.parts[which] == 0:
		x.parts[which] = c.loop.now()
		c.wakeAt(deadline(x.parts[which], d))
	}
}

// restartParts gives the peer all the time again, because nothing was read from it
// for a while.
func (c *Conn) restartParts() {
	if c.extra == nil || c.timeouts().message == 0 {
		return
	}
	for which := range partKinds {
		c.notePart(which, c.extra.parts[which] != 0, true)
	}
}

func (c *Conn) checkParts(now int64) (next int64) {
	next = maxTime
	d := c.timeouts().message
	if d == 0 || c.extra == nil || c.state.Load()&(starting|paused|congested|ending) != 0 {
		return next
	}
	for _, since := range c.extra.parts {
		if since != 0 {
			next = min(next, deadline(since, d))
		}
	}
	if next <= now {
		_ = c.end(closing, ErrUnfinished)
		return maxTime
	}
	return next
}
