package driver

import (
	"cmp"
	"errors"
	"iter"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/internal/slab"
	"github.com/epinet/epi/internal/sock"
)

// flags of a Socket, for its holder alone. What follows from ownFlags on each
// driver names for itself.
type flags uint8

const (
	receiving flags = 1 << iota // the engine wants bytes
	sending                     // a Send is pending
	listed                      // on a list
	ended                       // there is nothing more to read
	closed                      // Close was called
	ownFlags
)

// sockets is what the drivers have in common: the connections that are open,
// and all that is done to a socket by one system call at once.
type sockets struct {
	cfg       Config
	open      slab.Slab[*Socket]
	listeners slab.Slab[*Listening]
	gone      []*Socket    // closed, of which Closed is not yet reported
	detached  []detachment // of which Detached is not yet reported
	packets   packets
	counters  Counters
}

// A list is sockets to look after, each once.
type list struct {
	tokens []slab.Token
	spare  []slab.Token // the other half of a double buffer
}

func (l *list) len() int { return len(l.tokens) }

func (l *list) add(s *Socket) {
	if s.flags&listed == 0 {
		s.flags |= listed
		l.tokens = append(l.tokens, s.token)
	}
}

// takeListed empties the list and visits those of it that are still open. They
// may be put on it again meanwhile.
func (d *sockets) takeListed(l *list) iter.Seq[*Socket] {
	return func(visit func(*Socket) bool) {
		if len(l.tokens) == 0 {
			return
		}
		tokens := l.tokens
		l.tokens, l.spare = l.spare[:0], tokens
		for _, token := range tokens {
			if s, ok := d.open.Get(token); ok {
				s.flags &^= listed
				visit(s)
			}
		}
	}
}

// unreported counts the sockets whose last call is still to be made.
func (d *sockets) unreported() int { return len(d.gone) + len(d.detached) }

// reportGone makes the last calls.
func (d *sockets) reportGone() {
	for i, s := range d.gone {
		d.gone[i] = nil
		s.Stream.Closed()
	}
	d.gone = d.gone[:0]
	for i, t := range d.detached {
		d.detached[i] = detachment{}
		t.socket.Stream.Detached(t.conn, t.rest, t.err)
	}
	d.detached = d.detached[:0]
	d.packets.reportClosed()
}

// A detachment is a connection that belongs to package net.
type detachment struct {
	socket *Socket
	conn   net.Conn
	rest   []byte
	err    error
}

// detach forgets the socket without closing its connection.
func (d *sockets) detach(s *Socket, rest []byte) {
	conn, err := sock.NetConn(int(s.Handle))
	d.forgetSocket(s)
	d.detached = append(d.detached, detachment{s, conn, rest, err})
}

// connect makes a socket that is being connected. It becomes writable when that
// has ended.
func (d *sockets) connect(s *Socket, local netip.Addr, addr net.Addr) error {
	fd, err := sock.Connect(local, addr)
	if errors.Is(err, unix.EAGAIN) {
		return ErrBusy
	}
	if err != nil && err != unix.EINPROGRESS {
		return err
	}
	s.Handle = Handle(fd)
	s.flags, s.connecting = 0, true
	return nil
}

// discardReads bounds how much unread input Close throws away.
const discardReads = 4

func (d *sockets) discardInput(s *Socket, buf []byte) {
	for i := 0; s.flags&ended == 0 && i < discardReads; i++ {
		d.counters.Reads.Add(1)
		if _, err := sock.Read(int(s.Handle), buf); err != nil {
			return
		}
	}
}

// end closes the descriptor and forgets the socket.
func (d *sockets) end(s *Socket, reset bool) {
	sock.Close(int(s.Handle), reset)
	d.forgetSocket(s)
}

func (d *sockets) forgetSocket(s *Socket) {
	s.flags = closed
	d.open.Remove(s.token)
	s.Handle = NoHandle
}

func (d *sockets) CloseWrite(s *Socket) error {
	err := sock.CloseWrite(int(s.Handle))
	if err == unix.ENOTCONN {
		// The peer has reset the connection, which only the pending error says.
		err = cmp.Or(sock.ConnectError(int(s.Handle)), err)
	}
	return os.NewSyscallError("shutdown", err)
}

func (d *sockets) Delivered(s *Socket) bool     { return sock.Delivered(int(s.Handle)) }
func (d *sockets) Unacked(s *Socket) int        { return sock.Unacked(int(s.Handle)) }
func (d *sockets) LocalAddr(s *Socket) net.Addr { return sock.LocalAddr(int(s.Handle)) }
func (d *sockets) Shed(l *Listening) error      { return d.cfg.Reserve.Shed(int(l.Handle)) }
func (d *sockets) Reclaim(h Handle) bool        { return d.cfg.Reserve.Reclaim(int(h)) }
func (d *sockets) Discard(h Handle)             { sock.Close(int(h), false) }
func (d *sockets) Counters() *Counters          { return &d.counters }

func (d *sockets) Bind(network string, addr net.Addr, reusePort bool) (Handle, net.Addr, error) {
	fd, err := sock.Listen(network, addr, reusePort)
	if err != nil {
		return NoHandle, nil, err
	}
	return Handle(fd), sock.LocalAddr(fd), nil
}

func (d *sockets) Adopt(ln net.Listener) (Handle, error) {
	fd, err := sock.Adopt(ln)
	if err != nil {
		return NoHandle, err
	}
	return Handle(fd), nil
}

func (d *sockets) Sockets(visit func(Stream)) {
	for _, s := range d.open.All() {
		visit(s.Stream)
	}
}
