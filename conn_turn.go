package epi

import (
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/epinet/epi/internal/buffer"
	"github.com/epinet/epi/internal/driver"
)

func newConn(l *Loop, from *origin, h driver.Handle, peer netip.AddrPort) *Conn {
	c := &Conn{loop: l, origin: from, host: peer.Addr(), port: peer.Port(), born: uint32(l.cfg.Clock() / int64(time.Second))}
	c.own.Store(from.timeouts)
	c.sock.Stream = (*stream)(c)
	c.sock.Handle = h
	c.state.Store(opening)
	return c
}

// turn is a visit of the connection's holder, which does all that is to do, in order.
// The holder is the loop in its flush phase, or a worker.
func (c *Conn) turn(s *scratch) {
	todo, taken := c.take()
	c.pipe()
	if todo&doClose != 0 {
		c.callOnClose()
		return
	}
	s.turn = c
	c.do(todo, s)
	sent := c.flush(s, taken && todo == doCheck)
	ended := c.settle(sent)
	s.turn = nil
	if ended {
		return
	}
	if c.advanceClose() {
		c.conclude()
		return
	}
	c.adjustReceiving()
	c.endTurn()
}

// take returns what the turn is for, and makes what is queued the next to be sent,
// unless something else is. doClose is left, so that it is noticed when it comes twice.
func (c *Conn) take() (todo todoBits, taken bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	todo = c.todo
	c.todo &= doClose
	return todo, c.takeQueue()
}

// do is the part of a turn that calls the handler.
func (c *Conn) do(todo todoBits, s *scratch) {
	if todo&doTidy != 0 {
		c.tidy()
	}
	if todo&doOpen != 0 {
		c.start()
	}
	if todo&doTLS != 0 {
		c.advanceHandshake()
	}
	if todo&doPipe != 0 {
		c.switchHandlerLater()
	}
	if todo&(doOffer|doOfferRest) != 0 {
		c.offerAgain(todo&doOffer != 0) // before what has arrived since, and above all before the end
	}
	if todo&doFollowUp != 0 {
		c.followUp(todo, s)
	}
	if todo&doTimeouts != 0 {
		c.beginTimeouts()
	}
	if todo&doTime != 0 {
		c.checkTime()
	}
	if todo&doShutdown != 0 {
		c.callOnShutdown()
	}
}

// settle takes n bytes that have left off what is queued. Where a turn has nothing else
// to do, it ends it, under the same lock, and reports that it did.
func (c *Conn) settle(n int) (ended bool) {
	c.mu.Lock()
	below := c.dequeue(n)
	queued, st := c.queued, c.state.Load()
	ended = st&^undisturbed == 0 && !below && c.receiving == c.wantsBytes(st) && c.loop.engine.workers == nil
	if ended {
		c.forgetCheck(queued == 0)
		c.unset(scheduled)
		c.unlock()
	} else {
		c.mu.Unlock()
	}
	c.account(queued)
	if below {
		c.callOnDrain()
	}
	return ended
}

// forgetCheck forgets that somebody has asked for a look at what is queued: this turn
// has seen to it, or Sent will. The caller holds mu.
func (c *Conn) forgetCheck(empty bool) {
	if c.pending || empty {
		c.todo &^= doCheck
	}
}

// followUp does what a lent socket became ready for.
func (c *Conn) followUp(todo todoBits, s *scratch) {
	c.loop.lender.FollowUp(&c.sock, todo.readiness())
	if todo&doRead != 0 && c.receiving {
		c.loop.lender.Read(&c.sock, s.buf)
	}
}

// endTurn ends the turn. Work that has arrived meanwhile goes to the back of the queue.
func (c *Conn) endTurn() {
	if c.loop.cfg.workers > 0 && c.state.Load()&opening == 0 {
		c.loop.lender.Return(&c.sock)
	}
	c.mu.Lock()
	c.unset(scheduled)
	c.unlock()
}

// start begins the life of a connection. The driver has been receiving since the
// socket was opened.
func (c *Conn) start() {
	c.receiving = true
	if !c.beginPreface() {
		c.dropExtra() // of a Dial
		c.open()
	}
}

// open makes the handler of an accepted connection and calls OnOpen.
func (c *Conn) open() {
	if c.handler == nil && !c.makeHandler() {
		return
	}
	c.establish()
	if c.state.Load()&ending != 0 {
		return
	}
	c.callOnOpen()
	c.switchHandlerLater()
}

// settle lets a handler of SetHandler begin, in the callback's place, with what is
// in c.unread.
func (c *Conn) switchHandler() {
	for c.state.Load()&(replaced|starting|ending) == replaced {
		c.mu.Lock()
		c.unset(replaced)
		c.mu.Unlock()
		c.callOnOpen()
		if len(c.unread) > 0 && c.state.Load()&(replaced|paused|ending) == 0 {
			c.callOnData()
		}
	}
}

// settleLater is settle after a callback that has nothing in c.unread: what the
// handler before has left is in the inbox.
func (c *Conn) switchHandlerLater() {
	if c.state.Load()&replaced != 0 {
		c.switchHandler()
		c.offerAgain(true)
	}
}

func (c *Conn) makeHandler() bool {
	c.call("handler function", func() error {
		if c.handler = c.origin.handler(c); c.handler == nil {
			return ErrNoHandler
		}
		return nil
	})
	return c.handler != nil
}

// establish is the arrow to open.
func (c *Conn) establish() {
	c.mu.Lock()
	c.unset(starting)
	c.mu.Unlock()
	c.logOpened()
	c.beginTimeouts()
}

// tidy is for what a callback that has ended its goroutine left behind.
func (c *Conn) tidy() {
	c.unread = nil
	c.receiving = false // the driver may have been on its way to read more: it is asked again
	if t := c.extra.tlsPipe(); t != nil {
		t.StopReading() // what follows was lost
	}
}

// offer lets the handler read what is in c.unread and keeps what it leaves.
func (c *Conn) offer() {
	before := len(c.unread)
	c.pipe()
	c.callOnData()
	c.switchHandler()
	consumed := len(c.unread) < before
	if n := len(c.unread); n > c.marks().unread {
		_ = c.end(closing, fmt.Errorf("%w: %d, MaxUnread is %d", ErrUnreadFull, n, c.marks().unread))
	}
	c.keepUnread()
	if c.inbox != nil {
		c.inbox.Consumed = consumed
	}
	c.notePart(partUnread, c.inbox != nil, consumed)
	c.adjustReceiving()
}

// callOnData is call without a closure, for the hot path.
func (c *Conn) callOnData() {
	returned := false
	defer func() {
		if !returned {
			c.calledOff("OnData", recover())
		}
	}()
	err := c.handler.OnData(c)
	returned = true
	if err != nil {
		_ = c.end(closing, err)
	}
}

// keepUnread moves what the handler left out of the driver's buffer.
func (c *Conn) keepUnread() {
	switch {
	case c.inbox == nil && len(c.unread) > 0:
		c.inbox = c.loop.pool.Inbox(c.unread)
	case c.inbox == nil:
	case !c.inbox.Empty():
		c.inbox.Keep(len(c.unread))
	default:
		c.inbox.Append(&c.loop.pool, c.unread)
	}
	if c.inbox == nil {
		c.unread = nil
		return
	}
	if len(c.unread) == 0 && !c.inbox.Waits() {
		c.dropInbox()
	}
	c.unread = nil
	c.accountUnread()
}

func (c *Conn) dropInbox() {
	c.unread = nil
	if c.inbox != nil {
		c.loop.pool.PutInbox(c.inbox)
		c.inbox = nil
	}
}

// offerAgain, for Resume, offers unread bytes and an end that was held back, unless the
// connection is paused again.
func (c *Conn) offerAgain(wasPaused bool) {
	if c.state.Load()&(starting|paused|ending) != 0 {
		return
	}
	if wasPaused {
		c.touchReceived() // the time begins anew
	}
	if c.inbox != nil && !c.inbox.Waits() && (wasPaused || c.inbox.Consumed) {
		c.offerInbox()
	}
	c.offerEnd()
}

// offerExpected offers what has arrived of the bytes that the handler expected:
// there will be no more.
func (c *Conn) offerExpected() {
	if c.inbox == nil || !c.inbox.Waits() {
		return
	}
	if len(c.inbox.Bytes()) == 0 {
		c.dropInbox()
		return
	}
	c.offerInbox()
}

// offerInbox offers what is in the inbox. What the handler has expected holds no more.
func (c *Conn) offerInbox() {
	c.inbox.Expect(0)
	c.unread = c.inbox.Bytes()
	c.offer()
}

// adjustReceiving asks the driver for bytes or stops asking, as the state
// demands.
func (c *Conn) adjustReceiving() {
	if want := c.wantsBytes(c.state.Load()); want != c.receiving {
		c.receiving = want
		c.loop.drv.Receive(&c.sock, want)
		c.restartParts()
	}
}

// wantsBytes reports whether the driver is to receive. A connection that is closing
// reads on, and throws away, so that a peer in the middle of sending can finish and read
// what was queued for it.
func (c *Conn) wantsBytes(st stateBits) bool {
	full := st&(congested|piped) == congested
	return st&(opening|readEnded|detaching|gone) == 0 &&
		(st&closing != 0 || st&(handshaking|paused) == 0 && !full || st&handshaking != 0 && !c.prefaceFull())
}

// flush gives the driver what is queued, as long as it takes it, and returns how many
// bytes less are queued then. taken says that nothing has been queued since take, but by
// others, whose bytes have another turn.
func (c *Conn) flush(s *scratch, taken bool) (sent int) {
	if c.state.Load()&(opening|writeEnded|gone) != 0 {
		return 0
	}
	if c.holdsPipe() && !c.pending {
		c.sendPipe()
	}
	sealed := false
	for budget := c.loop.cfg.sendBudget; !c.pending && c.state.Load()&aborting == 0; {
		if c.sending == nil && !taken {
			c.mu.Lock()
			taken = c.takeQueue()
			c.mu.Unlock()
		}
		if t := c.extra.tlsPipe(); c.sending == nil && t != nil && !(sealed && t.Wants()) {
			sealed = true
			sent += c.seal(t)
		}
		if c.sending == nil {
			return sent
		}
		if budget <= 0 {
			c.request(doCheck)
			return sent
		}
		n, err := c.sendSome(s)
		if err != nil {
			c.sendFailed(err)
			return 0
		}
		budget -= n
		sent += n
	}
	return sent
}

// sendSome gives the driver the next bytes, and returns how many have left.
func (c *Conn) sendSome(s *scratch) (n int, err error) {
	if n = c.sending.Skipped(); n == 0 {
		bufs := c.sending.Buffers(s.vec, c.loop.cfg.maxSend)
		n, c.pending, err = c.loop.drv.Send(&c.sock, bufs)
		clear(bufs)
	}
	if err == nil {
		c.trim(n)
	}
	return n, err
}

// takeQueue makes what is queued the next to be sent, or to be sealed, and reports
// whether there is nothing more behind it. The caller is the holder, and holds mu.
func (c *Conn) takeQueue() bool {
	if c.sending != nil || c.pending || c.holdsPipe() || c.state.Load()&(starting|writeEnded|gone) != 0 {
		return false
	}
	t := c.extra.tlsPipe()
	switch {
	case t == nil:
		c.sending, c.queue = c.queue, nil
	case t.Wants() && c.queue != nil:
		t.Append(c.queue)
		c.queue = nil
	}
	return c.queue == nil
}

// trim takes n bytes off what is being sent.
func (c *Conn) trim(n int) {
	must(n <= c.sending.Len(), "the driver has sent more than it was given")
	if n == c.sending.Len() {
		c.loop.pool.PutQueue(c.sending)
		c.sending = nil
	} else {
		c.sending.Discard(&c.loop.pool, n)
	}
	c.moved(n)
}

// moved notes that the driver has taken n bytes, or none although it was asked.
func (c *Conn) moved(n int) {
	if n > 0 {
		c.touch()
		c.loop.count.bytesOut.Add(uint64(n))
	}
	c.noteStall(n)
}

// unqueue takes n bytes that have left off what is queued.
func (c *Conn) unqueue(n int) {
	c.mu.Lock()
	below := c.dequeue(n)
	if below {
		c.todo |= doCheck // for receiving again
	}
	queued := c.queued
	c.mu.Unlock()
	c.account(queued)
	if below {
		c.callOnDrain()
	}
}

// dequeue takes n bytes off what is queued, and reports whether the queue has fallen to
// where OnDrain is due. The caller holds mu.
func (c *Conn) dequeue(n int) (below bool) {
	c.queued -= n
	must(c.queued >= 0, "more was sent than was queued")
	below = n > 0 && c.state.Load()&congested != 0 && c.queued <= c.drainMark()
	if below {
		c.unset(congested)
	}
	return below
}

// drainMark is the length to which the queue has to fall for OnDrain.
func (c *Conn) drainMark() int {
	if c.extra != nil && c.extra.drains {
		return 0
	}
	return c.marks().low
}

// callOnShutdown closes the connection after the handler's last word, unless that
// was StayOpen.
func (c *Conn) callOnShutdown() {
	if c.state.Load()&ending != 0 {
		return
	}
	if h, ok := c.handler.(ShutdownHandler); ok {
		c.mu.Lock()
		c.unset(stays)
		c.mu.Unlock()
		c.call("OnShutdown", func() error { h.OnShutdown(c); return nil })
		if c.state.Load()&stays != 0 {
			return
		}
	}
	_ = c.end(closing, ErrShutdown)
}

func (c *Conn) callOnDrain() {
	c.pipe()
	h, ok := c.handler.(DrainHandler)
	if !ok || c.state.Load()&(starting|ending) != 0 {
		return
	}
	c.call("OnDrain", func() error { h.OnDrain(c); return nil })
	c.switchHandlerLater()
}

// sendFailed ends writing. The connection lives on until what the peer sent
// before was offered: reading will meet the end soon, or has met it, and the handler
// has paused. Who has stopped reading until there is room is called by OnDrain, and
// meets it, too.
func (c *Conn) sendFailed(err error) {
	c.endWriting()
	c.mu.Lock()
	if c.cause == nil || c.cause == io.EOF {
		c.cause = err
	}
	st := c.state.Load()
	c.unset(congested)
	ended := st&closing != 0 || st&readEnded != 0 && c.endCause == nil
	c.mu.Unlock()
	switch {
	case ended:
		_ = c.end(aborting, err)
	case st&congested != 0:
		c.callOnDrain()
	}
}

// endWriting is the arrow to write-closed.
func (c *Conn) endWriting() {
	c.pending = false
	c.dropPipe()
	if c.extra != nil {
		c.extra.stalled = 0
	}
	c.mu.Lock()
	c.set(writeEnded)
	c.dropQueues()
	c.mu.Unlock()
}

// dropQueues throws away what is queued. The caller holds mu.
func (c *Conn) dropQueues() {
	for _, q := range []**buffer.Queue{&c.queue, &c.sending} {
		if *q != nil {
			c.loop.pool.PutQueue(*q)
			*q = nil
		}
	}
	if t := c.extra.tlsPipe(); t != nil {
		t.Close()
	}
	c.queued = 0
}

// endReading is the arrow to read-closed.
func (c *Conn) endReading(cause error) {
	c.receiving = false
	c.endCause = cause
	c.mu.Lock()
	c.set(readEnded)
	c.todo |= doCheck
	c.unlock()
}

// offerEnd calls OnEOF, or closes the connection, when receiving has ended. A
// connection that is paused has it held back.
func (c *Conn) offerEnd() {
	cause := c.endCause
	if cause == nil || c.state.Load()&(handshaking|paused|ending) != 0 {
		return
	}
	if c.offerExpected(); c.state.Load()&(paused|ending) != 0 || c.offerDue() {
		return
	}
	c.endCause = nil
	if !orderly(cause) || c.sendingFailed() {
		_ = c.end(aborting, cause)
		return
	}
	c.pipe()
	h, ok := c.handler.(EOFHandler)
	if !ok || cause != io.EOF {
		_ = c.end(closing, cause)
		return
	}
	if c.inbox != nil {
		c.unread = c.inbox.Bytes()
	}
	c.call("OnEOF", func() error { return h.OnEOF(c) })
	c.keepUnread()
	if c.state.Load()&replaced != 0 {
		c.endCause = cause // for the other handler
		c.switchHandlerLater()
	}
}

// sendingFailed reports whether it was for an error that writing has ended. It is for
// a connection that is not ending: only such an error has given it a cause.
func (c *Conn) sendingFailed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cause != nil
}

// orderly reports whether the peer has ended its bytes by itself: it may still
// read.
func orderly(cause error) bool { return cause == io.EOF || cause == ErrTruncated }

// offerDue reports whether Resume was called and has not had its turn, which
// offers unread bytes and then reports the end.
func (c *Conn) offerDue() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.todo&(doOffer|doOfferRest) != 0
}

// advanceClose takes the steps towards the connection's end that are due, and reports
// whether there are none left.
func (c *Conn) advanceClose() (done bool) {
	c.mu.Lock()
	st := c.state.Load()
	empty := c.queued == 0 && !c.hasSealed()
	c.forgetCheck(empty)
	unwritten, queued := c.queue != nil, c.queued
	c.mu.Unlock()
	c.account(queued)
	if empty && st&(closing|closeWrite) != 0 && c.sealEnd() {
		empty = false
	}
	if st&(closing|detaching) != 0 {
		c.releasePartner()
	}
	switch {
	case st&aborting != 0:
		return true
	case st&starting != 0:
		return st&closing != 0 && c.abandonStart(unwritten)
	case st&closing != 0:
		return c.deliverRest(st, empty)
	case st&detaching != 0:
		return c.advanceDetach(empty)
	case st&closeWrite != 0 && empty && st&writeEnded == 0:
		c.shutdown()
	}
	return c.state.Load()&(readEnded|writeEnded) == readEnded|writeEnded && c.endCause == nil
}

// deliverRest sees to it that the peer of a closing connection gets everything, within
// the time for that, and reports whether it has.
func (c *Conn) deliverRest(st stateBits, empty bool) (done bool) {
	if c.abandonFailed() {
		return true
	}
	if empty && st&readEnded != 0 {
		return true
	}
	if empty && st&writeEnded == 0 {
		c.shutdown()
	}
	if empty && c.loop.drv.Delivered(&c.sock) {
		return true
	}
	c.limitClosing()
	return false
}

// advanceDetach reports whether everything that was queued before Detach is sent,
// so that the connection can be given away.
func (c *Conn) advanceDetach(empty bool) (done bool) {
	if c.abandonFailed() {
		return true
	}
	if !empty {
		c.limitClosing()
	}
	return empty
}

// abandonFailed gives up a connection that failed, perhaps with bytes that the kernel
// had taken, and reports whether it did.
func (c *Conn) abandonFailed() (done bool) {
	if c.endCause == nil || orderly(c.endCause) {
		return false
	}
	_ = c.end(aborting, c.endCause)
	return true
}

// abandonStart gives up a connection that is closed before it is open, when it has
// nothing to wait for, and reports whether it did.
func (c *Conn) abandonStart(unwritten bool) (done bool) {
	if !unwritten || c.handler == nil {
		return true
	}
	c.limitClosing()
	return false
}

// shutdown sends the end of the stream behind everything else.
func (c *Conn) shutdown() {
	if err := c.loop.drv.CloseWrite(&c.sock); err != nil {
		c.sendFailed(err)
		return
	}
	c.endWriting()
}

// conclude is the arrow to closed. The loop closes the socket in this iteration, and
// one more turn calls OnClose. Nobody else gives the connection a turn: it stays
// scheduled.
func (c *Conn) conclude() {
	if !c.detaches() {
		c.dropInbox()
	}
	c.mu.Lock()
	must(c.state.Load()&(scheduled|closed) == scheduled, "a connection is concluded outside its turn, or twice")
	c.set(closed)
	c.mu.Unlock()
	c.loop.concluded.put(c.loop, c)
}

// closeSocket is the connection's part of the close phase.
func (c *Conn) closeSocket() {
	c.mu.Lock()
	st := c.state.Load()
	timer := c.timer
	c.mu.Unlock()
	if timer != nil {
		c.loop.unschedule(timer)
	}
	if c.sock.Handle == driver.NoHandle {
		c.socketClosed()
		return
	}
	if c.detaches() {
		c.loop.drv.Detach(&c.sock)
		return
	}
	c.loop.drv.Close(&c.sock, st&resetting != 0)
}

// detaches reports whether the connection is not closed but given away.
func (c *Conn) detaches() bool {
	return c.state.Load()&(detaching|closing|aborting) == detaching
}

// socketClosed has OnClose called: the driver has forgotten the socket, and the
// descriptor is free for another connection.
func (c *Conn) socketClosed() {
	if c.extra == nil || c.extra.conn == nil { // else it keeps its place until it is closed there
		c.place().leave()
	}
	c.endDialing()
	c.dropPreface()
	c.dropPipe()
	c.mu.Lock()
	c.dropQueues()
	must(c.todo&doClose == 0, "a connection is closed twice")
	c.todo = doClose
	c.mu.Unlock()
	c.account(0)
	c.loop.enqueue(c)
}

// endDialing ends a Dial that is under way.
func (c *Conn) endDialing() {
	if c.extra != nil && c.extra.dialing != nil {
		c.extra.dialing.end()
	}
}

func (c *Conn) callOnClose() {
	c.loop.count.closed.Add(1)
	c.mu.Lock()
	cause := c.cause
	c.mu.Unlock()
	kind := c.causeOf(cause)
	c.loop.count.causes[kind].Add(1)
	c.logClosed(kind, cause)
	defer c.retire() // also when OnClose ends its goroutine
	if c.handler != nil {
		c.call("OnClose", func() error { c.handler.OnClose(c, cause); return nil })
	}
}

// retire gives the connection to whom Detach named, and uncounts it.
func (c *Conn) retire() {
	if c.extra != nil && c.extra.conn != nil {
		x := c.extra
		c.loop.cfg.Spawn(func() { x.detach(x.conn) })
	}
	c.loop.retire()
}

// causeOf is the package's causeOf, with CauseDial for a dial that failed.
func (c *Conn) causeOf(err error) Cause {
	cause := causeOf(err)
	dialled := c.origin.handler == nil
	switch cause {
	case CauseClose, CauseAbort, CauseQueueFull, CauseShutdown: // it was given up by this side
		return cause
	}
	if dialled && c.state.Load()&opening != 0 {
		return CauseDial
	}
	return cause
}

// stream is how the driver sees a Conn, which has no public methods for it.
type stream Conn

func (s *stream) Received(p []byte) {
	c := (*Conn)(s)
	c.arrived(len(p))
	switch {
	case c.extra == nil:
		c.received(p)
	case c.state.Load()&handshaking != 0:
		c.prefaceReceived(p)
	case c.extra.tls != nil:
		c.cipherReceived(p)
	default:
		c.received(p)
	}
}

// arrived counts bytes.
func (c *Conn) arrived(n int) {
	c.loop.count.bytesIn.Add(uint64(n))
	c.touchReceived()
}

// received offers what has arrived for the handler: first what it expects, if it
// does, and then the rest.
func (c *Conn) received(p []byte) {
	for len(p) > 0 {
		n := len(p)
		if c.inbox != nil {
			n = c.inbox.Fitting(n)
		}
		c.receivedPart(p[:n])
		p = p[n:]
	}
}

func (c *Conn) receivedPart(p []byte) {
	st := c.state.Load()
	if st&ending&^detaching != 0 {
		return // Close throws away what comes after it
	}
	if c.inbox != nil {
		c.inbox.Append(&c.loop.pool, p)
		c.inboxGrew()
		return
	}
	c.unread = p
	if st&(paused|detaching) != 0 {
		c.keepUnread()
		c.adjustReceiving()
		return
	}
	c.offer()
}

// inboxGrew offers what is in the inbox, unless the handler expects more.
func (c *Conn) inboxGrew() {
	if c.state.Load()&(paused|detaching) != 0 {
		c.adjustReceiving()
		return
	}
	if c.inbox.Waits() {
		return
	}
	c.offerInbox()
}

// Room is where what a handler expects is collected, so that it need not be
// copied there.
// What much of is passed on goes into a pipe.
func (s *stream) Room() ([]byte, *driver.Pipe) {
	c := (*Conn)(s)
	switch {
	case c.inbox == nil && c.state.Load()&piped == 0:
		return nil, nil
	case c.inbox == nil:
		return nil, c.pipeToFill()
	case c.state.Load()&(handshaking|ending) != 0 || !c.plain():
		return nil, nil
	}
	return c.inbox.Room(&c.loop.pool), nil
}

func (s *stream) Filled(n int) {
	c := (*Conn)(s)
	c.arrived(n)
	if c.inbox == nil {
		c.spliced(n)
		return
	}
	c.inbox.Filled(n)
	c.inboxGrew()
}

func (s *stream) ReceiveEnded(cause error) {
	c := (*Conn)(s)
	if cause == io.EOF && c.extra.tlsPipe() != nil {
		cause = ErrTruncated // close_notify would have ended it before
	}
	c.endReading(cause)
	if c.state.Load()&handshaking != 0 {
		c.prefaceEnded(cause)
		return
	}
	c.offerEnd()
}

func (s *stream) Sent(n int, err error) {
	c := (*Conn)(s)
	c.pending = false
	switch {
	case err != nil:
		c.sendFailed(err)
	case n > 0:
		c.trim(n)
		c.unqueue(n)
	}
	c.lookAgain()
}

// lookAgain asks for a turn after a send, if there is anything to do in it.
func (c *Conn) lookAgain() {
	c.mu.Lock()
	if c.queued > 0 || c.state.Load()&^undisturbed != 0 || c.hasSealed() {
		c.todo |= doCheck
	}
	c.unlock()
}

func (s *stream) Ready(r driver.Readiness) {
	(*Conn)(s).request(todoBits(r) & doFollowUp)
}

func (s *stream) Closed() { (*Conn)(s).socketClosed() }
