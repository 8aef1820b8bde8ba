package driver

import (
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/epinet/epi/internal/sock"
)

// Chance makes the choices of a simulation, all of them from one seed.
type Chance interface {
	// Choose returns a number from 0 to n-1.
	Choose(n int) int
	// Count notes that something of a kind has happened.
	Count(kind string)
	// Fault notes that something of a kind has gone wrong, by choice.
	Fault(kind string)
	// Failf ends the run: something that must not be is so. It does not return.
	Failf(format string, args ...any)
}

// A World is the kernel, the network and the clock of a simulated engine, for
// tests. All of it belongs to one goroutine: the loops run in turns.
type World struct {
	Chance
	Now     int64 // nanoseconds
	Drivers []*Simulated
	Backlog []*Link // clients that wait to be accepted
	NoFiles bool    // accepting fails: EMFILE
	Unix    bool    // streams have no addresses, and a name at most
	Calm    bool    // nothing goes wrong any more, and nothing is split or late
	// Oversize is how many datagrams have come that were too long.
	Oversize int
	// Point is called where others may go on: in each call of a driver.
	Point func()
	// Wait lets the others go on for as long as until is false, and the time has not
	// come; -1 is never.
	Wait func(until func() bool, when int64)
	// Thread returns a number of whoever goes on.
	Thread func() int64
	// Dialled says how attempts to connect end.
	Dialled func(s Stream, l *Link, to net.Addr) Answer

	links   []*Link // by handle
	free    []Handle
	packets map[Endpoint]*datagrams
	pipes   map[*Pipe][]byte // what lies in them
}

// An Answer is what comes of an attempt to connect.
type Answer struct {
	Fails error         // at once
	Peer  *Link         // the other end, when it succeeds
	Error error         // when it does not; nil with a nil Peer: there is no answer
	Delay time.Duration // until then
}

// A Link is one connection as the server's kernel and the peer see it.
type Link struct {
	Number int
	Name   string // of the peer, in a Unix socket

	// The server's kernel.
	In      []byte // arrived, and not received
	InEnd   bool   // FIN has arrived
	Broken  bool   // RST has arrived
	Out     []byte // taken from the server, not acknowledged
	OutEnd  bool   // the server sends no more
	Acked   bool   // the peer has acknowledged that
	Closed  bool   // the server has closed it
	Early   bool   // before its peer had everything, and without RST
	Refused bool   // it has answered with RST

	// The peer.
	Arrived []byte // at the peer, and not read
	Stalled bool   // it reads nothing
	Twin    *Link  // the other end, when it is a socket of the engine, too

	Acknowledged int        // bytes of the server's
	packet       *datagrams // of a socket for datagrams
	handle       Handle
	answer       Answer // to Connect
	due          int64  // when it comes
	socket       *Socket
	pending      []byte // of the Send under way, when the kernel works on the buffers
	sum          uint32 // of pending
}

// What one direction of a simulated socket holds, in bytes.
const (
	SimulatedSend    = 4096
	SimulatedReceive = 2048
)

// NewLink returns a client that has not connected yet.
func (w *World) NewLink(number int) *Link { return &Link{Number: number, handle: NoHandle} }

// Accepted reports whether the server has the connection.
func (w *World) Accepted(l *Link) bool { return l.handle != NoHandle && w.links[l.handle] == l }

// LinkOf returns what has a handle.
func (w *World) LinkOf(h Handle) *Link { return w.links[h] }

// Open returns how many handles are open.
func (w *World) Open() (n int) {
	for _, l := range w.links {
		if l != nil {
			n++
		}
	}
	return n
}

// number gives a link a handle: one that is free, chosen by chance.
func (w *World) number(l *Link) Handle {
	if n := len(w.free); n > 0 {
		i := w.Choose(n)
		l.handle, w.free[i] = w.free[i], w.free[n-1]
		w.free = w.free[:n-1]
		w.links[l.handle] = l
		return l.handle
	}
	w.links = append(w.links, l)
	l.handle = Handle(len(w.links) - 1)
	return l.handle
}

func (w *World) release(h Handle) {
	if h < 0 || int(h) >= len(w.links) || w.links[h] == nil {
		w.Failf("handle %d is closed, which is not open", h)
	}
	w.links[h].handle = NoHandle
	w.links[h] = nil
	w.free = append(w.free, h)
}

// Simulated is the driver of one loop in a World. It splits, delays and refuses as
// kernels may, and fails the run when the engine breaks a rule of Driver.
type Simulated struct {
	sockets
	Asleep bool
	Woken  bool

	world     *World
	accepting []*Listening
	events    int       // found by Wait
	chosen    bool      // which they are
	reported  []*Socket // those that Dispatch has not come to yet
	released  bool
}

// Flags of a Socket that are this driver's.
const (
	watched flags = ownFlags << iota // with lending: Ready may come
	dialling
	departing // Detach was called
)

// NewSimulated makes the driver of one loop.
func NewSimulated(w *World, cfg Config) *Simulated {
	d := &Simulated{sockets: sockets{cfg: cfg}, world: w}
	cfg.Shared.System = (*simulatedSystem)(w)
	w.Count("loops")
	w.Drivers = append(w.Drivers, d)
	return d
}

// link returns what belongs to a socket that the engine uses.
func (d *Simulated) link(s *Socket) *Link {
	w := d.world
	if s.Handle < 0 || int(s.Handle) >= len(w.links) || w.links[s.Handle] == nil || w.links[s.Handle].socket != s {
		w.Failf("an operation on handle %d, which is not this socket's", s.Handle)
	}
	return w.links[s.Handle]
}

// can reports whether something of a socket could complete now.
func (d *Simulated) can(s *Socket) bool {
	l := d.world.links[s.Handle]
	switch {
	case s.flags&(closed|departing) != 0:
		return true
	case s.flags&dialling != 0:
		return (l.answer.Peer != nil || l.answer.Error != nil) && l.due <= d.world.Now
	case d.cfg.Lend && s.flags&watched == 0:
		return false
	}
	return s.flags&receiving != 0 && l.hasInput() || s.flags&sending != 0 && l.hasRoom()
}

func (l *Link) hasInput() bool { return len(l.In) > 0 || l.InEnd || l.Broken }

func (l *Link) hasRoom() bool { return len(l.Out) < SimulatedSend || l.Broken }

// Possible counts what could complete now.
func (d *Simulated) Possible() int {
	n := d.unreported() + d.possiblePackets()
	for _, s := range d.open.All() {
		if d.can(s) {
			n++
		}
	}
	for _, l := range d.accepting {
		if l.wanted && len(d.world.Backlog) > 0 {
			n++
		}
	}
	return n
}

// Wait is a method of Driver.
func (d *Simulated) Wait(timeout time.Duration) (int, error) {
	w := d.world
	if timeout != 0 && !d.Woken && d.Possible() == 0 {
		d.Asleep = true
		until := int64(-1)
		if timeout > 0 {
			until = w.Now + int64(timeout)
		}
		if due := d.nextAnswer(); due >= 0 && (until < 0 || due < until) {
			until = due
		}
		w.Wait(func() bool { return d.Woken || d.Possible() > 0 }, until)
		d.Asleep = false
	} else {
		w.Point()
	}
	woken := d.Woken
	d.Woken = false
	d.events, d.chosen = d.Possible(), false
	if d.events > 0 && !w.Calm {
		d.events = w.Choose(d.events + 1)
	}
	if d.events == 0 && woken {
		return 1, nil
	}
	return d.events, nil
}

// nextAnswer returns when the next answer to Connect comes, or -1.
func (d *Simulated) nextAnswer() (next int64) {
	next = -1
	for _, s := range d.open.All() {
		if l := d.world.links[s.Handle]; s.flags&(dialling|closed) == dialling && (l.answer.Peer != nil || l.answer.Error != nil) && (next < 0 || l.due < next) {
			next = l.due
		}
	}
	return next
}

// Dispatch is a method of Driver. It completes as many operations as Wait has found,
// in an order that is chosen by chance.
func (d *Simulated) Dispatch() {
	if !d.chosen {
		d.choose()
	}
	for len(d.reported) > 0 {
		s := d.reported[0]
		d.reported = d.reported[1:]
		if s.Handle != NoHandle && d.can(s) {
			d.complete(s)
		}
	}
	for _, l := range slices.Clone(d.accepting) {
		d.accept(l)
	}
	d.dispatchPackets()
	d.reportGone()
}

// choose says what the last Wait has found. When a callback ends its goroutine, it is that which
// Dispatch goes on with: a socket that was opened meanwhile has to wait for the next one.
func (d *Simulated) choose() {
	var ready []*Socket
	for _, s := range d.open.All() {
		if d.can(s) {
			ready = append(ready, s)
		}
	}
	for i := len(ready) - 1; i > 0; i-- {
		j := d.world.Choose(i + 1)
		ready[i], ready[j] = ready[j], ready[i]
	}
	d.reported, d.chosen = ready[:min(len(ready), d.events)], true
}

func (d *Simulated) accept(l *Listening) {
	w := d.world
	for n := 0; l.wanted && len(w.Backlog) > 0 && n < d.cfg.AcceptBudget; n++ {
		if w.NoFiles {
			w.Fault("EMFILE")
			l.Acceptor.Accepted(NoHandle, netip.AddrPort{}, os.NewSyscallError("accept", syscall.EMFILE))
			return
		}
		if !w.Calm && w.Choose(16) == 0 {
			return
		}
		c := w.Backlog[0]
		w.Backlog = w.Backlog[1:]
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(c.Number >> 8), byte(c.Number)}), 1000)
		if w.Unix {
			from = netip.AddrPort{}
		}
		l.Acceptor.Accepted(w.number(c), from, nil)
	}
}

func (d *Simulated) complete(s *Socket) {
	l := d.world.links[s.Handle]
	switch {
	case s.flags&closed != 0:
		d.letGo(s, l)
		d.gone = append(d.gone, s)
	case s.flags&dialling != 0:
		d.connected(s, l)
	case s.flags&departing != 0:
		d.detach(s, l)
	case d.cfg.Lend:
		d.ready(s, l)
	case s.flags&sending != 0 && (len(l.Out) < SimulatedSend || l.Broken) && d.world.Choose(2) == 0:
		d.sent(s, l)
	case s.flags&receiving != 0:
		d.received(s, l)
	}
}

// letGo forgets a socket and gives its handle back.
func (d *Simulated) letGo(s *Socket, l *Link) {
	d.world.release(s.Handle)
	l.socket = nil
	d.forgetSocket(s)
}

// connected ends Connect.
func (d *Simulated) connected(s *Socket, l *Link) {
	s.flags &^= dialling
	if err := l.answer.Error; err != nil {
		d.world.Fault("not connected")
		d.letGo(s, l)
		s.Stream.Connected(err)
		return
	}
	d.world.Count("connected")
	l.Twin, l.answer.Peer.Twin = l.answer.Peer, l
	d.world.Backlog = append(d.world.Backlog, l.Twin)
	s.flags |= receiving | watched
	s.Stream.Connected(nil)
}

// sent ends a Send.
func (d *Simulated) sent(s *Socket, l *Link) {
	w := d.world
	s.flags &^= sending
	p := l.pending
	l.pending = nil
	if p != nil && sum(p) != l.sum {
		w.Failf("bytes have changed while they were being sent")
	}
	if l.Broken {
		w.Fault("EPIPE")
		s.Stream.Sent(0, os.NewSyscallError("send", syscall.EPIPE))
		return
	}
	n := min(len(p), SimulatedSend-len(l.Out))
	if !w.Calm && n > 0 {
		n = w.Choose(n + 1)
		w.Fault("short send")
	}
	l.Out = append(l.Out, p[:n]...)
	s.Stream.Sent(n, nil)
}

// received hands over some of what has arrived, or the end.
func (d *Simulated) received(s *Socket, l *Link) {
	switch {
	case len(l.In) > 0:
		d.hand(s, l, 1+d.world.Choose(min(len(l.In), d.cfg.ReadBudget)))
	case l.Broken:
		d.world.Fault("ECONNRESET")
		s.flags = s.flags&^receiving | ended
		s.Stream.ReceiveEnded(os.NewSyscallError("recv", syscall.ECONNRESET))
	case l.InEnd:
		s.flags = s.flags&^receiving | ended
		s.Stream.ReceiveEnded(io.EOF)
	}
}

// hand hands over n bytes, where the stream wants them.
func (d *Simulated) hand(s *Socket, l *Link, n int) {
	room, pipe := s.Stream.Room()
	switch {
	case pipe != nil:
		d.world.Count("spliced")
		pipe.held = n
		d.world.pipes[pipe] = slices.Clone(l.In[:n])
		l.In = l.In[n:]
		s.Stream.Filled(n)
	case len(room) > 0:
		d.world.Count("filled")
		n = copy(room, l.In[:n])
		l.In = l.In[n:]
		s.Stream.Filled(n)
	default:
		p := slices.Clone(l.In[:n])
		l.In = l.In[n:]
		s.Stream.Received(p)
		for i := range p {
			p[i] = 0xEE // whoever reads it after the call will notice
		}
	}
}

func sum(p []byte) uint32 {
	h := uint32(2166136261)
	for _, b := range p {
		h = (h ^ uint32(b)) * 16777619
	}
	return h
}

// Listen, Accept, Unlisten, Shed and Reclaim are methods of Driver.
func (d *Simulated) Listen(l *Listening) error {
	l.watched, l.wanted = true, true
	d.accepting = append(d.accepting, l)
	return nil
}

func (d *Simulated) Accept(l *Listening, on bool) error {
	l.wanted = on
	return nil
}

func (d *Simulated) Unlisten(l *Listening) {
	l.watched, l.wanted = false, false
	for i, other := range d.accepting {
		if other == l {
			d.accepting = append(d.accepting[:i:i], d.accepting[i+1:]...)
		}
	}
}

// Open is a method of Driver.
func (d *Simulated) Open(s *Socket) error {
	d.world.Point()
	l := d.world.links[s.Handle]
	if l == nil || l.socket != nil {
		d.world.Failf("handle %d cannot be opened", s.Handle)
	}
	if !d.world.Calm && d.world.Choose(100) == 0 {
		d.world.Fault("ENOMEM")
		return os.NewSyscallError("epoll_ctl", syscall.ENOMEM)
	}
	l.socket = s
	s.flags = receiving | watched
	s.token = d.open.Insert(s)
	return nil
}

// Connect is a method of Driver.
func (d *Simulated) Connect(s *Socket, _ netip.Addr, to net.Addr, _ sock.StreamOptions) error {
	w := d.world
	w.Point()
	l := w.NewLink(-1)
	l.answer = w.Dialled(s.Stream, l, to)
	if l.answer.Fails != nil {
		w.Fault("connect fails at once")
		return l.answer.Fails
	}
	l.due = w.Now + int64(l.answer.Delay)
	s.Handle = w.number(l)
	l.socket = s
	s.flags = dialling
	s.token = d.open.Insert(s)
	return nil
}

// Surrender is a method of Driver.
func (d *Simulated) Surrender(s *Socket) Handle {
	d.link(s).socket = nil
	return d.surrender(s)
}

// Close is a method of Driver.
func (d *Simulated) Close(s *Socket, reset bool) {
	d.world.Point()
	l := d.link(s)
	if s.flags&closed != 0 {
		d.world.Failf("a socket is closed twice")
	}
	if s.flags&dialling != 0 {
		s.flags = closed
		return
	}
	if early := len(l.Out) > 0 || l.OutEnd && !l.Acked; early && !reset && !l.Broken && s.flags&ended == 0 && (!l.InEnd || len(l.In) > 0) {
		l.Early = true
	}
	s.flags = s.flags&^(sending|receiving) | closed
	l.pending, l.Closed = nil, true
	l.OutEnd = true
	if reset {
		d.world.Count("reset by the server")
		l.refuse()
	}
	l.In = nil
}

// refuse answers the peer with RST.
func (l *Link) refuse() {
	l.Refused, l.Out, l.OutEnd = true, nil, false
	if l.Twin != nil {
		l.Twin.Break()
	}
}

// Break lets RST arrive.
func (l *Link) Break() { l.Broken, l.Out, l.Arrived = true, nil, nil }

// Receive is a method of Driver.
func (d *Simulated) Receive(s *Socket, on bool) {
	d.world.Point()
	d.link(s)
	if s.flags&closed != 0 {
		d.world.Failf("Receive after Close")
	}
	if on && s.flags&ended == 0 {
		s.flags |= receiving
		return
	}
	s.flags &^= receiving
}

// Send is a method of Driver. It is now like that of a completion driver, which works
// on the buffers until Sent, now like that of a readiness driver.
func (d *Simulated) Send(s *Socket, bufs [][]byte) (n int, pending bool, err error) {
	w := d.world
	w.Point()
	l := d.link(s)
	switch {
	case s.flags&closed != 0:
		w.Failf("Send after Close")
	case s.flags&sending != 0:
		w.Failf("Send while another is pending")
	case l.OutEnd:
		w.Failf("Send after CloseWrite")
	}
	var all []byte
	for _, b := range bufs {
		if len(b) == 0 {
			w.Failf("an empty buffer is sent")
		}
		all = append(all, b...)
	}
	if l.Broken {
		w.Fault("EPIPE")
		return 0, false, os.NewSyscallError("send", syscall.EPIPE)
	}
	if !d.cfg.Lend && w.Choose(2) == 0 {
		s.flags |= sending
		if l.pending = all; len(bufs) == 1 {
			l.pending = bufs[0]
		}
		l.sum = sum(l.pending)
		return 0, true, nil
	}
	n = min(len(all), SimulatedSend-len(l.Out))
	if !w.Calm && w.Choose(4) == 0 {
		n = w.Choose(n + 1)
		w.Fault("short send")
	}
	l.Out = append(l.Out, all[:n]...)
	if n == len(all) {
		return n, false, nil
	}
	w.Fault("EAGAIN")
	s.flags |= sending
	return n, true, nil
}

// CloseWrite is a method of Driver.
func (d *Simulated) CloseWrite(s *Socket) error {
	d.world.Point()
	l := d.link(s)
	if s.flags&sending != 0 {
		d.world.Failf("CloseWrite while a Send is pending")
	}
	if l.Broken {
		return os.NewSyscallError("shutdown", syscall.ENOTCONN)
	}
	l.OutEnd = true
	return nil
}

// Delivered is a method of Driver.
func (d *Simulated) Delivered(s *Socket) bool {
	l := d.link(s)
	return l.OutEnd && l.Acked
}

// Wake is a method of Driver.
func (d *Simulated) Wake() error {
	d.Woken = true
	return nil
}

// Released reports whether the engine has let go of the driver.
func (d *Simulated) Released() bool { return d.released }

// Release is a method of Driver.
func (d *Simulated) Release() error {
	if d.released {
		d.world.Failf("a driver is released twice")
	}
	d.released = true
	return nil
}
