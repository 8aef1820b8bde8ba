package epi

// A Handler is told what happens to one connection; its value holds that
// connection's state. Its methods are never called at the same time and never
// inside a call of this package, so they need no locks for state of their own.
//
// With callbacks on the loop (the default) a method must not block: it holds up
// all connections of its loop. With Engine.Workers it may.
//
// A method that panics, or ends its goroutine (runtime.Goexit, which the Fatal
// methods of package testing call), closes its connection with a [PanicError].
//
// A handler may also be an [OpenHandler], an [EOFHandler], a [DrainHandler], a
// [ShutdownHandler] or a [TimeoutHandler].
type Handler interface {
	// OnData is called when bytes have arrived. Conn.Unread, Conn.Read and
	// Conn.Discard give access to them. What is left unread is offered again,
	// together with what follows it, when more arrives. An error closes the
	// connection with that cause, after what is queued was delivered.
	OnData(c *Conn) error

	// OnClose is the last call, made exactly once. err is nil after Close,
	// io.EOF when the peer ended the connection in order, and otherwise the
	// reason why bytes may not have reached the peer, or why the connection
	// was closed.
	OnClose(c *Conn, err error)
}

// An OpenHandler also wants to know when its connection is established. It is
// the first call. An error closes the connection with that cause.
type OpenHandler interface {
	OnOpen(c *Conn) error
}

// An EOFHandler also wants to know when the peer has shut down its writing
// half. It is called once, after the last OnData; writing goes on until Close
// or CloseWrite. Without it, the connection is closed at the end of the peer's
// bytes, after everything queued was delivered.
type EOFHandler interface {
	OnEOF(c *Conn) error
}

// A DrainHandler also wants to know when the write queue, having been above
// Engine.HighWater or having refused a write (ErrQueueFull), has fallen to
// Engine.LowWater. OnDrain is called, too, when writing has failed and the queue was
// thrown away: a handler that has stopped reading elsewhere until there is room goes
// on, and its next write returns ErrClosed.
type DrainHandler interface {
	OnDrain(c *Conn)
}

// A ShutdownHandler also wants to know that the engine is about to close its
// open connection, because it begins to drain: for a last word to the peer. The
// connection is closed with ErrShutdown when OnShutdown returns, unless that calls
// [Conn.StayOpen]; what it wrote is delivered. A callback that is under way when
// the engine begins to drain may finish before, and what it writes is delivered.
type ShutdownHandler interface {
	OnShutdown(c *Conn)
}

// A TimeoutHandler also wants to know that the engine is about to close its open
// connection, because the peer was silent for IdleTimeout (ErrIdle) or ReadTimeout
// (ErrReadTimeout): for a last word, as with OnShutdown. The connection is closed with
// that cause when OnTimeout returns; what it wrote is delivered.
type TimeoutHandler interface {
	OnTimeout(c *Conn, cause error)
}

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
func (c *Conn) switchHandler() {
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
func (c *Conn) switchHandlerLater() {
	if c.state.Load()&replaced != 0 {
		c.switchHandler()
		c.offerAgain(true)
	}
}

func (c *Conn) callOnOpen() {
	if h, ok := c.handler.(OpenHandler); ok {
		c.call("OnOpen", func() error { return h.OnOpen(c) })
	}
}
