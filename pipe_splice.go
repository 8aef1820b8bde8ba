package epi

import "github.com/epinet/epi/internal/driver"

const (
	// beginSplicing is the size of a piece after which the next ones go through pipes,
	// and keepSplicing that below which they do not any more. Messages of 16 KiB cost
	// the same either way, those of 32 KiB less when they are copied, since after
	// each the socket is asked in vain for more, and those of 64 KiB less when they
	// are not (measured here). A stream comes in pieces of all sizes: it is not to
	// change its way at each.
	beginSplicing = 48 << 10
	keepSplicing  = 16 << 10
	// mostPipes bounds the pipes of a loop that hold bytes, of two descriptors each.
	// Other bytes are copied.
	mostPipes = 64
)

// pipes are what a loop has for splice(2). They are of the loop goroutine.
//
//	source ─ splice ─► spare ─ splice ─► destination        all of it was taken
//	                     └─► extra.pipe of the destination  it has no more room
//
// A pipe that holds bytes belongs to the connection that they are to be sent on, and
// its queue counts them. They go before all that is written meanwhile.
type pipes struct {
	splicer driver.Splicer // nil where there is none
	spare   *driver.Pipe   // empty; nil until one is needed
	filled  int            // those that connections have
	refused bool           // the system does not splice
}

// offer returns the spare pipe, or nil when there is none to be had.
func (p *pipes) offer() *driver.Pipe {
	if p.spare != nil && p.spare.Unfit() {
		p.refused = true
		p.release()
	}
	if p.spare == nil && p.usable() {
		p.spare = p.splicer.NewPipe()
	}
	return p.spare
}

// usable reports whether a pipe is likely to be had.
func (p *pipes) usable() bool { return p.splicer != nil && !p.refused && p.filled < mostPipes }

// take makes the spare pipe a connection's.
func (p *pipes) take() *driver.Pipe {
	pipe := p.spare
	p.spare = nil
	p.filled++
	return pipe
}

// put takes a pipe back from a connection.
func (p *pipes) put(pipe *driver.Pipe) {
	p.filled--
	if p.spare == nil && pipe.Held() == 0 {
		p.spare = pipe
		return
	}
	p.splicer.ClosePipe(pipe)
}

// release closes the spare pipe.
func (p *pipes) release() {
	if p.spare != nil {
		p.splicer.ClosePipe(p.spare)
		p.spare = nil
	}
}

// look decides by the size of what has arrived how the next bytes go on. Much goes
// through a pipe as soon as nothing else waits before it.
func (p *pipeEnd) look(c *Conn, size int) {
	enough := size >= beginSplicing || p.bulk && size >= keepSplicing
	bulk := enough && c.loop == p.to.loop && c.loop.pipes.usable() &&
		c.plain() && p.to.plain() && p.to.marks().queued >= driver.PipeSize
	if !bulk && !p.bulk {
		return
	}
	p.bulk = bulk
	p.to.extras().drainsWholly = bulk
	c.loop.pipes.splicer.Relay(&c.sock, bulk)
}

// plain reports whether the bytes of the handler are those on the socket.
func (c *Conn) plain() bool { return c.extra == nil || c.extra.tls == nil }

// pipeToFill returns an empty pipe, if what arrives next on c may be passed on
// through one: nothing is before it, on either side.
func (c *Conn) pipeToFill() *driver.Pipe {
	end, ok := c.handler.(*pipeEnd)
	if !ok || !end.bulk || c.state.Load()&(starting|paused|ending|passing|replaced) != 0 || !end.to.takesPipe() {
		return nil
	}
	return c.loop.pipes.offer()
}

// takesPipe reports whether c can be given a pipe to send from.
func (c *Conn) takesPipe() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.queued == 0 && c.state.Load()&(starting|unwritable|congested) == 0
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
	c.extras().pipe = c.loop.pipes.take()
	if !c.queueSpliced(n) {
		c.dropPipe() // its OnClose has the other end closed
		return false
	}
	c.sendPipe()
	return c.drainsFirst()
}

// queueSpliced is reserve for bytes that cannot be refused: there is room, as
// takesPipe has said, but for what others have written since.
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
	n, pending, err := c.loop.pipes.splicer.SendPipe(&c.sock, pipe)
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
	c.took(n)
}

// copyPipe makes what lies in a pipe that cannot be spliced the first to be sent.
func (c *Conn) copyPipe() error {
	p, err := c.loop.pipes.splicer.ReadPipe(c.extra.pipe)
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
		c.loop.pipes.put(c.extra.pipe)
		c.extra.pipe = nil
	}
}

// holdsPipe reports whether a pipe holds what is to be sent first.
func (c *Conn) holdsPipe() bool { return c.extra != nil && c.extra.pipe != nil }
