package epi

import (
	"net"
)

// Detach takes the connection out of the engine: what is queued is sent, OnClose
// is called with ErrDetached, and then to, in a goroutine of its own, with the
// connection as one of package net. That yields what was left unread first, and
// of a TLS connection it yields plain bytes; then it is a [tls.Conn] where
// nothing was left. When the connection breaks before, OnClose tells why and to
// is not called; nor is it when the peer takes none of what is queued for
// Engine.Linger.
//
// Detach is called inside a callback, after which none follows but OnClose. The
// engine has no further part in the connection: it does not count for MaxConns,
// has no timeouts, and is not closed when Run ends. The error is ErrClosed when
// the connection is closed, closing, or its writing half is.
func (c *Conn) Detach(to func(net.Conn)) error {
	c.mu.Lock()
	defer c.release()
	if c.state.Load()&unwritable != 0 {
		return ErrClosed
	}
	c.extras().detach = to
	c.cause = ErrDetached
	c.set(detaching)
	c.todo |= doCheck
	return nil
}

// handedOver reports whether everything that was queued before Detach is sent,
// so that the connection can be given away.
func (c *Conn) handedOver(empty bool) bool {
	if c.brokenOff() {
		return true
	}
	if !empty {
		c.limitClosing()
	}
	return empty
}

func (s *stream) Detached(conn net.Conn, rest []byte, err error) {
	c := (*Conn)(s)
	if err != nil {
		c.mu.Lock()
		c.cause = err
		c.mu.Unlock()
	} else {
		c.loop.count.detached.Add(1)
		c.extra.conn = c.assemble(conn, rest)
	}
	c.dropInbox()
	c.closed()
}

// assemble puts what has arrived before what will.
func (c *Conn) assemble(conn net.Conn, rest []byte) net.Conn {
	if t := c.extra.tls; t != nil {
		conn, rest = t.giveAway(withPrefix(conn, rest)), nil
	}
	var prefix []byte
	if c.inbox != nil {
		prefix = append(prefix, c.inbox.Bytes()...)
	}
	return withPrefix(conn, append(prefix, rest...))
}

// A prefixed connection yields some bytes before those of the connection.
type prefixed struct {
	net.Conn
	prefix []byte
}

func withPrefix(conn net.Conn, prefix []byte) net.Conn {
	if len(prefix) == 0 {
		return conn
	}
	return &prefixed{conn, prefix}
}

func (p *prefixed) Read(b []byte) (int, error) {
	if len(p.prefix) == 0 {
		return p.Conn.Read(b)
	}
	n := copy(b, p.prefix)
	p.prefix = p.prefix[n:]
	if len(p.prefix) == 0 {
		p.prefix = nil
	}
	return n, nil
}

// NetConn returns the connection itself, as [tls.Conn.NetConn] does.
func (p *prefixed) NetConn() net.Conn { return p.Conn }

// CloseWrite shuts down the writing half.
func (p *prefixed) CloseWrite() error { return p.Conn.(interface{ CloseWrite() error }).CloseWrite() }
