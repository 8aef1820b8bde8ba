package epi

// SetHandler makes h the connection's handler, for a protocol that is agreed on
// inside another, or recognised by its first bytes: look at Unread, choose, leave
// the bytes unread. When the callback that calls it has returned, h is told all
// that a handler is told from the beginning: OnOpen, if it is an OpenHandler, then
// OnData for what is unread, or the end, and so on; OnClose is for h alone. What
// was written before leaves before what h writes. An Expect of the old handler
// does not hold for h.
//
// It is for OnOpen, OnData, OnEOF and OnDrain. Who has called Close or Detach has
// OnClose told to h. It panics if h is nil.
func (c *Conn) SetHandler(h Handler) {
	if h == nil {
		panic("epi: SetHandler needs a handler, it was given nil")
	}
	c.handler = h
	if c.inbox != nil {
		c.inbox.Expect(0)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.set(replaced)
}

// settle lets a handler of SetHandler begin, in the callback's place, with what is
// in c.unread.
func (c *Conn) settle() {
	for c.state.Load()&(replaced|starting|ending) == replaced {
		c.mu.Lock()
		c.unset(replaced)
		c.mu.Unlock()
		c.callOnOpen()
		if len(c.unread) > 0 && c.state.Load()&(replaced|paused|ending) == 0 {
			c.callOnData()
		}
	}
}

// settleLater is settle after a callback that has nothing in c.unread: what the
// handler before has left is in the inbox.
func (c *Conn) settleLater() {
	if c.state.Load()&replaced != 0 {
		c.settle()
		c.offerAgain(true)
	}
}

func (c *Conn) callOnOpen() {
	if h, ok := c.handler.(OpenHandler); ok {
		c.call("OnOpen", func() error { return h.OnOpen(c) })
	}
}
