package driver

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/epinet/epi/internal/sock"
)

// portableSystem is the System of the portable driver: its sockets are of package net.
type portableSystem Shared

func (p *portableSystem) Bind(network string, addr net.Addr, o sock.StreamOptions) (Handle, net.Addr, error) {
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
	h, err := p.hold(ln, o.KeepAlive())
	if err != nil {
		return NoHandle, nil, errors.Join(err, ln.Close())
	}
	return h, ln.Addr(), nil
}

// Adopt takes a duplicate: nobody else accepts any more on what was handed over.
func (p *portableSystem) Adopt(ln net.Listener, o sock.StreamOptions) (Handle, error) {
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
	h, err := p.adopt(own, o)
	if err != nil {
		return NoHandle, errors.Join(err, own.Close())
	}
	if ul, ok := ln.(*net.UnixListener); ok {
		ul.SetUnlinkOnClose(false)
	}
	_ = ln.Close() // which leaves the duplicate
	return h, nil
}

func (p *portableSystem) adopt(ln net.Listener, o sock.StreamOptions) (Handle, error) {
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
	return p.hold(ln, o.KeepAlive())
}

// hold gives a listening socket its number.
func (p *portableSystem) hold(ln net.Listener, keepAlive net.KeepAliveConfig) (Handle, error) {
	backlog, err := sock.NewBacklog(ln)
	if err != nil {
		return NoHandle, plain(err)
	}
	if ul, ok := ln.(*net.UnixListener); ok {
		ul.SetUnlinkOnClose(false) // the engine removes the file, unless it is another's
	}
	return p.handles.add(&port{ln, backlog, keepAlive}), nil
}

// Stop closes the socket. Its number stays taken until Discard.
func (p *portableSystem) Stop(h Handle) {
	_ = p.handles.get(h).(*port).Close() // whatever it answers, it is closed
}

// File ends the listener's own Accepts: those who accept find out that the socket
// is shared.
func (p *portableSystem) File(h Handle) (*os.File, error) {
	ln := p.handles.get(h).(*port).listener
	_ = ln.(interface{ SetDeadline(time.Time) error }).SetDeadline(past)
	file, err := ln.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		return nil, plain(err)
	}
	return file, nil
}

func (p *portableSystem) Shed(h Handle) error {
	return p.Reserve.Shed(p.handles.get(h).(*port).backlog.AcceptAndClose)
}

func (p *portableSystem) Reclaim(h Handle) bool {
	return p.Reserve.Reclaim(func() { p.Discard(h) })
}

func (p *portableSystem) Discard(h Handle) {
	what := p.handles.get(h)
	p.handles.remove(h)
	// Nobody waits for it: there is nothing to learn from an error.
	_ = what.(io.Closer).Close()
}

func (p *portableSystem) PeerName(h Handle) string {
	unix, ok := p.handles.get(h).(*link).conn.RemoteAddr().(*net.UnixAddr)
	if !ok || unix.Name == "@" {
		return "" // "@" is how package net writes that it has none
	}
	return unix.Name
}

func (p *portableSystem) Unacked(h Handle) int { return p.link(h).unacked() }

func (p *portableSystem) Traffic(h Handle) (received, acked uint64, ok bool) {
	return sock.TrafficOf(p.link(h).conn.(syscall.Conn))
}

func (p *portableSystem) LocalAddr(h Handle) net.Addr {
	addr := p.link(h).conn.LocalAddr()
	if unix, ok := addr.(*net.UnixAddr); ok && unix.Name == "@" {
		return &net.UnixAddr{Net: unix.Net} // how package net writes that it has no name
	}
	return addr
}

func (p *portableSystem) PeerCredentials(h Handle) (pid int, uid, gid uint32, err error) {
	return sock.PeerCredentialsOf(p.link(h).conn.(syscall.Conn))
}

func (p *portableSystem) BindPacket(network string, local Endpoint, o sock.PacketOptions) (Handle, Endpoint, error) {
	config := net.ListenConfig{Control: o.Prepare}
	if network == "unixgram" {
		conn, err := config.ListenPacket(context.Background(), network, local.Path)
		if err == nil {
			_ = conn.(*net.UnixConn).SetWriteBuffer(sock.PacketSendBuffer) // as much of it as the system allows
		}
		return p.packetHandle(conn, Endpoint{}, err)
	}
	where := net.UDPAddrFromAddrPort(local.AddrPort)
	conn, err := config.ListenPacket(context.Background(), network, where.String())
	return p.packetHandle(conn, Endpoint{}, err)
}

func (p *portableSystem) AdoptPacket(conn net.PacketConn, o sock.PacketOptions) (Handle, Endpoint, error) {
	switch c := conn.(type) {
	case *net.UDPConn:
		raw, err := c.SyscallConn()
		if err != nil {
			return NoHandle, Endpoint{}, err
		}
		if c.RemoteAddr() != nil {
			return NoHandle, Endpoint{}, errConnected
		}
		local := c.LocalAddr().(*net.UDPAddr)
		network := "udp6"
		if local.IP.To4() != nil {
			network = "udp4"
		}
		return p.packetHandle(c, Endpoint{}, o.Prepare(network, local.String(), raw))
	case *net.UnixConn:
		if c.RemoteAddr() != nil {
			return NoHandle, Endpoint{}, errConnected
		}
		raw, err := c.SyscallConn()
		if err != nil {
			return NoHandle, Endpoint{}, err
		}
		_ = c.SetWriteBuffer(sock.PacketSendBuffer)
		return p.packetHandle(c, Endpoint{}, o.Prepare("unixgram", c.LocalAddr().String(), raw))
	}
	return NoHandle, Endpoint{}, fmt.Errorf("a %T has no socket of its own: hand over a *net.UDPConn or *net.UnixConn", conn)
}

// errConnected refuses a socket for datagrams that knows one peer only.
var errConnected = errors.New("the socket is connected to one peer: hand over one that is only bound")

func (p *portableSystem) ConnectPacket(network string, remote Endpoint, o sock.PacketOptions) (Handle, Endpoint, error) {
	dialer, where := net.Dialer{Control: o.PrepareDialing}, remote.AddrPort.String()
	if network == "unixgram" {
		dialer.LocalAddr = &net.UnixAddr{Name: ownName(), Net: network}
		where = remote.Path
	}
	conn, err := dialer.Dial(network, where)
	if err != nil {
		return NoHandle, Endpoint{}, plain(err)
	}
	return p.packetHandle(conn.(net.PacketConn), remote, nil)
}

// ownName returns a name for a Unix socket, so that its peer can answer: in the
// abstract namespace where there is one, else that of a file.
func ownName() string {
	name := "epi-" + rand.Text()
	if runtime.GOOS == "linux" {
		return "@" + name
	}
	return filepath.Join(os.TempDir(), name)
}

func (p *portableSystem) packetHandle(conn net.PacketConn, remote Endpoint, err error) (Handle, Endpoint, error) {
	if err != nil {
		return NoHandle, Endpoint{}, plain(err)
	}
	return p.handles.add(&packetLink{conn: conn, remote: remote}), endpointOf(conn.LocalAddr()), nil
}

// StopPacket closes the socket. Its number stays taken until ClosePacket.
func (p *portableSystem) StopPacket(h Handle) {
	_ = p.handles.get(h).(*packetLink).Close() // whatever it answers, it is closed
}

func (p *portableSystem) link(h Handle) *link { return p.handles.get(h).(*link) }
