package epi

// A Handler has the callbacks of one connection; its value holds that
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

func (c *Conn) callOnOpen() {
	if h, ok := c.handler.(OpenHandler); ok {
		c.call("OnOpen", func() error { return h.OnOpen(c) })
	}
}

// call runs a callback. Its error, or its panic, closes the connection.
func (c *Conn) call(name string, callback func() error) {
	returned := false
	defer func() {
		if !returned {
			c.calledOff(name, recover())
		}
	}()
	err := callback()
	returned = true
	if err != nil {
		_ = c.end(closing, err)
	}
}

// calledOff closes a connection whose callback has panicked with v, or, when v
// is nil, ends the goroutine: then nothing follows that was to be done after the
// callback, and the next turn, in another goroutine, puts things in order.
func (c *Conn) calledOff(name string, v any) {
	_ = c.end(closing, c.loop.panicked(name, v))
	if v == nil {
		c.request(doTidy)
	}
}

// refuse closes a connection that was not worth a handler.
func (c *Conn) refuse(how stateBits, cause error) {
	c.loop.count.refused.Add(1)
	c.logRefused("a connection is refused", "error", cause)
	_ = c.end(how, cause)
}
