package epi

import (
	"errors"
	"fmt"
	"io"

	"github.com/epinet/epi/internal/driver"
)

// Pipe passes on everything between two connections, in both directions, as a
// proxy does: what is unread on either, what arrives, and the end. Of their own
// handlers only OnClose is called from now on, as the last call.
//
//   - While the queue of one is above Engine.HighWater the other is not read from,
//     so a slow reader slows down whoever sends to it.
//   - The end of a stream is passed on behind its bytes, and the other direction
//     goes on (CloseWrite).
//   - When one is closed in order, or because it was idle, or the engine drains, so
//     is the other, which delivers what it has; what the other receives in the
//     meantime is thrown away. When one breaks (a reset, Abort,
//     WriteTimeout, a Dial that fails) the other is aborted: its peer must not take
//     what it has got for all there is.
//
// On Linux, what arrives in large pieces is moved by splice(2) and not copied, where
// the two are plain TCP or Unix sockets of one loop, without Engine.Workers, and
// MaxQueued is at least 1 MiB. Up to 1 MiB on its way then lies in a pipe of the
// kernel; it counts as queued, and nothing more is read before it is gone. A loop
// has at most 64 such pipes in use, and copies what is beyond.
//
// Either may be a connection that Dial has returned and that is not established
// yet. Pause and Expect of before do not hold any more. Pipe may be called from any
// goroutine, also in callbacks of either; the two may have different loops, but on
// one (DialOptions.Loop) it costs less. A connection can be part of one Pipe only:
// one that is given to another is aborted.
//
// ErrClosed says that one of them was closed or closing already; then the other is
// aborted.
func Pipe(a, b *Conn) error {
	if a == b {
		return errors.New("epi: pipe: both ends are the same connection")
	}
	if err := a.passTo(b); err != nil {
		_ = b.Abort() // it may be closed, too
		return fmt.Errorf("epi: pipe: %w", err)
	}
	if err := b.passTo(a); err != nil {
		_ = a.Abort()
		return fmt.Errorf("epi: pipe: %w", err)
	}
	return nil
}

// errPiped is the cause of a connection that was given to two pipes.
var errPiped = errors.New("connection is part of another Pipe already")

// A pipeEnd is the handler of a connection whose bytes go to another.
type pipeEnd struct {
	to     *Conn
	before Handler // of the holder; gets the end, too; nil when there was none
	bulk   bool    // of the holder; much arrives at once: the next goes through a pipe, if it may
}

// passTo has the holder of c make a pipeEnd its handler.
func (c *Conn) passTo(to *Conn) error {
	c.mu.Lock()
	defer c.unlock()
	if c.state.Load()&ending != 0 {
		return ErrClosed
	}
	c.loop.mu.Lock()
	c.loop.passings[c] = append(c.loop.passings[c], to)
	c.loop.mu.Unlock()
	c.set(passing)
	c.todo |= doPipe
	return nil
}

// pipe makes the handler that passTo asked for the connection's, before the
// old handler is called again.
func (c *Conn) pipe() {
	if c.state.Load()&passing == 0 {
		return
	}
	c.loop.mu.Lock()
	all := c.loop.passings[c]
	delete(c.loop.passings, c)
	c.loop.mu.Unlock()
	for _, to := range all {
		_, twice := c.handler.(*pipeEnd)
		before := c.handler
		c.SetHandler(&pipeEnd{to: to, before: before})
		if twice {
			_ = c.end(aborting|resetting, errPiped)
		}
	}
	c.mu.Lock()
	c.unset(paused | passing)
	c.set(piped)
	c.mu.Unlock()
}

// OnData passes on what is unread. What finds no room stays.
func (p *pipeEnd) OnData(c *Conn) error {
	size := len(c.Unread())
	_, err := p.to.Write(c.Unread())
	switch {
	case errors.Is(err, ErrQueueFull):
		p.writeSome(c)
	default: // also when it is closed: its OnClose has c closed
		c.Discard(size)
	}
	p.look(c, size)
	if p.bulk && p.to.drainsFirst() || p.to.full() {
		c.Pause()
		if !p.to.full() {
			c.Resume() // it has drained in the meantime, or begun to close, and nobody resumes c any more
		}
	}
	return nil
}

// writeSome passes on as much as there is room for, in parts that leave the queue
// above its high watermark while anything is left: otherwise no OnDrain would follow
// when there is room for the rest. The queue may drain meanwhile.
func (p *pipeEnd) writeSome(c *Conn) {
	for part := len(c.Unread()); !p.to.full() && len(c.Unread()) > 0; {
		part = min(part, len(c.Unread()))
		switch _, err := p.to.Write(c.Unread()[:part]); {
		case err == nil:
			c.Discard(part)
		case errors.Is(err, ErrQueueFull):
			part = max(part/2, 1)
		default:
			c.Discard(len(c.Unread()))
		}
	}
}

// full reports whether the queue has risen above HighWater and not yet fallen to
// LowWater. One that is ending takes nothing more: nobody waits for room in it.
func (c *Conn) full() bool { return c.state.Load()&(congested|ending) == congested }

// releasePartner has the other end of a Pipe read on, which may have waited for room
// in c. OnDrain is not called any more when c is ending; what the other reads is thrown
// away, and if it breaks, it notices.
func (c *Conn) releasePartner() {
	if end, ok := c.handler.(*pipeEnd); ok && end.to.state.Load()&paused != 0 {
		end.to.Resume()
	}
}

// OnDrain goes on reading what there is room for again.
func (p *pipeEnd) OnDrain(*Conn) { p.to.Resume() }

// OnEOF passes on the end of the stream.
func (p *pipeEnd) OnEOF(*Conn) error {
	_ = p.to.CloseWrite() // when it is closed, OnClose has its turn
	return nil
}

// OnClose has the other end follow.
func (p *pipeEnd) OnClose(c *Conn, err error) {
	if endsInOrder(err) {
		_ = p.to.Close()
	} else {
		_ = p.to.Abort()
	}
	if p.before != nil {
		p.before.OnClose(c, err)
	}
}

// endsInOrder reports whether a connection that was closed for this reason has
// passed on all that its peer had sent before.
func endsInOrder(err error) bool {
	switch {
	case err == nil, err == io.EOF, errors.Is(err, ErrIdle), errors.Is(err, ErrReadTimeout), errors.Is(err, ErrShutdown):
		return true
	}
	return false
}

// look decides by the size of what has arrived how the next bytes go on. Much goes
// through a pipe as soon as nothing else waits before it.
func (p *pipeEnd) look(c *Conn, size int) {
	enough := size >= c.loop.cfg.beginSplicing || p.bulk && size >= c.loop.cfg.keepSplicing
	bulk := enough && c.loop == p.to.loop && c.loop.pipes.Usable() &&
		c.plain() && p.to.plain() && p.to.marks().queued >= c.loop.cfg.pipeSize
	if !bulk && !p.bulk {
		return
	}
	p.bulk = bulk
	p.to.extras().drains = bulk
	c.loop.pipes.Splicer.Relay(&c.sock, bulk)
}

// pipeToFill returns an empty pipe, if what arrives next on c may be passed on
// through one: nothing is before it, on either side.
func (c *Conn) pipeToFill() *driver.Pipe {
	end, ok := c.handler.(*pipeEnd)
	if !ok || !end.bulk || c.state.Load()&(starting|paused|ending|passing|replaced) != 0 || !end.to.takesNow(c.loop.cfg.pipeSize) {
		return nil
	}
	return c.loop.pipes.Offer()
}

// spliced passes on n bytes that lie in the spare pipe.
func (c *Conn) spliced(n int) {
	end := c.handler.(*pipeEnd)
	end.look(c, n)
	if end.to.sendSpliced(n) {
		c.Pause() // until OnDrain
		c.adjustReceiving()
	}
}

// sendSpliced takes over n bytes that lie in the spare pipe, and reports whether
// some of them have to wait.
func (c *Conn) sendSpliced(n int) (waits bool) {
	c.extras().pipe = c.loop.pipes.Take()
	if !c.queueSpliced(n) {
		c.dropPipe() // its OnClose has the other end closed
		return false
	}
	c.sendPipe()
	return c.drainsFirst()
}

// queueSpliced is reserve for bytes that cannot be refused: there is room, as
// takesNow has said, but for what others have written since.
func (c *Conn) queueSpliced(n int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state.Load()&unwritable != 0 {
		return false
	}
	c.queued += n
	return true
}

// drainsFirst reports whether anything is queued, and if so has OnDrain called when
// it is not any more.
func (c *Conn) drainsFirst() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.queued == 0 || c.state.Load()&unwritable != 0 {
		return false
	}
	c.set(congested)
	return true
}

// sendPipe gives the driver what lies in the pipe of c.
func (c *Conn) sendPipe() {
	pipe := c.extra.pipe
	n, pending, err := c.loop.pipes.Splicer.SendPipe(&c.sock, pipe)
	if err == nil && pipe.Unfit() {
		err = c.copyPipe()
	}
	if err != nil {
		c.sendFailed(err)
		c.request(doCheck)
		return
	}
	c.pending = pending
	if pipe.Held() == 0 {
		c.dropPipe()
	}
	c.moved(n)
	if n > 0 {
		c.unqueue(n)
	}
}

// copyPipe makes what lies in a pipe that cannot be spliced the first to be sent.
func (c *Conn) copyPipe() error {
	p, err := c.loop.pipes.Splicer.ReadPipe(c.extra.pipe)
	if err != nil {
		return err
	}
	c.sending = c.loop.pool.Queue()
	c.sending.Write(&c.loop.pool, p)
	c.request(doCheck)
	return nil
}

// dropPipe gives back the pipe, with what is in it.
func (c *Conn) dropPipe() {
	if c.holdsPipe() {
		c.loop.pipes.Put(c.extra.pipe)
		c.extra.pipe = nil
	}
}
