package load

import (
	"context"
	"sync/atomic"

	"github.com/epinet/epi/ws"
)

// An upgrade is a WebSocket on its way. Dial and OnOpen both learn of its end;
// the first to claim it decides.
type upgrade struct {
	claimed atomic.Bool
	settled chan struct{} // the loop knows how it ended
}

func (u *upgrade) claim() bool { return u.claimed.CompareAndSwap(false, true) }

// dialWebSocket begins to connect s. Dial waits for the upgrade, so each one on
// its way has a goroutine.
func (g *generator) dialWebSocket(ctx context.Context, to endpoint, s *session) error {
	// The connection's loop is not known when there is none.
	loop, err := g.engine.Loop(int(s.id % uint64(g.share.Loops)))
	if err != nil {
		return err
	}
	dialled := s.settled
	u := &upgrade{settled: make(chan struct{})}
	s.settled = func() { close(u.settled) }
	var h ws.Handler = messages{s, u}
	o := ws.Options{TLS: g.tlsFor(to), MaxMessage: g.share.Sizes.Largest()}
	if s.chat != nil {
		h = chatSocket{s.chat, u}
		o.Subprotocols, o.MaxMessage = []string{chatSubprotocol}, longestLine
	}
	go func() {
		defer dialled() // ctx must not end before Dial has returned
		_, err := ws.Dial(ctx, g.engine, to.Address, o, h)
		if err != nil && u.claim() {
			if loop.Do(func() { s.failed(g.lanes[loop], err) }) != nil {
				return // the engine has ended
			}
		}
		select {
		case <-u.settled:
		case <-g.ended:
		}
	}()
	return nil
}

// A messages is a session whose messages are those of a WebSocket.
type messages struct {
	*session
	*upgrade
}

// OnOpen begins the session, unless Dial has given up meanwhile.
func (m messages) OnOpen(c *ws.Conn) error {
	if !m.claim() {
		return errTooLong
	}
	m.open(c.Conn().Loop(), binaryWriter{c})
	return nil
}

// OnMessage expects each message back as one.
func (m messages) OnMessage(_ *ws.Conn, op ws.Opcode, p []byte) error {
	s, l := m.session, m.lane
	if s.flights.n == 0 {
		return errUnasked
	}
	f := s.flights.at(0)
	if l.verify && !s.right(p[:min(len(p), f.size)]) || op != ws.Binary || len(p) != f.size {
		return errMismatch
	}
	now := s.gen.clock()
	l.answered(f, now)
	s.flights.pop()
	s.answered++
	l.goOn(s, 1, now)
	return nil
}

func (m messages) OnClose(c *ws.Conn, err error) {
	if m.lane != nil {
		m.close(c.Conn().Loop(), err)
	}
}

// A binaryWriter makes each write a message.
type binaryWriter struct{ conn *ws.Conn }

func (w binaryWriter) Write(p []byte) (int, error) {
	if err := w.conn.Write(ws.Binary, p); err != nil {
		return 0, err
	}
	return len(p), nil
}
