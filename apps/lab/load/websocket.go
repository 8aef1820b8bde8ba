package load

import (
	"context"
	"sync/atomic"

	"github.com/epinet/epi/ws"
)

// A messages is a session whose messages are those of a WebSocket.
type messages struct {
	*session
	claimed atomic.Bool   // it is decided whether the connection was established
	settled chan struct{} // the loop knows how
}

// dialWebSocket begins to connect s. Dial waits for the upgrade, so each one on
// its way has a goroutine.
func (g *generator) dialWebSocket(ctx context.Context, to endpoint, s *session) error {
	// The connection's loop is not known when there is none.
	loop, err := g.engine.Loop(int(s.id % uint64(g.share.Loops)))
	if err != nil {
		return err
	}
	dialled := s.settled
	m := &messages{session: s, settled: make(chan struct{})}
	s.settled = func() { close(m.settled) }
	go func() {
		defer dialled() // ctx must not end before Dial has returned
		o := ws.Options{TLS: g.tlsFor(to), MaxMessage: g.share.Sizes.Largest()}
		_, err := ws.Dial(ctx, g.engine, to.Address, o, m)
		if err != nil && m.claimed.CompareAndSwap(false, true) {
			if loop.Do(func() { s.failed(g.lanes[loop], err) }) != nil {
				return // the engine has ended
			}
		}
		select {
		case <-m.settled:
		case <-g.ended:
		}
	}()
	return nil
}

// OnOpen begins the session, unless Dial has given up meanwhile.
func (m *messages) OnOpen(c *ws.Conn) error {
	if !m.claimed.CompareAndSwap(false, true) {
		return errTooLong
	}
	m.open(c.Conn().Loop(), binaryWriter{c})
	return nil
}

// OnMessage expects each message back as one.
func (m *messages) OnMessage(_ *ws.Conn, op ws.Opcode, p []byte) error {
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

func (m *messages) OnClose(c *ws.Conn, err error) {
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
