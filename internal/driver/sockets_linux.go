package driver

import (
	"cmp"
	"errors"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/internal/sock"
	"github.com/epinet/epi/poll"
)

// descriptors is what the drivers that hold descriptors have in common besides:
// all that is done to a socket by one system call at once.
type descriptors struct {
	sockets
	calls calls
	now   [1][]byte // of SendNow
	room  packetRoom
}

func newDescriptors(cfg Config, c calls) descriptors {
	return descriptors{sockets: sockets{cfg: cfg}, calls: c}
}

// calls are the system calls on sockets whose answer decides what a driver does next. They are those of package sock; a test has a
// kernel of its own.
type calls interface {
	Accept(fd int) (int, netip.AddrPort, error)
	AcceptShared(fd int) (int, netip.AddrPort, error)
	AcceptAndClose(fd int) error
	Peer(fd int) netip.AddrPort
	Connect(local netip.Addr, addr net.Addr, o sock.StreamOptions) (int, error)
	ConnectError(fd int) error
	Read(fd int, p []byte) (int, error)
	Write(fd int, bufs [][]byte) (int, error)
	NewPipe(size int) (read, write int, err error)
	FillPipe(write, socket, most int) (int, error)
	EmptyPipe(socket, read, held int) (int, error)
	CloseWrite(fd int) error
	Delivered(fd int) bool
	Unacked(fd int) int
	SendRoom(fd int) int
	DropNotices(fd int) (some bool)
	NetConn(fd int) (net.Conn, error)
	ResetOnClose(fd int)
	Close(fd int, reset bool)

	Internet(fd int) bool
	Wide(fd int) bool
	ReceiveMessages(fd int, headers []unix.Mmsghdr) (int, error)
	SendMessages(fd int, headers []unix.Mmsghdr) (int, error)
	// NewGate makes a gate that watches fd for what arrives, and SetGate changes that.
	NewGate(fd int) (gate int, err error)
	SetGate(gate, fd int, want poll.Mask) error
}

// linux are the calls of the kernel that the program runs on.
type linux struct{}

func (linux) Accept(fd int) (int, netip.AddrPort, error)       { return sock.Accept(fd) }
func (linux) AcceptShared(fd int) (int, netip.AddrPort, error) { return sock.AcceptShared(fd) }
func (linux) AcceptAndClose(fd int) error                      { return sock.AcceptAndClose(fd) }
func (linux) Peer(fd int) netip.AddrPort                       { return sock.Peer(fd) }
func (linux) ConnectError(fd int) error                        { return sock.ConnectError(fd) }
func (linux) Read(fd int, p []byte) (int, error)               { return sock.Read(fd, p) }
func (linux) Write(fd int, bufs [][]byte) (int, error)         { return sock.Write(fd, bufs) }
func (linux) NewPipe(size int) (read, write int, err error)    { return sock.NewPipe(size) }
func (linux) FillPipe(write, socket, most int) (int, error) {
	return sock.FillPipe(write, socket, most)
}
func (linux) EmptyPipe(socket, read, held int) (int, error) {
	return sock.EmptyPipe(socket, read, held)
}
func (linux) CloseWrite(fd int) error          { return sock.CloseWrite(fd) }
func (linux) Delivered(fd int) bool            { return sock.Delivered(fd) }
func (linux) Unacked(fd int) int               { return sock.Unacked(fd) }
func (linux) SendRoom(fd int) int              { return sock.SendRoom(fd) }
func (linux) DropNotices(fd int) bool          { return sock.DropNotices(fd) }
func (linux) NetConn(fd int) (net.Conn, error) { return sock.NetConn(fd) }
func (linux) ResetOnClose(fd int)              { sock.ResetOnClose(fd) }
func (linux) Close(fd int, reset bool)         { sock.Close(fd, reset) }
func (linux) Internet(fd int) bool             { return sock.Internet(fd) }
func (linux) Wide(fd int) bool                 { return sock.Wide(fd) }

func (linux) ReceiveMessages(fd int, headers []unix.Mmsghdr) (int, error) {
	return sock.ReceiveMessages(fd, headers)
}

func (linux) SendMessages(fd int, headers []unix.Mmsghdr) (int, error) {
	return sock.SendMessages(fd, headers)
}

func (linux) Connect(local netip.Addr, addr net.Addr, o sock.StreamOptions) (int, error) {
	return sock.Connect(local, addr, o)
}

// detach forgets the socket without closing its connection.
func (d *descriptors) detach(s *Socket, rest []byte) {
	conn, err := d.calls.NetConn(int(s.Handle))
	d.forgetSocket(s)
	d.detached = append(d.detached, detachment{s, conn, rest, err})
}

// connect makes a socket that is being connected. It becomes writable when that
// has ended.
func (d *descriptors) connect(s *Socket, local netip.Addr, addr net.Addr, o sock.StreamOptions) error {
	fd, err := d.calls.Connect(local, addr, o)
	if errors.Is(err, unix.EAGAIN) {
		return ErrBusy
	}
	if err != nil && err != unix.EINPROGRESS {
		return err
	}
	s.Handle = Handle(fd)
	s.flags, s.stage = 0, stageConnecting
	return nil
}

func (d *descriptors) discardInput(s *Socket, buf []byte) {
	for i := 0; s.flags&ended == 0 && i < discardReads; i++ {
		d.counters.Reads.Add(1)
		if _, err := d.calls.Read(int(s.Handle), buf); err != nil {
			return
		}
	}
}

// end closes the descriptor and forgets the socket.
func (d *descriptors) end(s *Socket, reset bool) {
	d.calls.Close(int(s.Handle), reset)
	d.forgetSocket(s)
}

func (d *descriptors) SendNow(s *Socket, p []byte) int {
	d.counters.Writes.Add(1)
	d.now[0] = p
	n, _ := d.calls.Write(int(s.Handle), d.now[:])
	d.now[0] = nil
	return n
}

func (d *descriptors) Thread() int64 { return int64(unix.Gettid()) }

func (d *descriptors) CloseWrite(s *Socket) error {
	err := d.calls.CloseWrite(int(s.Handle))
	if err == unix.ENOTCONN {
		// The peer has reset the connection, which only the pending error says.
		err = cmp.Or(d.calls.ConnectError(int(s.Handle)), err)
	}
	return os.NewSyscallError("shutdown", err)
}

func (d *descriptors) Delivered(s *Socket) bool { return d.calls.Delivered(int(s.Handle)) }
