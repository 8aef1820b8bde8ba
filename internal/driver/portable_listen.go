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

func (d *portable) Listen(l *Listening) error {
	l.token = d.listeners.Insert(l)
	l.watched = true
	return d.Accept(l, true)
}

// Accept cannot call back the goroutine that accepts: what it brings while
// accepting is off waits.
func (d *portable) Accept(l *Listening, on bool) error {
	l.wanted = on
	switch {
	case !on || l.op != opIdle:
	case len(l.waiting) > 0:
		d.full = append(d.full, l)
	default:
		d.beginAccept(l)
	}
	return nil
}

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

// watch waits for somebody to be accepted. Accept itself would fail at once when
// there is no descriptor, whether somebody waits or not.
func (d *portable) watch(l *Listening) {
	l.op = opAwait
	token, p := l.token, d.port(l)
	d.waiters.Go(func() {
		p.backlog.Await()
		d.mail.post(note{kind: noteAwaited, token: token})
	})
}

// accepted follows up a note of a listening socket.
func (d *portable) accepted(n note) {
	l, ok := d.listeners.Get(n.token)
	if !ok {
		d.counters.Stale.Add(1)
		n.drop()
		return
	}
	l.op = opIdle
	switch {
	case n.link != nil:
		l.waiting = append(l.waiting, int32(d.cfg.Shared.handles.add(n.link)))
		d.handOverTo(l)
	case n.err != nil && l.wanted && !sock.ClientLost(n.err):
		l.Acceptor.Accepted(NoHandle, netip.AddrPort{}, n.err)
		if l.wanted && l.op == opIdle {
			d.watch(l)
		}
	case l.wanted:
		d.beginAccept(l)
	}
}

// handOver gives the engine what waited while accepting was off.
func (d *portable) handOver() {
	full := d.full
	d.full = nil
	for _, l := range full {
		d.handOverTo(l)
	}
}

// handOverTo gives the engine what was accepted, if it accepts, and goes on.
func (d *portable) handOverTo(l *Listening) {
	if !l.wanted {
		return
	}
	waiting := l.waiting
	l.waiting = nil
	for _, h := range waiting {
		l.Acceptor.Accepted(Handle(h), d.peer(Handle(h)), nil)
	}
	if l.wanted && l.op == opIdle {
		d.beginAccept(l)
	}
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
func (d *portable) Unlisten(l *Listening) {
	for _, h := range l.waiting {
		d.cfg.Shared.handles.get(Handle(h)).(*link).reset() // as if it had not been accepted
		d.cfg.Shared.handles.remove(Handle(h))
	}
	l.waiting = nil
	l.wanted, l.watched = false, false
	d.listeners.Remove(l.token)
}
