package epi

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"runtime"
	"sync"
	"time"
)

// Detach takes the connection out of the engine: what is queued is sent, OnClose
// is called with ErrDetached, and then to, in a goroutine of its own, with the
// connection as one of package net. That yields what was left unread first, and
// of a TLS connection it yields plain bytes; then it is a [tls.Conn] where
// nothing was left. When the connection breaks before, OnClose gets the reason and to
// is not called; nor is it when the peer takes none of what is queued for
// Engine.Linger.
//
// What it gets has the addresses that the Conn had, also behind a PROXY header, and
// a ConnectionState method when it is of a TLS connection. It counts for MaxConns
// until it is closed, and WriteTimeout holds for its writes; it has no other of the
// engine's timeouts, and is not closed when Run ends. Its NetConn method returns
// the connection without that.
//
// Detach is called inside a callback, after which none follows but OnClose. The
// error is ErrClosed when the connection is closed, closing, or its writing half
// is. After OnTimeout, and after OnShutdown without StayOpen, the connection is closed
// all the same, and to is not called.
func (c *Conn) Detach(to func(net.Conn)) error {
	c.mu.Lock()
	defer c.unlock()
	if c.state.Load()&unwritable != 0 {
		return ErrClosed
	}
	c.extras().detach = to
	c.cause = ErrDetached
	c.set(detaching)
	c.todo |= doCheck
	return nil
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
	c.socketClosed()
}

// assemble puts what has arrived before what will.
func (c *Conn) assemble(conn net.Conn, rest []byte) net.Conn {
	conn = c.bounded(conn)
	if t := c.extra.tls; t != nil {
		conn, rest = t.NetConn(withPrefix(conn, rest)), nil
	}
	var prefix []byte
	if c.inbox != nil {
		prefix = append(prefix, c.inbox.Bytes()...)
	}
	return withPrefix(conn, append(prefix, rest...))
}

// A detached connection is still bounded: it has its place among MaxConns until
// it is closed, or forgotten, and a peer that takes nothing for WriteTimeout ends
// a write.
type detached struct {
	net.Conn
	peer     net.Addr      // also what a PROXY header said
	patience time.Duration // WriteTimeout; 0: none
	leave    func()        // gives the place back, once

	mu       sync.Mutex
	deadline time.Time // guarded by mu; that of SetWriteDeadline
}

func (c *Conn) bounded(conn net.Conn) *detached {
	d := &detached{Conn: conn, peer: c.RemoteAddr(), patience: c.timeouts().write}
	p := c.place()
	forgotten := runtime.AddCleanup(d, place.leave, p)
	d.leave = sync.OnceFunc(func() {
		forgotten.Stop()
		p.leave()
	})
	return d
}

func (d *detached) RemoteAddr() net.Addr { return d.peer }

// NetConn returns the connection itself, as [tls.Conn.NetConn] does.
func (d *detached) NetConn() net.Conn { return d.Conn }

func (d *detached) Close() error {
	defer d.leave()
	return d.Conn.Close()
}

// CloseWrite shuts down the writing half.
func (d *detached) CloseWrite() error { return closeWriteOf(d.Conn) }

func (d *detached) SetDeadline(t time.Time) error {
	return errors.Join(d.SetReadDeadline(t), d.SetWriteDeadline(t))
}

func (d *detached) SetWriteDeadline(t time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.deadline = t
	return d.Conn.SetWriteDeadline(t)
}

func (d *detached) Write(p []byte) (n int, err error) {
	if d.patience == 0 {
		return d.Conn.Write(p)
	}
	for {
		own, err := d.setPatience()
		if err != nil {
			return n, err
		}
		m, err := d.Conn.Write(p[n:])
		n += m
		// The peer took something, though not all: it has as much time again.
		if !own || m == 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
	}
}

// setPatience lets the next write wait for WriteTimeout, at most until the user's
// deadline, and reports whether WriteTimeout comes first.
func (d *detached) setPatience() (own bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	end := time.Now().Add(d.patience)
	own = d.deadline.IsZero() || end.Before(d.deadline)
	if !own {
		end = d.deadline
	}
	return own, d.Conn.SetWriteDeadline(end)
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
	p := &prefixed{conn, prefix}
	if t, ok := conn.(*tls.Conn); ok {
		return &securePrefixed{p, t}
	}
	return p
}

// A securePrefixed connection is of TLS.
type securePrefixed struct {
	*prefixed
	tls *tls.Conn
}

// ConnectionState is that of the [tls.Conn].
func (p *securePrefixed) ConnectionState() tls.ConnectionState { return p.tls.ConnectionState() }

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
func (p *prefixed) CloseWrite() error { return closeWriteOf(p.Conn) }

// closeWriteOf shuts down the writing half of a connection that has one: those of
// TCP, Unix sockets and TLS do.
func closeWriteOf(conn net.Conn) error {
	return conn.(interface{ CloseWrite() error }).CloseWrite()
}
