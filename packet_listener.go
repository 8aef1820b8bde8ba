package epi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/epinet/epi/internal/address"
	"github.com/epinet/epi/internal/driver"
	"github.com/epinet/epi/internal/sock"
)

// A PacketListener receives datagrams for an Engine.
type PacketListener struct {
	text  string // the address as given
	addr  PacketAddr
	conns []*PacketConn // one, or one for each loop
}

// ListenPacket receives datagrams on address: udp://host:port, udp4://, udp6://
// or unixgram:///path. Without a host it receives on all addresses, with port 0
// on one that is free. handler returns the PacketHandler of a socket; it is
// called once for each, as PacketHandler's methods are.
//
// There is one socket, with the loop that has the fewest connections. With
// Engine.ReusePort each loop has one and the kernel spreads the senders, not
// their datagrams, over them; Unix sockets know nothing of this.
//
// ListenPacket may be called before and during Run. The port is bound when it
// returns.
func (e *Engine) ListenPacket(address string, handler func(*PacketConn) PacketHandler) (*PacketListener, error) {
	return e.ListenPacketWith(address, PacketOptions{}, handler)
}

// ListenPacketWith is ListenPacket with options.
func (e *Engine) ListenPacketWith(address string, o PacketOptions, handler func(*PacketConn) PacketHandler) (*PacketListener, error) {
	if handler == nil {
		return nil, fmt.Errorf("epi: listen %s: no handler function was given", address)
	}
	if err := e.start(); err != nil {
		return nil, err
	}
	ln, err := e.listenPacket(address, o, handler)
	if err != nil {
		return nil, fmt.Errorf("epi: listen %s: %w", address, err)
	}
	return ln, nil
}

func (e *Engine) listenPacket(text string, o PacketOptions, handler func(*PacketConn) PacketHandler) (*PacketListener, error) {
	where, err := address.ParsePacket(text)
	if err != nil {
		return nil, err
	}
	if err := o.check(where.Network); err != nil {
		return nil, err
	}
	local, err := endpointOf(context.Background(), where)
	if err != nil {
		return nil, err
	}
	loops := []*Loop{e.lighterLoop()}
	reuse := e.cfg.reusePort && where.Path == ""
	if reuse {
		loops = e.loops
	}
	ln := &PacketListener{text: text}
	for _, l := range loops {
		c, err := l.bindPacket(where.Network, local, o.settings(reuse))
		if err != nil {
			ln.discard()
			return nil, explain(err, where)
		}
		ln.add(c, handler)
		local = c.local // with the port that was chosen for the first
	}
	return ln, ln.begin()
}

// ListenPacketOn is ListenPacketWith on a socket that is bound already: one that
// another program has opened and handed over (systemd's socket activation;
// net.FilePacketConn makes a net.PacketConn of a descriptor), or one with options
// that ListenPacketWith does not have. It must be a UDP or a Unix socket for
// datagrams that is not connected. The socket belongs to the engine, which closes
// conn, also when it cannot use it. The file of a Unix socket stays when the
// listener is closed: it belongs to whoever has made it.
//
// One loop has the socket, whatever Engine.ReusePort says.
func (e *Engine) ListenPacketOn(conn net.PacketConn, o PacketOptions, handler func(*PacketConn) PacketHandler) (*PacketListener, error) {
	ln, err := e.listenPacketOn(conn, o, handler)
	if err != nil {
		_ = conn.Close() // the error that matters is there
		return nil, fmt.Errorf("epi: listen on %s: %w", conn.LocalAddr(), err)
	}
	return ln, nil
}

func (e *Engine) listenPacketOn(conn net.PacketConn, o PacketOptions, handler func(*PacketConn) PacketHandler) (*PacketListener, error) {
	if handler == nil {
		return nil, errors.New("no handler function was given")
	}
	if err := e.start(); err != nil {
		return nil, err
	}
	network := conn.LocalAddr().Network()
	if network != "udp" && network != "unixgram" {
		return nil, fmt.Errorf("it is a %s socket: hand over one of UDP, or a Unix socket for datagrams", network)
	}
	if err := o.check(network); err != nil {
		return nil, err
	}
	l := e.lighterLoop()
	o.Control = nil
	h, bound, err := l.engine.shared.AdoptPacket(conn, o.settings(false))
	if err != nil {
		return nil, err
	}
	ln := &PacketListener{text: network + "://"}
	c := newPacketConn(l, network, h, bound, noPeer)
	ln.add(c, handler)
	return ln, ln.begin()
}

func (l *Loop) bindPacket(network string, local driver.Endpoint, o sock.PacketOptions) (*PacketConn, error) {
	h, bound, err := l.engine.shared.BindPacket(network, local, o)
	if err != nil {
		return nil, err
	}
	c := newPacketConn(l, network, h, bound, noPeer)
	c.file = sock.NoteSocketFile(bound.Path)
	return c, nil
}

// add makes a socket one of the listener's.
func (ln *PacketListener) add(c *PacketConn, handler func(*PacketConn) PacketHandler) {
	c.makeHandler = handler
	ln.conns = append(ln.conns, c)
	ln.addr = PacketAddr(c.local)
}

// begin lets the loops open their sockets.
func (ln *PacketListener) begin() error {
	for i, c := range ln.conns {
		if err := c.post(); err != nil {
			for _, begun := range ln.conns[:i] {
				_ = begun.Close()
			}
			ln.conns = ln.conns[i:]
			ln.discard()
			return err
		}
	}
	return nil
}

// discard closes sockets that no loop knows of.
func (ln *PacketListener) discard() {
	for _, c := range ln.conns {
		c.discard()
	}
}

// Addr returns the address that the listener is bound to.
func (ln *PacketListener) Addr() net.Addr {
	if ln.addr.AddrPort.IsValid() {
		return net.UDPAddrFromAddrPort(ln.addr.AddrPort)
	}
	return &net.UnixAddr{Name: ln.addr.Path, Net: "unixgram"}
}

// String returns the address with its scheme, as a client needs it.
func (ln *PacketListener) String() string {
	scheme, _, _ := strings.Cut(ln.text, "://")
	return scheme + "://" + ln.addr.String()
}

// DialPacket makes a socket that exchanges datagrams with one peer, at an address
// as for ListenPacket. Nothing is sent: whether anybody listens there is not
// known. A host's name is looked up first, until ctx ends at the latest; then
// ctx has no meaning. A Unix socket gets a name of its own, so that the peer can
// answer.
//
// DialPacket may be called from any goroutine; before Run, what is written
// leaves when Run begins. The socket counts for Engine.MaxConns.
func (e *Engine) DialPacket(ctx context.Context, address string, handler PacketHandler) (*PacketConn, error) {
	return e.DialPacketWith(ctx, address, PacketOptions{}, handler)
}

// DialPacketWith is DialPacket with options; Groups are for listeners alone.
func (e *Engine) DialPacketWith(ctx context.Context, address string, o PacketOptions, handler PacketHandler) (*PacketConn, error) {
	if err := e.start(); err != nil {
		return nil, err
	}
	c, err := e.dialPacket(ctx, address, o, handler)
	if err != nil {
		return nil, fmt.Errorf("epi: dial %s: %w", address, err)
	}
	return c, nil
}

func (e *Engine) dialPacket(ctx context.Context, text string, o PacketOptions, handler PacketHandler) (*PacketConn, error) {
	if handler == nil {
		return nil, ErrNoHandler
	}
	to, err := address.ParsePacket(text)
	if err != nil {
		return nil, err
	}
	remote, err := endpointOf(ctx, to)
	if err != nil {
		return nil, err
	}
	if remote.Path == "" && (!remote.AddrPort.Addr().IsValid() || remote.AddrPort.Port() == 0) {
		return nil, fmt.Errorf("address %q names nobody to send to: write %s", text, address.PacketSchemes)
	}
	if err := o.check(to.Network); err != nil {
		return nil, err
	}
	if len(o.Groups) > 0 {
		return nil, errors.New("PacketOptions.Groups are for listeners: who is dialled sends to this socket alone")
	}
	if !e.admission.enter() {
		return nil, fmt.Errorf("%w: MaxConns is %d", ErrTooManyConns, e.cfg.maxConns)
	}
	l := e.lighterLoop()
	h, local, err := l.engine.shared.ConnectPacket(to.Network, remote, o.settings(false))
	if err != nil {
		e.admission.leave()
		return nil, err
	}
	c := newPacketConn(l, to.Network, h, local, remote)
	c.file = sock.NoteSocketFile(local.Path)
	c.handler = handler
	if err := c.post(); err != nil {
		c.discard()
		e.admission.leave()
		return nil, err
	}
	return c, nil
}

// endpointOf returns the one address of a.
func endpointOf(ctx context.Context, a address.Address) (driver.Endpoint, error) {
	at, path, err := a.Endpoint(ctx)
	return driver.Endpoint{AddrPort: at, Path: path}, err
}

// Close closes the listener's sockets, after what is queued for UDP has left; what
// the system has no room for then is lost. When it returns, another can listen at the
// address, and a Unix socket's file is removed, unless it is another's by now: what
// is queued for Unix peers still leaves, as for PacketConn.Close. But an abstract name
// (unix(7)), and a socket that others may hold too, of ListenPacketOn, are free when
// they have let go of it. OnClose follows for each socket. Close may be called
// from any goroutine, also inside callbacks, and more than once.
func (ln *PacketListener) Close() error {
	for _, c := range ln.conns {
		_ = c.end(nil) // ErrClosed is no news here
		c.stop()
	}
	return nil
}
