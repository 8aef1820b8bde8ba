package driver

import (
	"cmp"
	"errors"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/internal/sock"
)

// descriptors is what the drivers that hold descriptors have in common besides:
// all that is done to a socket by one system call at once.
type descriptors struct {
	sockets
	room packetRoom
}

// detach forgets the socket without closing its connection.
func (d *descriptors) detach(s *Socket, rest []byte) {
	conn, err := sock.NetConn(int(s.Handle))
	d.forgetSocket(s)
	d.detached = append(d.detached, detachment{s, conn, rest, err})
}

// connect makes a socket that is being connected. It becomes writable when that
// has ended.
func (d *descriptors) connect(s *Socket, local netip.Addr, addr net.Addr, o sock.StreamOptions) error {
	fd, err := sock.Connect(local, addr, o)
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

func (d *descriptors) discardInput(s *Socket, buf []byte) {
	for i := 0; s.flags&ended == 0 && i < discardReads; i++ {
		d.counters.Reads.Add(1)
		if _, err := sock.Read(int(s.Handle), buf); err != nil {
			return
		}
	}
}

// end closes the descriptor and forgets the socket.
func (d *descriptors) end(s *Socket, reset bool) {
	sock.Close(int(s.Handle), reset)
	d.forgetSocket(s)
}

func (d *descriptors) SendNow(s *Socket, p []byte) int {
	d.counters.Writes.Add(1)
	n, _ := sock.Write(int(s.Handle), [][]byte{p})
	return n
}

func (d *descriptors) Thread() int64 { return int64(unix.Gettid()) }

func (d *descriptors) CloseWrite(s *Socket) error {
	err := sock.CloseWrite(int(s.Handle))
	if err == unix.ENOTCONN {
		// The peer has reset the connection, which only the pending error says.
		err = cmp.Or(sock.ConnectError(int(s.Handle)), err)
	}
	return os.NewSyscallError("shutdown", err)
}

func (d *descriptors) Delivered(s *Socket) bool       { return sock.Delivered(int(s.Handle)) }
func (d *descriptors) Unacked(s *Socket) int          { return sock.Unacked(int(s.Handle)) }
func (d *descriptors) Acked(s *Socket) (uint64, bool) { return sock.Acked(int(s.Handle)) }
func (d *descriptors) LocalAddr(s *Socket) net.Addr   { return sock.LocalAddr(int(s.Handle)) }

func (d *descriptors) PeerName(h Handle) string { return sock.PeerName(int(h)) }

func (d *descriptors) PeerCredentials(s *Socket) (pid int, uid, gid uint32, err error) {
	return sock.PeerCredentials(int(s.Handle))
}

func (d *descriptors) Discard(h Handle) { sock.Close(int(h), false) }

func (d *descriptors) Adopt(ln net.Listener, o sock.StreamOptions) (Handle, error) {
	fd, err := sock.Adopt(ln, o)
	if err != nil {
		return NoHandle, err
	}
	return Handle(fd), nil
}

func (d *descriptors) File(h Handle) (*os.File, error) { return sock.File(int(h)) }

func (d *descriptors) Stop(h Handle) { sock.StopListening(int(h)) }

func (d *descriptors) Bind(network string, addr net.Addr, o sock.StreamOptions) (Handle, net.Addr, error) {
	fd, err := sock.Listen(network, addr, o)
	if err != nil {
		return NoHandle, nil, err
	}
	return Handle(fd), sock.LocalAddr(fd), nil
}

func (d *descriptors) Shed(l *Listening) error {
	return d.cfg.Shared.Reserve.Shed(func() error { return sock.AcceptAndClose(int(l.Handle)) })
}

func (d *descriptors) Reclaim(h Handle) bool {
	return d.cfg.Shared.Reserve.Reclaim(func() { sock.Close(int(h), false) })
}
