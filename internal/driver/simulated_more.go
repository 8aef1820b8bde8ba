package driver

import (
	"io"
	"net"
	"os"
	"slices"
	"syscall"
	"time"
)

// What Lender, DirectSender and Splicer add to a simulated driver.

// ready says of a lent socket what it can be used for, and sometimes what it cannot.
func (d *Simulated) ready(s *Socket, l *Link) {
	s.flags &^= watched
	var r Readiness
	if s.flags&receiving != 0 && l.hasInput() {
		r |= ReadReady
	}
	if s.flags&sending != 0 && l.hasRoom() {
		r |= WriteReady
	}
	if !d.world.Calm && d.world.Choose(8) == 0 {
		d.world.Fault("spurious event")
		r = Readiness(1 + d.world.Choose(7))
	}
	s.Stream.Ready(r)
}

// FollowUp is a method of Lender.
func (d *Simulated) FollowUp(s *Socket, r Readiness) {
	d.link(s)
	s.flags &^= watched
	if r&WriteReady != 0 && s.flags&sending != 0 {
		s.flags &^= sending
		s.Stream.Sent(0, nil)
	}
}

// Read is a method of Lender.
func (d *Simulated) Read(s *Socket, _ []byte) {
	d.world.Point()
	l := d.link(s)
	for budget := d.cfg.ReadBudget; budget > 0 && s.flags&(receiving|closed) == receiving && l.hasInput(); {
		before := len(l.In)
		d.received(s, l)
		budget -= max(before-len(l.In), 1)
	}
}

// Return is a method of Lender.
func (d *Simulated) Return(s *Socket) {
	d.link(s)
	if !d.world.Calm && d.world.Choose(40) == 0 {
		d.world.Fault("cannot be watched")
		s.Stream.Ready(ReadReady | WriteReady)
		return
	}
	s.flags |= watched
}

// SendNow is a method of DirectSender.
func (d *Simulated) SendNow(s *Socket, p []byte) int {
	w := d.world
	l := d.link(s)
	if s.flags&sending != 0 || l.OutEnd {
		w.Failf("SendNow while a Send is pending, or after CloseWrite")
	}
	if l.Broken {
		return 0
	}
	n := min(len(p), SimulatedSend-len(l.Out))
	if !w.Calm {
		n = w.Choose(n + 1)
	}
	w.Count("sent directly")
	l.Out = append(l.Out, p[:n]...)
	return n
}

// Thread is a method of DirectSender.
func (d *Simulated) Thread() int64 { return d.world.Thread() }

// NewPipe is a method of Splicer.
func (d *Simulated) NewPipe() *Pipe {
	if !d.world.Calm && d.world.Choose(4) == 0 {
		return nil
	}
	if d.world.pipes == nil {
		d.world.pipes = map[*Pipe][]byte{}
	}
	p := &Pipe{}
	d.world.pipes[p] = nil
	return p
}

// ClosePipe is a method of Splicer.
func (d *Simulated) ClosePipe(p *Pipe) {
	if _, open := d.world.pipes[p]; !open {
		d.world.Failf("a pipe is closed twice")
	}
	delete(d.world.pipes, p)
}

// Pipes returns how many pipes are open.
func (w *World) Pipes() int { return len(w.pipes) }

// Relay is a method of Splicer.
func (d *Simulated) Relay(s *Socket, _ bool) { d.link(s) }

// SendPipe is a method of Splicer.
func (d *Simulated) SendPipe(s *Socket, p *Pipe) (n int, pending bool, err error) {
	w := d.world
	l := d.link(s)
	if s.flags&sending != 0 || l.OutEnd {
		w.Failf("SendPipe while a Send is pending, or after CloseWrite")
	}
	if l.Broken {
		return 0, false, os.NewSyscallError("splice", syscall.EPIPE)
	}
	if !w.Calm && w.Choose(50) == 0 {
		w.Fault("unfit pipe")
		p.unfit = true
		return 0, false, nil
	}
	n = min(p.held, SimulatedSend-len(l.Out))
	if !w.Calm {
		n = w.Choose(n + 1)
	}
	held := w.pipes[p]
	l.Out = append(l.Out, held[:n]...)
	w.pipes[p], p.held = held[n:], p.held-n
	if p.held == 0 {
		return n, false, nil
	}
	s.flags |= sending
	return n, true, nil
}

// ReadPipe is a method of Splicer.
func (d *Simulated) ReadPipe(p *Pipe) ([]byte, error) {
	all := d.world.pipes[p]
	d.world.pipes[p], p.held = nil, 0
	return all, nil
}

// Detach is a method of Driver.
func (d *Simulated) Detach(s *Socket) {
	d.world.Point()
	d.link(s)
	if s.flags&sending != 0 {
		d.world.Failf("Detach while a Send is pending")
	}
	s.flags = departing
	d.world.Count("detached")
}

// detach ends Detach.
func (d *Simulated) detach(s *Socket, l *Link) {
	d.letGo(s, l)
	if !d.world.Calm && d.world.Choose(8) == 0 {
		d.world.Fault("EMFILE")
		l.refuse()
		d.detached = append(d.detached, detachment{socket: s, err: os.NewSyscallError("dup", syscall.EMFILE)})
		return
	}
	n := 0
	if len(l.In) > 0 {
		n = d.world.Choose(len(l.In) + 1)
	}
	rest := slices.Clone(l.In[:n])
	l.In = l.In[n:]
	d.detached = append(d.detached, detachment{socket: s, conn: &simulatedConn{d.world, l}, rest: rest})
}

// A simulatedConn is a connection that belongs to package net.
type simulatedConn struct {
	world *World
	link  *Link
}

func (c *simulatedConn) Read(p []byte) (int, error) {
	l := c.link
	c.world.Wait(func() bool { return l.hasInput() || l.Closed }, -1)
	switch {
	case l.Closed:
		return 0, net.ErrClosed
	case len(l.In) > 0:
		n := copy(p, l.In)
		l.In = l.In[n:]
		return n, nil
	case l.Broken:
		return 0, syscall.ECONNRESET
	}
	return 0, io.EOF
}

func (c *simulatedConn) Write(p []byte) (n int, err error) {
	l := c.link
	for n < len(p) {
		c.world.Wait(func() bool { return l.hasRoom() || l.Closed }, -1)
		if l.Closed || l.Broken || l.OutEnd {
			return n, syscall.EPIPE
		}
		m := min(len(p)-n, SimulatedSend-len(l.Out))
		l.Out = append(l.Out, p[n:][:m]...)
		n += m
	}
	return n, nil
}

func (c *simulatedConn) CloseWrite() error {
	c.link.OutEnd = true
	return nil
}

func (c *simulatedConn) Close() error {
	c.link.OutEnd, c.link.Closed = true, true
	return nil
}

func (c *simulatedConn) LocalAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 1} }
func (c *simulatedConn) RemoteAddr() net.Addr {
	return &net.TCPAddr{IP: net.IPv4(10, 0, 0, 2), Port: 1}
}
func (c *simulatedConn) SetDeadline(time.Time) error      { return nil }
func (c *simulatedConn) SetReadDeadline(time.Time) error  { return nil }
func (c *simulatedConn) SetWriteDeadline(time.Time) error { return nil }

// Carry moves n bytes at most of what the server has sent to the peer's host, which
// acknowledges them, and then the end.
func (w *World) Carry(l *Link, n int) (moved bool) {
	if l.Broken || l.Refused {
		return false
	}
	if l.Twin != nil {
		return w.carryToTwin(l, n)
	}
	n = min(n, SimulatedReceive-len(l.Arrived), len(l.Out))
	l.Arrived = append(l.Arrived, l.Out[:n]...)
	l.acknowledge(n)
	return n > 0 || l.acknowledgeEnd()
}

func (l *Link) acknowledge(n int) {
	l.Out = l.Out[n:]
	l.Acknowledged += n
}

func (l *Link) acknowledgeEnd() bool {
	if len(l.Out) > 0 || !l.OutEnd || l.Acked {
		return false
	}
	l.Acked = true
	return true
}

func (w *World) carryToTwin(l *Link, n int) bool {
	to := l.Twin
	n = min(n, len(l.Out), max(0, SimulatedReceive-len(to.In)))
	if n > 0 && to.Closed {
		to.refuse() // bytes meet a closed socket
		return true
	}
	to.In = append(to.In, l.Out[:n]...)
	l.acknowledge(n)
	if l.acknowledgeEnd() {
		to.InEnd = true
		return true
	}
	return n > 0
}
