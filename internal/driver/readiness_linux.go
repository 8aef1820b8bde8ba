package driver

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/internal/ringpoll"
	"github.com/epinet/epi/internal/slab"
	"github.com/epinet/epi/internal/sock"
	"github.com/epinet/epi/poll"
)

// flags of a Socket that a readiness driver has besides the common ones.
const (
	registered = ownFlags << iota // the poller knows the handle
	mayRead                       // edge: unread bytes may wait that no event will report
	readAll                       // edge: read until EAGAIN, a short read does not say that all was read
)

const (
	// hasInput are the conditions under which a read makes progress.
	hasInput = poll.Readable | poll.ReadHangUp | poll.Priority | poll.Error | poll.HangUp
	// hasRoom are those under which a write makes progress, if only to fail.
	hasRoom = poll.Writable | poll.Error | poll.HangUp

	// edgeInterest is registered once and never changed. Urgent data and
	// hang-up are in it because both make a short read that is not the end.
	edgeInterest = poll.Readable | poll.Writable | poll.ReadHangUp | poll.Priority

	// listenerBit marks the tokens of listening sockets.
	listenerBit = 1 << 31 & slab.FreeBits
)

// readiness is a Driver over a poller. With edge the registration never
// changes and the driver remembers what it has not read yet; with level and
// one-shot the interest follows what the engine wants, at the start of Wait,
// so that wishes that cancel each other out within one turn cost no call.
type readiness struct {
	descriptors
	poller      poll.Poller
	mode        poll.Mode
	edge        bool
	events      []poll.Event
	next        int // events[next:ready] wait for Dispatch
	ready       int
	todo        list          // sockets whose interest changed or that may be read on
	unwatchable []unwatchable // no longer watched, and that is not yet reported
	buf         []byte
}

// unwatchable is a connection that the poller refuses to watch.
type unwatchable struct {
	token slab.Token
	err   error
}

func newReadiness(cfg Config) (*readiness, error) {
	mode, err := modeOf(cfg)
	if err != nil {
		return nil, err
	}
	poller, err := openPoller(cfg.Backend)
	if err != nil {
		return nil, err
	}
	return newReadinessOn(cfg, linux{}, poller, mode, readSize), nil
}

func newReadinessOn(cfg Config, c calls, poller poll.Poller, mode poll.Mode, size int) *readiness {
	return &readiness{
		descriptors: newDescriptors(cfg, c),
		poller:      poller,
		mode:        mode,
		edge:        mode == poll.Edge,
		events:      make([]poll.Event, cfg.MaxEvents),
		buf:         make([]byte, size),
	}
}

func openPoller(b poll.Backend) (poll.Poller, error) {
	if b == Uring {
		return ringpoll.New()
	}
	return poll.New(b)
}

// modeOf chooses how sockets are watched. A socket that is lent may be read by
// nobody else, which one-shot sees to; with io_uring, where only the loop can
// arm it again, the engine keeps a Ready that comes early until the worker is
// done.
func modeOf(cfg Config) (poll.Mode, error) {
	switch {
	case cfg.Backend == Uring:
		return poll.Edge, nil
	case cfg.Lend:
		return poll.OneShot, nil
	case cfg.Trigger == Level:
		return poll.Level, nil
	case cfg.Trigger == OneShot:
		return poll.OneShot, nil
	case cfg.Backend == poll.BackendEpoll:
		return poll.Edge, nil
	}
	return 0, errors.New("only epoll reports edges: choose the level or one-shot trigger for " + string(cfg.Backend))
}

func (d *readiness) Wait(timeout time.Duration) (int, error) {
	d.settle()
	if d.leftOver() > 0 {
		timeout = 0
	}
	d.counters.Waits.Add(1)
	n, err := d.poller.Wait(d.events, timeout)
	if err != nil {
		return 0, err
	}
	d.next, d.ready = 0, n
	d.counters.Events.Add(uint64(n))
	return n + d.leftOver(), nil
}

// leftOver counts the completions that need no event.
func (d *readiness) leftOver() int {
	return d.todo.len() + d.unreported() + len(d.unwatchable)
}

// settle brings the poller's interest up to date for the sockets on the list
// and keeps on it those that may be read on.
func (d *readiness) settle() {
	for s := range d.takeListed(&d.todo) {
		switch {
		case !d.edge:
			d.arm(s)
		case s.flags&(mayRead|receiving) == mayRead|receiving:
			d.list(s)
		}
	}
}

// list puts s on the list that settle and Dispatch go through, once.
func (d *readiness) list(s *Socket) {
	if !d.cfg.Lend { // with lending Return sees to it
		d.todo.add(s)
	}
}

func (d *readiness) Dispatch() {
	d.readOn()
	for d.next < d.ready {
		d.next++
		d.dispatch(d.events[d.next-1])
	}
	d.reportUnwatchable()
	d.reportGone()
}

// readOn continues, with edge, where earlier turns left bytes unread. Those
// that spend their budget again are on the list for the next turn.
func (d *readiness) readOn() {
	if !d.edge {
		return // what is on the list was put there in this turn, for settle
	}
	for s := range d.takeListed(&d.todo) {
		d.receive(s, d.buf)
	}
}

// reportUnwatchable ends what waits for an event that will not come.
func (d *readiness) reportUnwatchable() {
	for _, b := range d.unwatchable {
		if s, ok := d.open.Get(b.token); ok {
			d.failWaiting(s, b.err)
		}
	}
	d.unwatchable = d.unwatchable[:0]
}

// failWaiting ends what a socket waits for, with an error.
func (d *readiness) failWaiting(s *Socket, err error) {
	if s.flags&sending != 0 {
		s.flags &^= sending
		d.change(s, s.want&^poll.Writable)
		s.Stream.Sent(0, err)
	}
	if s.flags&(receiving|closed) == receiving {
		d.Receive(s, false)
		s.Stream.ReceiveEnded(err)
	}
}

func (d *readiness) dispatch(ev poll.Event) {
	token := slab.Token(ev.Token)
	if token&listenerBit != 0 {
		if l, ok := d.listeners.Get(token &^ listenerBit); ok {
			d.accept(l)
			return
		}
		d.counters.Stale.Add(1)
		return
	}
	if token&packetBit != 0 {
		d.dispatchPacket(token&^packetBit, ev.Ready)
		return
	}
	s, ok := d.open.Get(token)
	if !ok {
		d.counters.Stale.Add(1)
		return
	}
	if s.stage == stageConnecting {
		d.connected(s, ev.Ready)
		return
	}
	if d.cfg.Lend {
		// The holder may be at work: only what never changes is looked at.
		s.Stream.Ready(readinessOf(ev.Ready))
		return
	}
	if d.mode == poll.OneShot {
		s.armed = 0
		d.list(s)
	}
	d.progress(s, ev.Ready)
}

// readinessOf returns what the poller's events mean. A condition besides the plain
// ones makes a short read that is not the last.
func readinessOf(ready poll.Mask) Readiness {
	var r Readiness
	if ready&hasInput != 0 {
		r |= ReadReady
		if ready&^(poll.Readable|poll.Writable) != 0 {
			r |= ReadAll
		}
	}
	if ready&hasRoom != 0 {
		r |= WriteReady
	}
	return r
}

// note remembers that there is something to read.
func (d *readiness) note(s *Socket, r Readiness) {
	if r&ReadReady != 0 {
		s.flags |= mayRead
	}
	if r&ReadAll != 0 {
		s.flags |= readAll
	}
}

// progress does for one connection what its readiness allows.
func (d *readiness) progress(s *Socket, ready poll.Mask) {
	d.note(s, readinessOf(ready))
	if ready&hasRoom != 0 && s.flags&sending != 0 {
		s.flags &^= sending
		d.change(s, s.want&^poll.Writable)
		s.Stream.Sent(0, nil)
	}
	if s.flags&(receiving|closed) == receiving {
		d.receive(s, d.buf)
	}
	if d.mode == poll.Level && ready&(poll.Error|poll.HangUp) != 0 && s.want == 0 {
		// These cannot be masked out, and nobody wants them now.
		d.remove(s)
	}
}

// directRead is the size of one read into the room of a stream, where there is
// no buffer to be kept small.
const directRead = 256 << 10

// receive reads and reports until there is nothing left, the budget is spent
// or the engine has had enough. A short read ends it without another call that
// would only say EAGAIN: more bytes make a new event (epoll(7)).
func (d *readiness) receive(s *Socket, buf []byte) {
	budget, again := d.cfg.ReadBudget, false
	for s.flags&(receiving|mayRead|closed) == receiving|mayRead {
		if budget <= 0 {
			d.list(s)
			return
		}
		p, n, left, err := d.read(s, buf, budget)
		if err == unix.EAGAIN && s.flags&readAll != 0 && !again {
			again = true // at the mark of urgent data a pending signal has the same answer
			continue
		}
		if err != nil {
			d.readFailed(s, err)
			return
		}
		budget = left
		if p == nil {
			s.Stream.Filled(n)
			continue
		}
		s.Stream.Received(p)
	}
}

// read reads once: into what the stream offers for it, or else into buf; then it
// returns the part that was filled. left is what is left of the budget.
func (d *readiness) read(s *Socket, buf []byte, budget int) (p []byte, n, left int, err error) {
	room, pipe := s.Stream.Room()
	if pipe != nil {
		if n, left, err = d.fill(s, pipe, budget); !pipe.Unfit() {
			return nil, n, left, err
		}
		room, _ = s.Stream.Room() // no pipe again
	}
	offered := room != nil
	if !offered {
		room = buf
	}
	room = room[:min(len(room), directRead, budget)]
	d.counters.Reads.Add(1)
	n, err = d.calls.Read(int(s.Handle), room)
	if err == nil && n < len(room) && s.flags&readAll == 0 {
		s.flags &^= mayRead
	}
	if offered {
		return nil, n, budget - n, err
	}
	return room[:n], n, budget - n, err
}

func (d *readiness) readFailed(s *Socket, err error) {
	s.flags &^= mayRead | readAll
	if err == unix.EAGAIN {
		d.calls.DropNotices(int(s.Handle))
		return
	}
	s.flags |= ended
	d.Receive(s, false)
	if err != io.EOF {
		err = os.NewSyscallError("read", err)
	}
	s.Stream.ReceiveEnded(err)
}

// change notes what the engine wants of the poller.
func (d *readiness) change(s *Socket, want poll.Mask) {
	s.want = want
	if !d.edge && want != s.armed {
		d.list(s)
	}
}

// arm makes the poller's interest what the engine wants.
func (d *readiness) arm(s *Socket) {
	if s.want == s.armed || s.flags&closed != 0 {
		return
	}
	if s.want == 0 && d.mode == poll.OneShot {
		return // it fires once more at most
	}
	if err := d.watch(s, s.want); err != nil {
		d.remove(s) // it would go on reporting what it was to report no more
		d.unwatchable = append(d.unwatchable, unwatchable{s.token, err})
	}
}

// watch registers s for interest, or changes its registration.
func (d *readiness) watch(s *Socket, interest poll.Mask) error {
	d.counters.Controls.Add(1)
	if s.flags&registered != 0 {
		s.armed = interest
		return d.poller.Modify(int(s.Handle), uint64(s.token), interest, d.mode)
	}
	if err := d.poller.Add(int(s.Handle), uint64(s.token), interest, d.mode); err != nil {
		return err
	}
	s.flags |= registered
	s.armed = interest
	return nil
}

func (d *readiness) remove(s *Socket) {
	if s.flags&registered == 0 {
		return
	}
	s.flags &^= registered
	s.armed = 0
	d.counters.Controls.Add(1)
	// It fails only for a handle that is not registered, which is the aim.
	_ = d.poller.Remove(int(s.Handle))
}

func (d *readiness) Open(s *Socket) error {
	s.flags = receiving
	s.want = poll.Readable
	interest := s.want
	if d.edge {
		interest = edgeInterest
	}
	return d.adopt(s, interest)
}

func (d *readiness) adopt(s *Socket, interest poll.Mask) error {
	s.token = d.open.Insert(s)
	if err := d.watch(s, interest); err != nil {
		d.open.Remove(s.token)
		return err
	}
	return nil
}

func (d *readiness) Connect(s *Socket, local netip.Addr, addr net.Addr, o sock.StreamOptions) error {
	if err := d.connect(s, local, addr, o); err != nil {
		return err
	}
	s.armed, s.want = 0, poll.Writable
	interest := s.want
	if d.edge {
		interest = edgeInterest
	}
	if err := d.adopt(s, interest); err != nil {
		d.calls.Close(int(s.Handle), false)
		s.Handle = NoHandle
		return err
	}
	return nil
}

// connected learns how Connect ended.
func (d *readiness) connected(s *Socket, ready poll.Mask) {
	s.stage = stageOpen
	if err := d.calls.ConnectError(int(s.Handle)); err != nil {
		d.forget(s, true)
		s.Stream.Connected(os.NewSyscallError("connect", err))
		return
	}
	if d.mode == poll.OneShot {
		s.armed = 0
	}
	s.flags |= receiving
	d.change(s, poll.Readable)
	if d.edge && ready&hasInput != 0 {
		// The first bytes came with this very event.
		s.flags |= mayRead | readAll
		d.list(s)
	}
	s.Stream.Connected(nil)
}

func (d *readiness) Surrender(s *Socket) Handle {
	d.remove(s)
	return d.surrender(s)
}

func (d *readiness) Close(s *Socket, reset bool) {
	if !reset {
		d.discardInput(s, d.buf)
	}
	d.forget(s, reset)
	d.gone = append(d.gone, s)
}

// forget ends the registration before it closes the descriptor. Pollers other
// than epoll do not notice the close, and epoll only that of the last duplicate:
// a process that is just being started has one.
func (d *readiness) forget(s *Socket, reset bool) {
	d.remove(s)
	d.end(s, reset)
}

func (d *readiness) Detach(s *Socket) {
	d.remove(s)
	d.detach(s, nil)
}

func (d *readiness) Receive(s *Socket, on bool) {
	if !on {
		s.flags &^= receiving
		d.change(s, s.want&^poll.Readable)
		return
	}
	s.flags |= receiving
	d.change(s, s.want|poll.Readable)
	if d.edge && s.flags&mayRead != 0 {
		d.list(s)
	}
}

func (d *readiness) Send(s *Socket, bufs [][]byte) (n int, pending bool, err error) {
	total := 0
	for _, b := range bufs {
		total += len(b)
	}
	d.counters.Writes.Add(1)
	n, err = d.calls.Write(int(s.Handle), bufs)
	if err == unix.EAGAIN {
		d.calls.DropNotices(int(s.Handle))
		n, err = 0, nil
	}
	if err != nil {
		return 0, false, os.NewSyscallError("write", err)
	}
	if n == total {
		return n, false, nil
	}
	s.flags |= sending
	d.change(s, s.want|poll.Writable)
	return n, true, nil
}

func (d *readiness) FollowUp(s *Socket, r Readiness) {
	if !d.edge {
		s.armed = 0
	}
	d.note(s, r)
	if r&WriteReady != 0 && s.flags&sending != 0 {
		s.flags &^= sending
		s.want &^= poll.Writable
		s.Stream.Sent(0, nil)
	}
}

func (d *readiness) Read(s *Socket, buf []byte) { d.receive(s, buf) }

func (d *readiness) Return(s *Socket) {
	if d.edge {
		if s.flags&(mayRead|receiving) == mayRead|receiving {
			s.Stream.Ready(ReadReady) // the budget was spent
		}
		return
	}
	if s.want == 0 || s.want == s.armed || s.flags&closed != 0 {
		return
	}
	if err := d.watch(s, s.want); err != nil {
		s.Stream.Ready(ReadReady | WriteReady)
	}
}

func (d *readiness) Listen(l *Listening) error {
	l.token = d.listeners.Insert(l)
	if err := d.Accept(l, true); err != nil {
		d.listeners.Remove(l.token)
		return err
	}
	l.watched = true
	return nil
}

// Accept adds and removes the registration, because an exclusive one cannot be
// modified (epoll_ctl(2)). Listening sockets are always level triggered: what
// the budget leaves over is reported again.
func (d *readiness) Accept(l *Listening, on bool) error {
	if on == l.wanted {
		return nil
	}
	d.counters.Controls.Add(1)
	if !on {
		l.wanted = false
		return d.poller.Remove(int(l.Handle))
	}
	mode := poll.Level
	if l.Exclusive && d.cfg.Backend == poll.BackendEpoll {
		mode = poll.Exclusive
	}
	if err := d.poller.Add(int(l.Handle), uint64(l.token|listenerBit), poll.Readable, mode); err != nil {
		return err
	}
	l.wanted = true
	return nil
}

func (d *readiness) accept(l *Listening) {
	for range d.cfg.AcceptBudget {
		if !l.wanted {
			return
		}
		fd, peer, err := d.acceptOne(l)
		switch {
		case err == nil:
			l.Acceptor.Accepted(Handle(fd), peer, nil)
		case err == unix.EAGAIN:
			return
		case sock.ClientLost(err):
		default:
			l.Acceptor.Accepted(NoHandle, netip.AddrPort{}, os.NewSyscallError("accept", err))
			return
		}
	}
}

func (d *readiness) acceptOne(l *Listening) (int, netip.AddrPort, error) {
	if l.Shared.Load() {
		return d.calls.AcceptShared(int(l.Handle))
	}
	return d.calls.Accept(int(l.Handle))
}

func (d *readiness) Unlisten(l *Listening) {
	// Removing fails only where nothing is registered, which is the aim.
	_ = d.Accept(l, false)
	d.listeners.Remove(l.token)
	l.watched = false
}

func (d *readiness) Wake() error    { return d.poller.Wake() }
func (d *readiness) Release() error { return d.poller.Close() }
