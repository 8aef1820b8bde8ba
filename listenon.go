package epi

import (
	"errors"
	"fmt"
	"net"
)

// ListenOn is ListenWith on a socket that listens already: one that another
// program has opened and handed over (systemd's socket activation;
// net.FileListener makes a net.Listener of a descriptor), or one with options
// that Listen does not have. It must be a TCP or a Unix stream socket; with
// ListenOptions.TLS its connections are TLS, and Engine.TLS has no part in it.
// The socket belongs to the engine, which closes ln, also when it cannot use it.
// Others may hold it, too, and accept from it; the engine keeps it non-blocking.
// The file of a Unix socket stays when the listener is closed: it belongs to
// whoever has made it.
//
// All loops share the socket, whatever Engine.ReusePort says.
func (e *Engine) ListenOn(ln net.Listener, o ListenOptions, handler func(*Conn) Handler) (*Listener, error) {
	own, err := e.listenOn(ln, o, handler)
	if err != nil {
		_ = ln.Close() // the error that matters is there
		return nil, fmt.Errorf("epi: listen on %s: %w", ln.Addr(), err)
	}
	return own, nil
}

func (e *Engine) listenOn(from net.Listener, o ListenOptions, handler func(*Conn) Handler) (*Listener, error) {
	if handler == nil {
		return nil, errors.New("no handler function was given")
	}
	if err := e.start(); err != nil {
		return nil, err
	}
	addr := from.Addr()
	network := addr.Network()
	if network != "tcp" && network != "unix" {
		return nil, fmt.Errorf("it is a %s socket: hand over one of TCP, or a Unix stream socket", network)
	}
	scheme := network
	if o.TLS != nil {
		if !hasCertificate(o.TLS) {
			return nil, errNoCertificate
		}
		scheme = "tls"
	}
	proxies, err := newProxies(&o)
	if err != nil {
		return nil, err
	}
	timeouts, err := e.cfg.timeoutsOf(&o)
	if err != nil {
		return nil, err
	}
	marks, err := e.cfg.watermarksOf(&o)
	if err != nil {
		return nil, err
	}
	settings, err := o.settings(network, false)
	if err != nil {
		return nil, err
	}
	settings.Mode, settings.Control = 0, nil // it is bound already
	h, err := e.loops[0].drv.Adopt(from, settings)
	if err != nil {
		return nil, err
	}
	ln := &Listener{engine: e, text: scheme + "://", addr: addr}
	ln.shared.Store(true)
	ln.handles = append(ln.handles, h)
	ln.origin = &origin{unix: network == "unix", handler: handler, local: addr, proxies: proxies, tls: o.TLS, timeouts: timeouts, marks: marks}
	return ln, ln.begin()
}
