package driver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"

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

func (d *portable) Bind(network string, addr net.Addr, o sock.StreamOptions) (Handle, net.Addr, error) {
	config := net.ListenConfig{KeepAlive: -1, KeepAliveConfig: o.KeepAlive(), Control: o.PrepareListening}
	config.SetMultipathTCP(false)
	ln, err := config.Listen(context.Background(), network, addr.String())
	if err != nil {
		return NoHandle, nil, plain(err)
	}
	if local, ok := ln.Addr().(*net.UnixAddr); ok {
		err = o.Chmod(local.Name)
	}
	if err != nil {
		return NoHandle, nil, errors.Join(err, ln.Close()) // which removes the file
	}
	h, err := d.hold(ln, o.KeepAlive())
	if err != nil {
		return NoHandle, nil, errors.Join(err, ln.Close())
	}
	return h, ln.Addr(), nil
}

// Adopt takes a duplicate: nobody else accepts any more on what was handed over.
func (d *portable) Adopt(ln net.Listener, o sock.StreamOptions) (Handle, error) {
	of, ok := ln.(interface{ File() (*os.File, error) })
	if !ok {
		return NoHandle, fmt.Errorf("a %T has no socket of its own: hand over a *net.TCPListener or *net.UnixListener", ln)
	}
	file, err := of.File()
	if err != nil {
		return NoHandle, plain(err)
	}
	own, err := net.FileListener(file)
	_ = file.Close() // own has one of its own
	if err != nil {
		return NoHandle, plain(err)
	}
	h, err := d.adopt(own, o)
	if err != nil {
		return NoHandle, errors.Join(err, own.Close())
	}
	if ul, ok := ln.(*net.UnixListener); ok {
		ul.SetUnlinkOnClose(false)
	}
	_ = ln.Close() // which leaves the duplicate
	return h, nil
}

func (d *portable) adopt(ln net.Listener, o sock.StreamOptions) (Handle, error) {
	raw, err := ln.(syscall.Conn).SyscallConn()
	if err != nil {
		return NoHandle, plain(err)
	}
	network := ln.Addr().Network()
	if tcp, ok := ln.Addr().(*net.TCPAddr); ok && tcp.IP.To4() == nil {
		network = "tcp6"
	}
	if err := o.Prepare(network, ln.Addr().String(), raw); err != nil {
		return NoHandle, err
	}
	return d.hold(ln, o.KeepAlive())
}

// hold gives a listening socket its number.
func (d *portable) hold(ln net.Listener, keepAlive net.KeepAliveConfig) (Handle, error) {
	backlog, err := sock.NewBacklog(ln)
	if err != nil {
		return NoHandle, plain(err)
	}
	if ul, ok := ln.(*net.UnixListener); ok {
		ul.SetUnlinkOnClose(false) // the engine removes the file, unless it is another's
	}
	return d.cfg.Shared.handles.add(&port{ln, backlog, keepAlive}), nil
}

func (d *portable) port(l *Listening) *port { return d.cfg.Shared.handles.get(l.Handle).(*port) }

func (d *portable) Listen(l *Listening) error {
	l.token = d.listeners.Insert(l)
	l.watched = true
	return d.Accept(l, true)
}

// Accept cannot call back the goroutine that accepts: what it brings while
// accepting is off waits.
func (d *portable) Accept(l *Listening, on bool) error {
	l.accepting = on
	switch {
	case !on || l.accept != idle:
	case len(l.waiting) > 0:
		d.crowded = append(d.crowded, l)
	default:
		d.beginAccept(l)
	}
	return nil
}

func (d *portable) beginAccept(l *Listening) {
	l.accept = accepting
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

// Stop closes the socket. Its number stays taken until Discard.
func (d *portable) Stop(h Handle) {
	_ = d.cfg.Shared.handles.get(h).(*port).Close() // whatever it answers, it is closed
}

// File ends the listener's own Accepts: those who accept find out that the socket
// is shared.
func (d *portable) File(h Handle) (*os.File, error) {
	ln := d.cfg.Shared.handles.get(h).(*port).listener
	_ = ln.(interface{ SetDeadline(time.Time) error }).SetDeadline(past)
	file, err := ln.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		return nil, plain(err)
	}
	return file, nil
}

// watch waits for somebody to be accepted. Accept itself would fail at once when
// there is no descriptor, whether somebody waits or not.
func (d *portable) watch(l *Listening) {
	l.accept = watching
	token, p := l.token, d.port(l)
	d.waiters.Go(func() {
		p.backlog.Await()
		d.mail.post(note{kind: noteCrowd, token: token})
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
	l.accept = idle
	switch {
	case n.link != nil:
		l.waiting = append(l.waiting, int32(d.cfg.Shared.handles.add(n.link)))
		d.handOverTo(l)
	case n.err != nil && l.accepting && !sock.ClientLost(n.err):
		l.Acceptor.Accepted(NoHandle, netip.AddrPort{}, n.err)
		if l.accepting && l.accept == idle {
			d.watch(l)
		}
	case l.accepting:
		d.beginAccept(l)
	}
}

// handOver gives the engine what waited while accepting was off.
func (d *portable) handOver() {
	crowded := d.crowded
	d.crowded = nil
	for _, l := range crowded {
		d.handOverTo(l)
	}
}

// handOverTo gives the engine what was accepted, if it accepts, and goes on.
func (d *portable) handOverTo(l *Listening) {
	if !l.accepting {
		return
	}
	waiting := l.waiting
	l.waiting = nil
	for _, h := range waiting {
		l.Acceptor.Accepted(Handle(h), d.peer(Handle(h)), nil)
	}
	if l.accepting && l.accept == idle {
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

func (d *portable) PeerName(h Handle) string {
	unix, ok := d.cfg.Shared.handles.get(h).(*link).conn.RemoteAddr().(*net.UnixAddr)
	if !ok || unix.Name == "@" {
		return "" // "@" is how package net writes that it has none
	}
	return unix.Name
}

// Unlisten leaves behind a goroutine that accepts until the handle is discarded.
// What it brings is dropped.
func (d *portable) Unlisten(l *Listening) {
	for _, h := range l.waiting {
		d.cfg.Shared.handles.get(Handle(h)).(*link).reset() // as if it had not been accepted
		d.cfg.Shared.handles.remove(Handle(h))
	}
	l.waiting = nil
	l.accepting, l.watched = false, false
	d.listeners.Remove(l.token)
}

func (d *portable) Shed(l *Listening) error {
	return d.cfg.Shared.Reserve.Shed(d.port(l).backlog.AcceptAndClose)
}

func (d *portable) Reclaim(h Handle) bool {
	return d.cfg.Shared.Reserve.Reclaim(func() { d.Discard(h) })
}
