package epi

// A part is what can be under way on a connection and unfinished.
type part uint8

const (
	partUnread  part = iota // bytes that the handler leaves unread: it waits for the rest
	partRecord              // a TLS record
	partMessage             // what the handler has told of by MessagePending
	partKinds
)

// MessagePending says whether a part of a message has arrived, and was consumed,
// whose rest is still to come: Engine.MessageTimeout bounds the time for it, which
// begins anew with each MessagePending(true). Bytes that are left unread, and the
// records of TLS, need no telling. Callbacks only.
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
		_ = c.end(draining, ErrUnfinished)
		return maxTime
	}
	return next
}
