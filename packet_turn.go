package epi

import (
	"errors"
	"fmt"
	"slices"

	"github.com/epinet/epi/internal/driver"
	"github.com/epinet/epi/internal/sock"
)

// packetSends bounds the system calls with which one socket sends in one turn:
// with 64 datagrams each, that is as much as the largest batch brings.
const packetSends = 32

func newPacketConn(l *Loop, network string, h driver.Handle, local, remote driver.Endpoint) *PacketConn {
	c := &PacketConn{loop: l, network: network, local: local, remote: remote, sender: make(chan struct{}, 1)}
	c.sock.Stream = (*packetStream)(c)
	c.sock.Handle = h
	c.sock.Remote = remote
	c.timer.Owner = c
	return c
}

// post lets the loop open the socket. From now on the loop does not end before
// the socket is closed.
func (c *PacketConn) post() error {
	if c.loop.engine.stopping.Load() {
		return ErrShutdown
	}
	c.loop.live.Add(1)
	if err := c.loop.post(c.begin, unbounded); err != nil {
		c.loop.live.Add(-1)
		return err
	}
	return nil
}

// discard closes a socket that no loop has.
func (c *PacketConn) discard() {
	c.removeSocketFile()
	c.loop.engine.shared.Discard(c.sock.Handle)
}

// removeSocketFile removes the socket's file, if it is ours, once: another's may
// have the same number afterwards.
func (c *PacketConn) removeSocketFile() {
	defer func() { c.file = sock.SocketFile{} }()
	if err := c.file.Remove(); err != nil {
		c.loop.cfg.log.Warn("the socket file stays behind", "path", c.local.Path, "error", err)
	}
}

// begin opens the socket. It runs on the loop.
func (c *PacketConn) begin() {
	l := c.loop
	defer c.open() // also when the handler function ends its goroutine
	if c.handler == nil {
		l.guard("handler function", func() { c.handler = c.makeHandler(c) })
	}
}

// open lets the driver have the socket, if a handler was made.
func (c *PacketConn) open() {
	l := c.loop
	cause := ErrNoHandler
	if c.handler != nil {
		cause = c.openSocket()
	}
	if cause != nil {
		l.cfg.log.Error("a packet socket cannot be used", "address", c.LocalAddr().String(), "loop", l.id, "error", cause)
		_ = c.end(cause)
		c.drop()
		c.forsake()
		c.socketClosed()
		return
	}
	l.packetConns[c] = struct{}{}
	if l.draining {
		_ = c.end(ErrShutdown)
	}
	if l.aborted {
		c.abort(ErrShutdown)
	}
	c.request()
}

// openSocket lets the driver have the socket.
func (c *PacketConn) openSocket() error {
	c.sender <- struct{}{}
	defer func() { <-c.sender }()
	if err := c.loop.drv.OpenPacket(&c.sock); err != nil {
		return err
	}
	c.opened = true
	if c.network == "unixgram" && c.remote == (driver.Endpoint{}) {
		_, c.crowd.room = c.loop.drv.UnreadByPeers(&c.sock)
	}
	return nil
}

// forsake is discard for a socket whose listener may be closed meanwhile.
func (c *PacketConn) forsake() {
	c.sender <- struct{}{}
	defer func() { <-c.sender }()
	c.stopped = true
	c.discard()
}

// turn is the socket's part of the flush phase.
func (c *PacketConn) turn() {
	c.mu.Lock()
	c.scheduled = false
	c.mu.Unlock()
	if !c.opened {
		return // begin will ask again
	}
	c.flush()
	if c.ending.Load() {
		c.finish()
	}
}

// flush gives the driver what is queued, as long as it takes it.
func (c *PacketConn) flush() {
	c.sender <- struct{}{}
	c.sendSome()
	<-c.sender
}

func (c *PacketConn) sendSome() {
	for range packetSends {
		batch := c.next()
		if len(batch) == 0 {
			return
		}
		n, pending, err := c.loop.drv.SendPackets(&c.sock, batch)
		c.pending = pending
		c.sent(batch[:n])
		switch {
		case errors.Is(err, driver.ErrBusy):
			c.busy(batch[n])
		case err != nil:
			c.sendFailed(batch[n], err)
		}
	}
	c.request()
}

// next returns datagrams that may be sent now. When all of a queue have left it
// goes on with the next.
func (c *PacketConn) next() []driver.Datagram {
	for !c.pending && c.nextQueue() {
		if batch := c.admit(c.waiting.without(c)); len(batch) > 0 {
			return batch
		}
	}
	return nil
}

// nextQueue makes the queue whose turn it is the one to send and reports whether
// there is any.
func (c *PacketConn) nextQueue() bool {
	if c.sending != nil && c.sending.first < len(c.sending.datagrams) {
		return true
	}
	c.putQueue(&c.sending)
	if c.later != nil {
		c.sending, c.later = c.later, nil
		return true
	}
	c.mu.Lock()
	c.sending, c.queue = c.queue, nil
	c.mu.Unlock()
	return c.sending != nil
}

// sent accounts for datagrams that the driver took.
func (c *PacketConn) sent(batch []driver.Datagram) {
	if len(batch) == 0 {
		return
	}
	size := 0
	for _, d := range batch {
		size += len(d.Bytes)
	}
	c.waiting.took(batch)
	c.crowd.since += 2*size + len(batch)*crowdRecord
	c.failed = false
	if c.expires != 0 {
		c.expires = deadline(c.loop.now(), c.loop.cfg.timeouts.linger)
	}
	c.loop.count.packetsOut.Add(uint64(len(batch)))
	c.loop.count.bytesOut.Add(uint64(size))
	c.dequeue(len(batch), size)
}

// sendFailed answers an error. It can be one that waited on the socket, so the
// datagram is tried once more before it is given up.
func (c *PacketConn) sendFailed(d driver.Datagram, err error) {
	if c.failed {
		c.failed = false
		c.loop.count.packetsDropped.Add(1)
		c.dequeue(1, len(d.Bytes))
		return
	}
	c.failed = true
	if c.sock.Remote == (driver.Endpoint{}) {
		err = fmt.Errorf("send to %s: %w", PacketAddr(d.Peer), err)
	}
	<-c.sender // the handler may close its listener
	c.callOnError(err)
	c.sender <- struct{}{}
}

func (c *PacketConn) callOnError(err error) {
	c.loop.count.packetErrors.Add(1)
	defer c.request() // when OnError ends its goroutine, the turn does not end
	if h, ok := c.handler.(PacketErrorHandler); ok && !c.ending.Load() {
		c.loop.guard("OnError", func() { h.OnError(c, err) })
	}
}

// finish closes a socket that is ending when nothing waits to be sent, or limits
// the time for that.
func (c *PacketConn) finish() {
	c.mu.Lock()
	over := c.queued == 0 && !c.gone
	c.gone = c.gone || over
	c.mu.Unlock()
	switch {
	case over:
		c.conclude()
	case c.expires == 0:
		c.expires = deadline(c.loop.now(), c.loop.cfg.timeouts.linger)
		c.loop.schedule(&c.timer, c.loop.realTime(c.expires))
	}
}

// abort closes the socket and throws away what is queued. It runs on the loop.
func (c *PacketConn) abort(cause error) {
	_ = c.end(cause)
	c.drop()
	c.request()
}

// drop throws away what is queued.
func (c *PacketConn) drop() {
	c.sender <- struct{}{}
	c.dropQueues()
	<-c.sender
}

func (c *PacketConn) dropQueues() {
	c.mu.Lock()
	queue := c.queue
	c.queue = nil
	c.queued = 0
	c.mu.Unlock()
	for _, q := range []**packetQueue{&queue, &c.sending, &c.later, &c.waiting.aside} {
		if *q != nil {
			c.loop.count.packetsDropped.Add(uint64(len((*q).rest())))
		}
		c.putQueue(q)
	}
}

// putQueue gives back a queue.
func (c *PacketConn) putQueue(q **packetQueue) {
	if *q != nil {
		c.loop.packetQueues.put(&c.loop.pool, *q)
		*q = nil
	}
}

// conclude has the socket closed in this iteration.
func (c *PacketConn) conclude() {
	l := c.loop
	l.unschedule(&c.timer)
	delete(l.packetConns, c)
	l.concludedPackets = append(l.concludedPackets, c)
}

// stop gives up the address of a socket that is closing.
func (c *PacketConn) stop() {
	c.sender <- struct{}{}
	defer func() { <-c.sender }()
	if c.stopped {
		return
	}
	if c.network == "unixgram" {
		c.removeSocketFile()
		return
	}
	c.stopped = true
	if c.opened {
		c.sendLast()
	}
	c.dropQueues()
	c.loop.engine.shared.StopPacket(c.sock.Handle)
}

// sendLast sends what leaves at once of all that is queued.
func (c *PacketConn) sendLast() {
	for c.nextQueue() {
		batch := c.sending.rest()
		count, size := c.loop.drv.SendLast(&c.sock, batch)
		c.loop.count.packetsOut.Add(uint64(count))
		c.loop.count.packetsDropped.Add(uint64(len(batch) - count))
		c.loop.count.bytesOut.Add(uint64(size))
		c.sending.first += len(batch)
	}
}

// closeSocket has the driver close the socket. Nobody stops it any more.
func (c *PacketConn) closeSocket() {
	c.sender <- struct{}{}
	defer func() { <-c.sender }()
	c.dropQueues() // nothing is queued, but a queue may be left
	// Before the socket is closed: whoever binds the path next gets a new file.
	c.removeSocketFile()
	if !c.stopped && c.network != "unixgram" && c.makeHandler != nil {
		c.loop.engine.shared.StopPacket(c.sock.Handle) // the driver may close it later
	}
	c.stopped = true
	c.loop.drv.ClosePacket(&c.sock)
}

// socketClosed uncounts the socket, which is gone, and calls OnClose.
func (c *PacketConn) socketClosed() {
	c.mu.Lock()
	c.gone = true
	cause := c.cause
	c.mu.Unlock()
	if c.remote != (driver.Endpoint{}) {
		c.loop.engine.admission.leave()
	}
	defer c.loop.retire() // also when OnClose ends its goroutine
	if c.handler != nil {
		c.loop.guard("OnClose", func() { c.handler.OnClose(c, cause) })
	}
}

// expire is run by the loop when a deadline has come.
func (c *PacketConn) expire(now int64) {
	c.sender <- struct{}{}
	c.waiting.retry(c, now)
	<-c.sender
	if c.expires == 0 {
		return
	}
	if c.expires > c.loop.looked() {
		c.loop.schedule(&c.timer, c.loop.realTime(c.expires))
		return
	}
	c.mu.Lock()
	if c.cause == nil {
		c.cause = ErrLinger
	}
	c.mu.Unlock()
	c.drop()
	c.request()
}

// packetStream is how the driver sees a PacketConn, which has no public methods
// for it.
type packetStream PacketConn

func (s *packetStream) Arrived(batch []driver.Datagram, oversize int) {
	c := (*PacketConn)(s)
	size := 0
	for _, d := range batch {
		size += len(d.Bytes)
	}
	c.loop.count.packetsIn.Add(uint64(len(batch)))
	c.loop.count.bytesIn.Add(uint64(size))
	if oversize > 0 {
		c.loop.count.packetsDropped.Add(uint64(oversize))
	}
	c.deliver(batch)
}

// deliver gives datagrams to the handler. One at which it panics, or ends its
// goroutine, is lost; the others are not.
func (c *PacketConn) deliver(batch []driver.Datagram) {
	for len(batch) > 0 {
		batch = batch[c.deliverSome(batch):]
	}
	c.handOver(asked{})
}

func askedBy(d *driver.Datagram) asked {
	if !d.Local.IsValid() {
		return asked{}
	}
	return asked{d.Peer, d.Local}
}

// handOver notes whose datagram the handler gets, for its answer. Other goroutines
// may be writing.
func (c *PacketConn) handOver(a asked) {
	if a == c.asked {
		return
	}
	c.mu.Lock()
	c.asked = a
	c.mu.Unlock()
}

// deliverSome returns how many had their turn.
func (c *PacketConn) deliverSome(batch []driver.Datagram) (n int) {
	returned := false
	defer func() {
		if returned {
			return
		}
		v := recover()
		c.loop.panicked("OnPacket", v)
		if v == nil {
			c.deliver(batch[n:]) // this returns to nobody
		}
	}()
	for i := range batch {
		if c.ending.Load() {
			n = len(batch) // Close throws away what comes after it
			break
		}
		n = i + 1
		c.handOver(askedBy(&batch[i]))
		c.handler.OnPacket(c, slices.Clip(batch[i].Bytes), PacketAddr(batch[i].Peer))
	}
	returned = true
	return n
}

func (s *packetStream) Failed(err error) { (*PacketConn)(s).callOnError(err) }

func (s *packetStream) Writable() {
	c := (*PacketConn)(s)
	c.pending = false
	c.request()
}

func (s *packetStream) PacketClosed() { (*PacketConn)(s).socketClosed() }
