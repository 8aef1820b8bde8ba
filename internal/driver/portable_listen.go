package driver

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync/atomic"

	"github.com/epinet/epi/internal/sock"
)

// A port is a listening socket of package net, which all loops share.
type port struct {
	listener  net.Listener
	backlog   *sock.Backlog
	keepAlive net.KeepAliveConfig // of connections
}

// Close ends all Accepts.
func (p *port) Close() error { return errors.Join(p.listener.Close(), p.backlog.Close()) }

func (d *portable) port(l *Listening) *port { return d.cfg.Shared.handles.get(l.Handle).(*port) }

func (d *portable) beginAccept(l *Listening) {
	l.op = opAccept
	token, p, shared := l.token, d.port(l), l.Shared
	d.waiters.Go(func() {
		conn, err := p.accept(shared)
		if err != nil {
			d.mail.post(note{kind: noteAccepted, token: token, err: plain(err)})
			return
		}
		d.mail.post(note{kind: noteAccepted, token: token, link: &link{conn: conn}})
	})
}

// accept waits for a connection. The listener's own Accept could wait where
// nothing but another client ends it, if others have the socket, too.
func (p *port) accept(shared *atomic.Bool) (net.Conn, error) {
	for !shared.Load() {
		conn, err := p.listener.Accept()
		if !errors.Is(err, os.ErrDeadlineExceeded) { // of File
			return conn, err
		}
	}
	conn, err := p.backlog.Accept()
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetKeepAliveConfig(p.keepAlive) // it fails only for one that is broken
	}
	return conn, err
}

func (d *portable) await(l *Listening) {
	l.op = opAwait
	token, p := l.token, d.port(l)
	d.waiters.Go(func() {
		p.backlog.Await()
		d.mail.post(note{kind: noteAwaited, token: token})
	})
}

// acceptEnded follows up a note of a listening socket.
func (d *portable) acceptEnded(n note) {
	l, ok := d.listeners.Get(n.token)
	if !ok {
		d.counters.Stale.Add(1)
		n.drop()
		return
	}
	l.op = opIdle
	if n.link != nil {
		l.waiting = append(l.waiting, d.cfg.Shared.handles.add(n.link))
	}
	d.accepted(l, n.err)
}

func (d *portable) peer(h Handle) netip.AddrPort {
	tcp, ok := d.cfg.Shared.handles.get(h).(*link).conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	addr := tcp.AddrPort()
	return netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
}

// Unlisten leaves behind a goroutine that accepts until the handle is discarded.
// What it brings is dropped.
func (d *portable) Unlisten(l *Listening) { d.forgetListening(l) }

func (d *portable) dropAccepted(h Handle) {
	d.cfg.Shared.handles.get(h).(*link).reset()
	d.cfg.Shared.handles.remove(h)
}
