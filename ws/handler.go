package ws

// A Handler has the callbacks of one WebSocket. Like those of [epi.Handler]
// its methods are never called at the same time, and must not block unless the
// engine has workers.
//
// A handler may also be an [OpenHandler], a [PartHandler], a [FrameHandler] or a
// [DrainHandler].
type Handler interface {
	// OnMessage is called with each whole message, of opcode Text, which is
	// valid UTF-8 then, or Binary. p is valid until OnMessage returns and may be
	// changed; it has no room behind it: append copies. An error closes the connection: with the code of a *[CloseError],
	// or with InternalError.
	OnMessage(c *Conn, op Opcode, p []byte) error

	// OnClose is the last call, made exactly once. err is nil when the peer has
	// answered Close, a *[CloseError] when the peer began to close or broke a
	// rule, io.ErrUnexpectedEOF when the stream ended without a close frame, and
	// otherwise the reason why the connection broke.
	OnClose(c *Conn, err error)
}

// An OpenHandler also wants to know when the upgrade is done. It is the first
// call. An error closes the connection as one of OnMessage does.
type OpenHandler interface {
	OnOpen(c *Conn) error
}

// A PartHandler gets messages in parts, as they arrive, for those that are too long
// to be held in memory: OnMessage is not called then. OnPart is called with each part;
// only the last one, for which last is true, may be empty. A
// part of a Text may end within a character; the text so far was UTF-8. p is as for
// OnMessage, and so is the error. MaxMessage still bounds the whole message: set it
// to what an upload may have, math.MaxInt for no bound.
type PartHandler interface {
	OnPart(c *Conn, op Opcode, p []byte, last bool) error
}

// A FrameHandler also wants to know of frames that are no message and end none: pings
// and pongs, and all frames of a message but its last. OnFrame is called once for each,
// whatever is in it, so that who limits what a peer may send can count these, too; Pause
// holds for the next frame.
type FrameHandler interface {
	OnFrame(c *Conn)
}

// A DrainHandler also wants to know when the write queue, having been above
// Engine.HighWater, has fallen to Engine.LowWater.
type DrainHandler interface {
	OnDrain(c *Conn)
}
