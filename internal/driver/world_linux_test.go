package driver

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/internal/schedule"
	"github.com/epinet/epi/internal/sock"
)

// A world is the sockets of a kernel in memory, and the peers at their other ends.
// It is the calls of a driver: none of its descriptors is a real one. Numbers are
// used again at once, or later, as it is chosen.
//
// It ends the run where a driver breaks a rule: an operation on a descriptor that
// is not open, a close of one that is still watched or used.
type world struct {
	*schedule.Run
	files   map[int]*file
	opened  []*file // in the order of their opening
	numbers []int   // that are free
	most    int     // the highest number yet
	made    int     // connections
	clients []*file // that wait to be accepted
	noFiles bool    // there are no descriptors left
	quiet   bool    // nothing goes wrong any more, and the peers do nothing
	busy    int     // calls since the run began

	changed  func(f *file) // something has happened to a socket
	closing  func(f *file) // its descriptor is about to be closed
	stopping func(f *file) // a socket for datagrams: no event of it comes any more
}

// maxCalls is more than any run makes that comes to rest.
const maxCalls = 200_000

// A file is a socket, its peer included, or an end of a pipe.
type file struct {
	fd   int
	id   int
	open bool

	arrived   []byte // sent by the peer, not received yet
	sent      int    // bytes that the peer has sent
	ended     bool   // the peer has shut down its writing half
	err       unix.Errno
	told      bool // the error was met
	room      int  // for bytes that the driver sends
	full      bool // a write has found too little room
	accepted  []byte
	shut      bool // the driver has shut down its writing half
	resets    bool // closing resets it
	reset     bool // and has
	given     bool // to package net
	connect   connecting
	notices   bool // something waits in the queue of errors that is no error of the connection
	mark      int  // urgent data lies behind this byte, until that is read; -1: there is none
	signalled bool // a read at the mark has found nothing but the signal

	pipe      *pipe           // what the descriptor is an end of; nil: it is a socket
	datagrams *datagramSocket // of a socket for datagrams
	gate      *gateFile       // of an epoll instance in a socket's place
}

// A pipe holds bytes between its two ends.
type pipe struct {
	held  []byte
	unfit bool // nothing can be moved out of it, or into it if nothing was
}

type connecting uint8

const (
	connected connecting = iota
	underWay
	refused
)

// sendRoom is the room of a socket's send buffer.
const sendRoom = 48

func newWorld(r *schedule.Run) *world {
	return &world{Run: r, files: map[int]*file{}, changed: func(*file) {}, closing: func(*file) {}, stopping: func(*file) {}}
}

// sentByte is byte i of what the peer of connection id sends.
func sentByte(id, i int) byte { return byte(id*71 + i*31 + i>>8*7) }

// number returns a descriptor that is free, often one that was just closed.
func (w *world) number() int {
	n := len(w.numbers)
	if n == 0 || w.Chance(4) {
		w.most++
		return w.most
	}
	i := n - 1
	if w.Chance(2) {
		i = w.Choose(n)
	}
	fd := w.numbers[i]
	w.numbers = append(w.numbers[:i], w.numbers[i+1:]...)
	return fd
}

func (w *world) install(f *file) *file {
	f.fd, f.open = w.number(), true
	w.files[f.fd] = f
	w.opened = append(w.opened, f)
	return f
}

// client makes a socket with a peer, which is not open yet.
func (w *world) client() *file {
	w.made++
	return &file{id: w.made, room: 1 + w.Choose(sendRoom), mark: -1}
}

// socket returns an open socket with a peer.
func (w *world) socket() *file { return w.install(w.client()) }

// file returns what is open under a number.
func (w *world) file(fd int, what string) *file {
	if w.busy++; w.busy > maxCalls {
		w.Failf("it does not come to rest: %d calls", w.busy)
	}
	f := w.files[fd]
	if f == nil || !f.open {
		w.Failf("%s of descriptor %d, which is not open", what, fd)
	}
	return f
}

// over reports whether the peer sends nothing more.
func (f *file) over() bool { return f.ended || f.err != 0 }

// arrive lets the peer send n bytes.
func (w *world) arrive(f *file, n int) {
	if f.over() || f.connect != connected {
		return
	}
	for range n {
		f.arrived = append(f.arrived, sentByte(f.id, f.sent))
		f.sent++
	}
	w.Note("%v sends %d bytes, %d in all", f, n, f.sent)
	w.changed(f)
}

func (w *world) urge(f *file) {
	if f.over() || f.connect != connected {
		return
	}
	w.Count("urgent data")
	w.Note("%v sends urgent data behind byte %d", f, f.sent)
	f.mark, f.signalled = f.sent, false
	w.changed(f)
}

// notify puts something into the queue of errors, as time stamps are.
func (w *world) notify(f *file) {
	if f.err != 0 || f.connect != connected {
		return
	}
	w.Count("notices")
	w.Note("%v: a notice", f)
	f.notices = true
	w.changed(f)
}

func (w *world) DropNotices(fd int) (some bool) {
	f := w.file(fd, "DropNotices")
	some, f.notices = f.notices, false
	return some
}

func (w *world) end(f *file) {
	if f.connect != connected {
		return
	}
	w.Note("%v ends its half", f)
	f.ended = true
	w.changed(f)
}

func (w *world) fail(f *file) {
	if f.connect != connected || f.err != 0 {
		return
	}
	w.Fault("reset by the peer")
	w.Note("%v resets", f)
	f.err = unix.ECONNRESET
	w.changed(f)
}

// read lets the peer read n bytes of what was sent. There is an event of it only for
// those who have found too little room.
func (w *world) read(f *file, n int) {
	f.room = min(f.room+n, sendRoom)
	if f.full {
		f.full = false
		w.changed(f)
	}
}

// settleConnect ends a connect that is under way.
func (w *world) settleConnect(f *file, as connecting) {
	if f.connect == underWay {
		w.Note("%v: the connect has ended", f)
		f.connect = as
		w.changed(f)
	}
}

func (f *file) String() string { return fmt.Sprintf("connection %d (descriptor %d)", f.id, f.fd) }

func (w *world) Peer(fd int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, 1}), uint16(w.file(fd, "Peer").id))
}

// Accept takes a client. The listening socket is number 0.
func (w *world) Accept(fd int) (int, netip.AddrPort, error) {
	w.file(fd, "Accept")
	switch {
	case w.noFiles:
		w.Fault("no descriptors")
		return -1, netip.AddrPort{}, unix.EMFILE
	case len(w.clients) == 0:
		return -1, netip.AddrPort{}, unix.EAGAIN
	case !w.quiet && w.Chance(16):
		w.Fault("accept fails")
		return -1, netip.AddrPort{}, unix.ECONNABORTED
	}
	f := w.takeClient()
	return f.fd, w.Peer(f.fd), nil
}

func (w *world) takeClient() *file {
	f := w.install(w.clients[0])
	w.clients = w.clients[1:]
	w.Note("%v is accepted", f)
	return f
}

func (w *world) AcceptShared(fd int) (int, netip.AddrPort, error) { return w.Accept(fd) }

func (w *world) AcceptAndClose(fd int) error {
	conn, _, err := w.Accept(fd)
	if err == nil {
		w.Close(conn, false)
	}
	return err
}

func (w *world) Connect(netip.Addr, net.Addr, sock.StreamOptions) (int, error) {
	if !w.quiet && w.Chance(8) {
		w.Fault("no room for a connect")
		return -1, unix.EAGAIN
	}
	if !w.quiet && w.Chance(16) {
		w.Fault("no way to a peer")
		return -1, unix.ENETUNREACH
	}
	f := w.client()
	f.connect = underWay
	w.install(f)
	w.Note("%v connects", f)
	return f.fd, unix.EINPROGRESS
}

func (w *world) ConnectError(fd int) error {
	f := w.file(fd, "ConnectError")
	switch {
	case f.connect == refused:
		return unix.ECONNREFUSED
	case f.err != 0:
		f.told = true
		return f.err
	}
	return nil
}

func (w *world) Read(fd int, p []byte) (int, error) {
	f := w.file(fd, "Read")
	if f.pipe != nil {
		return f.pipe.take(p[:1+w.Choose(len(p))])
	}
	n, err := w.readable(f, len(p))
	if err != nil {
		return 0, err
	}
	copy(p, f.arrived[:n])
	f.arrived = f.arrived[n:]
	return n, nil
}

func (p *pipe) take(b []byte) (int, error) {
	if len(p.held) == 0 {
		return 0, unix.EAGAIN
	}
	n := copy(b, p.held)
	p.held = p.held[n:]
	return n, nil
}

// readable returns how many bytes one read of most takes.
func (w *world) readable(f *file, most int) (int, error) {
	if most <= 0 {
		w.Failf("%v: a read of %d bytes", f, most)
	}
	if len(f.arrived) == 0 {
		switch {
		case f.err != 0:
			f.told = true
			return 0, f.err
		case f.ended:
			return 0, io.EOF
		}
		return 0, unix.EAGAIN
	}
	n := min(most, len(f.arrived))
	if f.mark >= 0 {
		return w.beforeMark(f, n)
	}
	return n, nil
}

// beforeMark bounds a read by the mark of urgent data, at which each read ends; and
// there, once, a signal that waits makes one end with nothing.
func (w *world) beforeMark(f *file, n int) (int, error) {
	before := f.mark - (f.sent - len(f.arrived))
	if before > 0 {
		return min(n, before), nil
	}
	if !f.signalled && w.Chance(2) {
		w.Count("signal at the mark")
		f.signalled = true
		return 0, unix.EAGAIN
	}
	f.mark = -1
	return n, nil
}

func (w *world) Write(fd int, bufs [][]byte) (int, error) {
	f := w.file(fd, "Write")
	size := 0
	for _, b := range bufs {
		size += len(b)
	}
	n, err := w.writable(f, size)
	if err != nil {
		return 0, err
	}
	f.take(bufs, n)
	return n, nil
}

// take adds the first n bytes of bufs to what was sent.
func (f *file) take(bufs [][]byte, n int) {
	f.room -= n
	for _, b := range bufs {
		b = b[:min(n, len(b))]
		f.accepted = append(f.accepted, b...)
		n -= len(b)
	}
}

// writable returns how many of size bytes there is room for.
func (w *world) writable(f *file, size int) (int, error) {
	switch {
	case f.shut:
		w.Failf("%v: a write behind the end", f)
	case f.err != 0:
		return 0, unix.EPIPE
	case f.connect != connected:
		w.Failf("%v: a write before it is connected", f)
	case f.room <= 0:
		f.full = true
		return 0, unix.EAGAIN
	}
	n := min(size, f.room)
	if n < size {
		f.full = true
		w.Fault("short write")
	}
	return n, nil
}

func (w *world) NewPipe(int) (read, write int, err error) {
	if !w.quiet && w.Chance(8) {
		w.Fault("no pipe")
		return -1, -1, unix.EMFILE
	}
	p := &pipe{unfit: w.Chance(4)}
	return w.install(&file{pipe: p}).fd, w.install(&file{pipe: p}).fd, nil
}

func (w *world) FillPipe(write, socket, most int) (int, error) {
	p, f := w.file(write, "FillPipe").pipe, w.file(socket, "FillPipe")
	if len(p.held) > 0 {
		w.Failf("%v: its bytes are moved into a pipe that is not empty", f)
	}
	if p.unfit && w.Chance(2) {
		w.Fault("splice refused")
		return 0, unix.EINVAL
	}
	n, err := w.readable(f, most)
	if err != nil {
		return 0, err
	}
	if !w.quiet {
		n = 1 + w.Choose(n)
	}
	p.held = append(p.held, f.arrived[:n]...)
	f.arrived = f.arrived[n:]
	return n, nil
}

func (w *world) EmptyPipe(socket, read, held int) (int, error) {
	f, p := w.file(socket, "EmptyPipe"), w.file(read, "EmptyPipe").pipe
	if held != len(p.held) {
		w.Failf("%v: %d bytes are to be moved, and the pipe holds %d", f, held, len(p.held))
	}
	if p.unfit {
		w.Fault("splice refused")
		return 0, unix.EINVAL
	}
	n, err := w.writable(f, held)
	if err != nil {
		return 0, err
	}
	if !w.quiet {
		n = 1 + w.Choose(n)
	}
	f.take([][]byte{p.held}, n)
	p.held = p.held[n:]
	return n, nil
}

func (w *world) CloseWrite(fd int) error {
	f := w.file(fd, "CloseWrite")
	if f.err != 0 {
		return unix.ENOTCONN
	}
	f.shut = true
	return nil
}

func (w *world) Delivered(fd int) bool { return w.Unacked(fd) == 0 }

func (w *world) Unacked(fd int) int { return sendRoom - w.file(fd, "Unacked").room }

// NetConn gives the socket to package net, in the shape of nothing but its end.
func (w *world) NetConn(fd int) (net.Conn, error) {
	f := w.file(fd, "NetConn")
	w.closing(f)
	f.given = true
	w.release(f)
	if !w.quiet && w.Chance(8) {
		w.Fault("detaching fails")
		return nil, os.NewSyscallError("dup", syscall.EMFILE)
	}
	return fakeNetConn{file: f}, nil
}

// A fakeNetConn is a connection that was detached.
type fakeNetConn struct {
	net.Conn
	file *file
}

func (w *world) ResetOnClose(fd int) { w.file(fd, "ResetOnClose").resets = true }

func (w *world) Close(fd int, reset bool) {
	f := w.file(fd, "Close")
	w.closing(f)
	if f.pipe == nil {
		f.reset = reset || f.resets || len(f.arrived) > 0
		w.Note("%v is closed; reset: %v", f, f.reset)
	}
	w.release(f)
}

func (w *world) release(f *file) {
	f.open = false
	delete(w.files, f.fd)
	w.numbers = append(w.numbers, f.fd)
}

// stillOpen returns the descriptors that were not closed.
func (w *world) stillOpen() (all []int) {
	for _, f := range w.opened {
		if f.open && f.fd != listeningFD {
			all = append(all, f.fd)
		}
	}
	return all
}

// listeningFD is the descriptor of the one listening socket.
const listeningFD = 1

// listen makes the listening socket.
func (w *world) listen() { w.install(&file{mark: -1}) }
