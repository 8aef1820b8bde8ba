package driver

import (
	"context"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/epinet/epi/internal/sock"
)

// portable is a Driver over package net, and so over what the Go runtime has on
// each system: kqueue, IOCP, epoll. There only goroutines can wait:
//
//	Open, Receive(on) ─► one reads once ───────────────► Received, ReceiveEnded
//	Send ──────────────► one writes ───────────────────► Sent
//	Connect ───────────► one dials ────────────────────► Connected
//	Accept(on) ────────► one accepts one connection ───► Accepted
//	Close, Detach ─────► one interrupts those, waits for
//	                     them and closes or gives away ► Closed, Detached
//
// Each does its one thing, leaves a note for the loop and ends. There is at most
// one of a kind for each socket, which bounds the notes, what is read ahead (one
// buffer) and what is accepted ahead (one connection for each loop). Closed comes
// behind the notes of all others: no note can meet another socket.
type portable struct {
	sockets
	acceptAhead
	mail    mailbox
	taken   []note // taken[next:] wait for Dispatch
	next    int
	resumed list // sockets that want what is held for them
	waiters sync.WaitGroup
}

func newPortable(cfg Config) *portable {
	d := &portable{sockets: sockets{cfg: cfg}, mail: newMailbox()}
	d.acceptAhead = acceptAhead{of: &d.sockets, by: d}
	return d
}

func (d *portable) Wait(timeout time.Duration) (int, error) {
	left := d.resumed.len() + len(d.full) + d.unreported()
	if left > 0 {
		timeout = 0
	}
	d.counters.Waits.Add(1)
	d.next = 0
	d.taken = d.mail.wait(d.taken[:0], d.cfg.MaxEvents, timeout)
	d.counters.Events.Add(uint64(len(d.taken)))
	return len(d.taken) + left, nil
}

// Delay is ample time for goroutines that can read to do so: package net does not say
// which can, and the scheduler runs each within some 10 ms.
func (d *portable) Delay() time.Duration { return 100 * time.Millisecond }

func (d *portable) Wake() error {
	d.mail.wake()
	return nil
}

// Release waits for the goroutines: those that accepted end when their listening
// sockets were closed.
func (d *portable) Release() error {
	d.mail.close()
	d.waiters.Wait()
	return nil
}

func (d *portable) Dispatch() {
	for s := range d.takeListed(&d.resumed) {
		d.deliver(s, d.link(s))
	}
	for d.next < len(d.taken) {
		n := d.taken[d.next]
		d.taken[d.next] = note{}
		d.next++
		d.follow(n)
	}
	d.handOver()
	d.reportGone()
}

// follow follows up one note.
func (d *portable) follow(n note) {
	switch n.kind {
	case noteAccepted, noteAwaited:
		d.acceptEnded(n)
	case notePacket, noteRoom, notePacketEnd:
		d.followPacket(n)
	case noteClosed:
		d.forget(n.socket)
		d.gone = append(d.gone, n.socket)
	case noteDetached:
		d.giveAway(n.socket, n.link)
	default:
		if n.socket.stage != stageLeaving {
			d.progress(n)
		}
	}
}

// progress follows up a note of an open connection.
func (d *portable) progress(n note) {
	s := n.socket
	switch {
	case n.kind == noteConnected:
		d.connected(s, n.link, n.err)
	case d.cfg.Lend && n.kind == noteRead:
		// The holder may be at work: only what never changes is looked at.
		s.Stream.Ready(ReadReady)
	case d.cfg.Lend:
		s.Stream.Ready(WriteReady)
	case n.kind == noteRead:
		d.deliver(s, n.link)
	default:
		d.sent(s, n.link)
	}
}

func (d *portable) link(s *Socket) *link { return d.cfg.Shared.handles.get(s.Handle).(*link) }

// forget is the end of the handle.
func (d *portable) forget(s *Socket) {
	d.cfg.Shared.handles.remove(s.Handle)
	d.forgetSocket(s)
}

// deliver hands over what was read, if the engine wants it, and has more read.
func (d *portable) deliver(s *Socket, l *link) {
	if s.flags&(receiving|closed) != receiving {
		return // it is held
	}
	p, err := l.takeRead()
	defer d.delivered(s, l, err) // also when a callback ends its goroutine
	if p != nil {
		s.Stream.Received(p.bytes())
		p.free()
	}
}

func (d *portable) delivered(s *Socket, l *link, err error) {
	if err != nil {
		s.flags |= ended
		s.flags &^= receiving
		s.Stream.ReceiveEnded(err)
	}
	d.pump(s, l)
}

// pump has a goroutine read, if the engine wants bytes and there are none.
func (d *portable) pump(s *Socket, l *link) {
	if s.flags&(receiving|ended|closed) != receiving || !l.beginRead() {
		return
	}
	d.counters.Reads.Add(1)
	d.waiters.Go(func() {
		defer l.working.Done()
		l.read(d.cfg.ReadBudget)
		d.mail.post(note{kind: noteRead, socket: s, link: l})
	})
}

func (d *portable) sent(s *Socket, l *link) {
	s.flags &^= sending
	n, err := l.takeWritten()
	s.Stream.Sent(n, err)
}

func (d *portable) Open(s *Socket) error {
	s.flags = receiving
	s.token = d.open.Insert(s)
	d.pump(s, d.link(s))
	return nil
}

func (d *portable) Connect(s *Socket, local netip.Addr, addr net.Addr, o sock.StreamOptions) error {
	ctx, cancel := context.WithCancel(context.Background())
	l := &link{cancel: cancel}
	s.flags, s.stage = 0, stageConnecting
	s.Handle = d.cfg.Shared.handles.add(l)
	s.token = d.open.Insert(s)
	l.working.Add(1)
	d.waiters.Go(func() {
		defer l.working.Done()
		err := l.dial(ctx, local, addr, o)
		d.mail.post(note{kind: noteConnected, socket: s, link: l, err: err})
	})
	return nil
}

func (d *portable) connected(s *Socket, l *link, err error) {
	s.stage = stageOpen
	if err != nil {
		d.forget(s)
		s.flags = 0 // as if never opened
		s.Stream.Connected(err)
		return
	}
	s.flags |= receiving
	s.Stream.Connected(nil)
	if s.Handle != NoHandle {
		d.pump(s, l)
	}
}

func (d *portable) Surrender(s *Socket) Handle { return d.surrender(s) }

func (d *portable) Close(s *Socket, reset bool) {
	connecting := s.stage == stageConnecting
	l := d.leave(s)
	s.flags |= closed
	d.waiters.Go(func() {
		l.close(connecting, reset)
		d.mail.post(note{kind: noteClosed, socket: s, link: l})
	})
}

// Detach ends reading. What still comes is held.
func (d *portable) Detach(s *Socket) {
	l := d.leave(s)
	d.waiters.Go(func() {
		l.release()
		d.mail.post(note{kind: noteDetached, socket: s, link: l})
	})
}

// leave begins the end of an open connection: nothing is reported any more.
func (d *portable) leave(s *Socket) *link {
	l := d.link(s)
	s.stage = stageLeaving
	s.flags &^= receiving
	d.open.Remove(s.token)
	return l
}

// giveAway ends Detach. The error of a connection that broke meanwhile is reported with
// it: the kernel reports it only once.
func (d *portable) giveAway(s *Socket, l *link) {
	d.forget(s)
	p, err := l.takeRead()
	if err != nil && err != io.EOF {
		l.reset()
		d.detached = append(d.detached, detachment{socket: s, err: err})
		return
	}
	var rest []byte
	if p != nil {
		rest = append(rest, p.bytes()...)
		p.free()
	}
	d.detached = append(d.detached, detachment{socket: s, conn: l.conn, rest: rest})
}

func (d *portable) Receive(s *Socket, on bool) {
	if !on {
		s.flags &^= receiving
		return
	}
	s.flags |= receiving
	l := d.link(s)
	if !d.cfg.Lend && l.holds() { // with lending Return sees to it
		d.resumed.add(s)
	}
	d.pump(s, l)
}

// Send writes what there is room for, where the system can be asked for that, and
// lends the first bytes of the rest to a goroutine. A peer that answers at once
// does not overtake the account of what it answers to.
func (d *portable) Send(s *Socket, bufs [][]byte) (n int, pending bool, err error) {
	l := d.link(s)
	n, err = sock.WriteNow(l.conn.(syscall.Conn), bufs)
	if err != nil {
		return 0, false, err
	}
	out := l.beginWrite(bufs, n)
	if len(out) == 0 {
		d.counters.Writes.Add(1)
		return n, false, nil
	}
	l.working.Add(1)
	s.flags |= sending
	d.counters.Writes.Add(1)
	d.waiters.Go(func() {
		defer l.working.Done()
		l.write(out)
		d.mail.post(note{kind: noteWritten, socket: s, link: l})
	})
	return n, true, nil
}

func (d *portable) CloseWrite(s *Socket) error { return d.link(s).closeWrite() }

func (d *portable) Delivered(s *Socket) bool { return s.flags&sending == 0 && d.link(s).delivered() }

func (d *portable) FollowUp(s *Socket, r Readiness) {
	if r&WriteReady != 0 && s.flags&sending != 0 {
		d.sent(s, d.link(s))
	}
}

// Read has no use for buf: what was read lies in a buffer already.
func (d *portable) Read(s *Socket, _ []byte) { d.deliver(s, d.link(s)) }

func (d *portable) Return(s *Socket) {
	if s.flags&(receiving|closed) == receiving && d.link(s).holds() {
		s.Stream.Ready(ReadReady)
	}
}
