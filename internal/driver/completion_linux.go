package driver

import (
	"errors"
	"io"
	"math"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/internal/slab"
	"github.com/epinet/epi/internal/sock"
	"github.com/epinet/epi/poll"
	"github.com/epinet/epi/uring"
)

// flags of a Socket that a completion driver has besides the common ones.
const (
	armed      = ownFlags << iota // a receive is under way
	cancelling                    // and was asked to end
	holding                       // bytes or the end came while nobody wanted them: in held
)

// What armed says of the watch for a connection's end, besides receiving. Its other
// bit, poll.Writable, is that of SendPipe.
//
// A multishot receive can miss it: of clients that send and reset at once, about one
// in some thousand stayed for ever on a busy machine (measured with Linux 6.18). When
// the kernel gets to the receive behind both, it takes the bytes, finds none behind
// them, and waits for a wake-up that has been. A poll for the hang-up looks at the
// state, so it does not miss it, and a receive that begins anew finds what there is.
const (
	awaited = poll.ReadHangUp // a poll for it is under way
	hungUp  = poll.HangUp     // it came
)

// completion is a Driver that lets the kernel do the I/O: it hands operations
// to an io_uring, one system call for all those of a turn, and takes their
// completions.
//
//	Open, Receive(on) ──► receive, multishot ──► Received … ReceiveEnded
//	                      poll for a hang-up ──► begin receiving anew
//	Receive(off), Close ─► cancel it              │ what still came is held
//	Send ───────────────► send ─────────────────► Sent
//	Close ──────────────► cancel all, wait for their last completions,
//	                      close the descriptor ─► Closed
//	Detach ─────────────► likewise, without closing ─► Detached
//
// A token names its socket until the kernel has returned the last completion
// that carries it, and the bytes of a Send stay untouched for so long.
type completion struct {
	descriptors
	acceptAhead
	ring    ring
	buffers buffers
	waker   waker
	limit   int // of one receive: the read budget, where the kernel knows it

	enabled     bool
	next        int // completions of the ring from next to ready wait for Dispatch
	ready       int
	deferred    []uring.CQE  // completions taken from the ring before their turn
	unqueued    []uring.SQE  // entries that found no room in the ring
	todo        list         // sockets to begin or end receiving on
	starved     list         // sockets that found no buffer: they are first the next time
	resumed     []slab.Token // sockets that want what is held for them
	held        map[slab.Token]*held
	messages    messages
	submitBytes int    // bytes handed to the kernel since it was last called
	scratch     []byte // for input that is thrown away; nil until needed
}

// held is what arrived for a socket while the engine did not want it: the
// kernel ends a receive a moment after it was asked to. It is bounded by the
// buffers, and nothing more is received before it was handed over.
type held struct {
	data []byte
	err  error // how receiving ended; nil while it has not
}

// ring is what a completion driver needs of an io_uring. A test has another.
type ring interface {
	Enable() error
	SQE() *uring.SQE
	Prepared() int
	Submit() error
	SubmitLong() error
	Wait(count int, timeout time.Duration) error
	WorkWaits() bool
	Ready() int
	Completion(i int) uring.CQE
	Advance(n int)
	Close() error
}

type buffers interface {
	Group() uint16
	Bytes(uring.CQE) []byte
	Recycle(uring.CQE)
}

type waker interface {
	Arm(*uring.SQE)
	Wake() error
	Close() error
}

// A kind says what operation a completion is of. It lies in the free bits of
// the token that is the operation's user data.
type kind uint8

const (
	kindNone    kind = iota // nobody waits for it
	kindWake                // Wake was called
	kindAccept              // a listening socket's multishot accept
	kindWatch               // a listening socket's poll, for lack of descriptors
	kindConnect             // a socket's poll while it connects
	kindReceive             // a socket's multishot receive
	kindSend                // a socket's send
	kindHangUp              // a socket's poll for its end
	kindPacket              // a packet socket's poll for what arrives
	kindRoom                // a packet socket's poll for room to send
)

const kindShift = 28 // of slab.FreeBits

func userData(k kind, t slab.Token) uint64 { return uint64(t) | uint64(k)<<kindShift }

func split(data uint64) (kind, slab.Token) {
	t := slab.Token(data)
	return kind(t & slab.FreeBits >> kindShift), t &^ slab.FreeBits
}

const (
	// bufferSize is the size of a buffer that is filled by several receives:
	// one read of bulk data.
	bufferSize = 64 << 10
	// plainBufferSize is that of one that is filled by one receive (before
	// Linux 6.12): less is wasted on small messages.
	plainBufferSize = 4 << 10
	// maxHiddenBytes is how many bytes one system call may copy without the Go
	// scheduler knowing.
	maxHiddenBytes = 1 << 20
	// completionsPerEvent: an echo is two completions, and connections that are
	// armed for the first time have theirs all at once.
	completionsPerEvent = 16
)

func newCompletion(cfg Config) (*completion, error) {
	features, err := uring.Probe()
	if err != nil {
		return nil, err
	}
	entries := powerOfTwo(cfg.MaxEvents, maxEntries)
	r, err := uring.New(uring.Config{
		Entries:   entries,
		CQEntries: entries * completionsPerEvent,
		Setup:     uring.SingleIssuer | uring.DeferTaskrun | uring.TaskrunFlag | uring.SubmitAll | uring.Disabled,
	})
	if err != nil {
		return nil, err
	}
	size := bufferSize
	if !features.Incremental {
		size = plainBufferSize
	}
	b, err := r.NewBuffers(0, powerOfTwo(cfg.BufferPool/size, maxBuffers), size, features.Incremental)
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	w, err := uring.NewWaker()
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	d := newCompletionOn(cfg, linux{}, r, b, w)
	if features.RecvLimit {
		d.limit = min(cfg.ReadBudget, math.MaxInt32) // the entry has 32 bits for it
	}
	return d, nil
}

const (
	maxEntries = 4096    // of the submission queue
	maxBuffers = 1 << 15 // of a buffer ring
)

// powerOfTwo returns the largest power of two that is not above n, at least 2
// and at most most.
func powerOfTwo(n, most int) int {
	p := 2
	for p*2 <= min(n, most) {
		p *= 2
	}
	return p
}

func newCompletionOn(cfg Config, c calls, r ring, b buffers, w waker) *completion {
	d := &completion{descriptors: newDescriptors(cfg, c), ring: r, buffers: b, waker: w, held: map[slab.Token]*held{}}
	d.acceptAhead = acceptAhead{of: &d.sockets, by: d}
	return d
}

func (d *completion) Wait(timeout time.Duration) (int, error) {
	if !d.enabled {
		if err := d.ring.Enable(); err != nil {
			return 0, err
		}
		d.enabled = true
		d.armWaker()
	}
	d.settle()
	if err := d.enter(timeout); err != nil {
		return 0, err
	}
	d.ready = min(d.ring.Ready(), d.cfg.MaxEvents)
	d.counters.Events.Add(uint64(d.ready))
	return d.ready + d.leftOver(), nil
}

// leftOver counts what Dispatch has to report besides the ring's completions.
func (d *completion) leftOver() int {
	return len(d.deferred) + len(d.resumed) + len(d.full) + d.unreported()
}

// enter hands over what is prepared and collects what is due. It makes no system
// call where there is nothing to do either way.
func (d *completion) enter(timeout time.Duration) error {
	if timeout != 0 && d.leftOver() == 0 && len(d.unqueued) == 0 && d.ring.Ready() == 0 {
		return d.call(func() error { return d.ring.Wait(1, timeout) })
	}
	if d.ring.Prepared() == 0 && len(d.unqueued) == 0 && !d.ring.WorkWaits() {
		return nil
	}
	submit := d.ring.Submit
	if d.submitBytes > maxHiddenBytes {
		submit = d.ring.SubmitLong
	}
	if err := d.call(submit); err != nil {
		return err
	}
	return d.collect()
}

// collect gets the rest of the completions that are due: one call posts some
// twenty, and those that are left must not wait behind what the first ones
// start. That work waits is a hint, which may be left over.
func (d *completion) collect() error {
	for before := 0; d.ring.WorkWaits() && d.ring.Ready() > before && d.ring.Ready() < d.cfg.MaxEvents; {
		before = d.ring.Ready()
		if err := d.call(d.ring.Submit); err != nil {
			return err
		}
	}
	return nil
}

// call makes the system calls, more than one only while entries are unqueued.
func (d *completion) call(enter func() error) error {
	for {
		d.refill()
		d.counters.Waits.Add(1)
		err := enter()
		d.submitBytes = 0
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EBUSY) {
			return nil // the kernel takes the rest when completions were taken
		}
		if err != nil {
			return err
		}
		if len(d.unqueued) > 0 {
			continue
		}
		if d.ring.Prepared() == 0 {
			d.messages.release()
		}
		return nil
	}
}

// refill moves unqueued entries to the ring.
func (d *completion) refill() {
	n := 0
	for ; n < len(d.unqueued); n++ {
		sqe := d.ring.SQE()
		if sqe == nil {
			break
		}
		*sqe = d.unqueued[n]
	}
	d.unqueued = d.unqueued[:copy(d.unqueued, d.unqueued[n:])]
}

// prepare returns the entry of a new operation.
func (d *completion) prepare(k kind, t slab.Token) *uring.SQE {
	d.counters.Submits.Add(1)
	sqe := d.entry()
	sqe.UserData = userData(k, t)
	return sqe
}

// entry returns a free entry, which must be filled before the next is asked for.
func (d *completion) entry() *uring.SQE {
	if len(d.unqueued) == 0 {
		if sqe := d.ring.SQE(); sqe != nil {
			return sqe
		}
	}
	d.unqueued = append(d.unqueued, uring.SQE{})
	return &d.unqueued[len(d.unqueued)-1]
}

func (d *completion) cancel(k kind, t slab.Token) {
	d.prepare(kindNone, 0).Cancel(userData(k, t))
}

func (d *completion) armWaker() { d.waker.Arm(d.prepare(kindWake, 0)) }

// settle begins and ends receiving as the engine wants it by now. Wishes that
// cancel each other out within one turn cost nothing.
func (d *completion) settle() {
	for s := range d.takeListed(&d.starved) {
		d.arm(s)
	}
	for s := range d.takeListed(&d.todo) {
		d.arm(s)
	}
}

func (d *completion) arm(s *Socket) {
	wanted := s.flags&receiving != 0
	switch {
	case s.flags&closed != 0:
	case wanted && s.flags&holding != 0:
		d.resumed = append(d.resumed, s.token)
	case wanted && s.flags&(armed|ended) == 0 && s.want == relays:
		s.flags |= armed
		d.prepare(kindReceive, s.token).PollAdd(int(s.Handle), unix.POLLIN|unix.POLLRDHUP)
	case wanted && s.flags&(armed|ended) == 0:
		d.watchEnd(s) // first: who waits last is woken first, and mostly the receive says it all
		s.flags |= armed
		d.prepare(kindReceive, s.token).RecvMultishot(int(s.Handle), d.buffers.Group(), d.limit)
	case !wanted:
		d.cancelReceive(s)
	}
}

// watchEnd begins to watch for the end of the connection, once.
func (d *completion) watchEnd(s *Socket) {
	if s.armed&(awaited|hungUp) == 0 {
		s.armed |= awaited
		d.prepare(kindHangUp, s.token).PollAdd(int(s.Handle), unix.POLLRDHUP)
	}
}

// endSeen begins receiving anew, unless it has ended. What waits in the queue of
// errors completes the poll, too, and is no end: neither is what another call has
// taken from there meanwhile, nor a watch that has failed. Then the next one begins
// with the next receive.
func (d *completion) endSeen(s *Socket, c uring.CQE) {
	s.armed &^= awaited
	switch {
	case c.Res < 0 || s.flags&closed != 0 || s.stage == stageLeaving:
	case c.Res&(unix.POLLRDHUP|unix.POLLHUP) != 0:
		s.armed |= hungUp
	case d.calls.DropNotices(int(s.Handle)):
		d.watchEnd(s)
		return
	}
	d.cancelReceive(s)
}

func (d *completion) cancelReceive(s *Socket) {
	if s.flags&(armed|cancelling) == armed {
		s.flags |= cancelling
		d.cancel(kindReceive, s.token)
	}
}

func (d *completion) Dispatch() {
	d.resume()
	for len(d.deferred) > 0 {
		c := d.deferred[0]
		d.deferred = d.deferred[1:]
		d.complete(c)
	}
	for d.next < d.ready {
		d.next++
		d.complete(d.ring.Completion(d.next - 1))
	}
	d.ring.Advance(d.ready)
	d.next, d.ready = 0, 0
	d.handOver()
	d.reportGone()
}

// complete follows up one completion.
func (d *completion) complete(c uring.CQE) {
	k, token := split(c.UserData)
	switch k {
	case kindNone:
	case kindWake:
		if !c.More() {
			d.armWaker()
		}
	case kindAccept, kindWatch:
		d.acceptEnded(k, token, c)
	case kindPacket, kindRoom:
		d.packetReady(k, token, c)
	default:
		s, ok := d.open.Get(token)
		if !ok {
			d.counters.Stale.Add(1)
			d.buffers.Recycle(c)
			return
		}
		d.progress(s, k, c)
		if s.flags&closed != 0 || s.stage == stageLeaving {
			d.finish(s)
		}
	}
}

// progress follows up a completion of an operation of s.
func (d *completion) progress(s *Socket, k kind, c uring.CQE) {
	switch k {
	case kindReceive:
		d.received(s, c)
	case kindSend:
		d.sent(s, c)
	case kindConnect:
		d.connected(s, c)
	case kindHangUp:
		d.endSeen(s, c)
	}
}

// received hands over what a receive has brought, or how it ended.
func (d *completion) received(s *Socket, c uring.CQE) {
	if !c.More() {
		s.flags &^= armed | cancelling
	}
	if c.Res > 0 && c.Flags&uring.HasBuffer == 0 { // it was a poll
		d.relay(s)
		return
	}
	defer d.receiveEnded(s, c) // also when a callback ends its goroutine
	if p := d.buffers.Bytes(c); len(p) > 0 {
		d.deliver(s, p)
	}
}

// receiveEnded follows up a completion whose bytes were handed over.
func (d *completion) receiveEnded(s *Socket, c uring.CQE) {
	d.buffers.Recycle(c)
	if c.More() || s.flags&closed != 0 {
		return
	}
	switch err := c.Err(); err {
	case nil:
		if c.Res == 0 {
			d.endOfStream(s, io.EOF)
			return
		}
		d.todo.add(s) // it ended for a reason of its own, such as the limit
	case unix.ECANCELED, unix.EAGAIN, unix.EINTR:
		d.todo.add(s)
	case unix.ENOBUFS:
		d.counters.Starved.Add(1)
		d.starved.add(s)
	default:
		d.endOfStream(s, os.NewSyscallError("recv", err))
	}
}

func (d *completion) deliver(s *Socket, p []byte) {
	switch s.flags & (receiving | holding | closed) {
	case receiving:
		s.Stream.Received(p)
	case 0, holding, holding | receiving:
		h := d.hold(s)
		h.data = append(h.data, p...)
	}
}

func (d *completion) endOfStream(s *Socket, err error) {
	s.flags |= ended
	if s.flags&(receiving|holding) != receiving {
		d.hold(s).err = err
		return
	}
	s.flags &^= receiving
	s.Stream.ReceiveEnded(err)
}

func (d *completion) hold(s *Socket) *held {
	s.flags |= holding
	h := d.held[s.token]
	if h == nil {
		h = &held{}
		d.held[s.token] = h
	}
	return h
}

// resume hands over what is held for sockets that want it again.
func (d *completion) resume() {
	for _, token := range d.resumed {
		if s, ok := d.open.Get(token); ok {
			d.deliverHeld(s)
		}
	}
	d.resumed = d.resumed[:0]
}

func (d *completion) deliverHeld(s *Socket) {
	h := d.held[s.token]
	if h == nil || s.flags&(receiving|closed) != receiving {
		return
	}
	budget := d.cfg.ReadBudget
	for len(h.data) > 0 {
		if s.flags&receiving == 0 || budget <= 0 {
			d.todo.add(s)
			return
		}
		p := h.data[:min(len(h.data), bufferSize, budget)]
		h.data = h.data[len(p):]
		budget -= len(p)
		s.Stream.Received(p)
	}
	if s.flags&receiving == 0 && h.err != nil {
		return
	}
	d.drop(s)
	if h.err != nil {
		d.endOfStream(s, h.err)
		return
	}
	d.todo.add(s)
}

// drop forgets what is held.
func (d *completion) drop(s *Socket) {
	if s.flags&holding != 0 {
		s.flags &^= holding
		delete(d.held, s.token)
	}
}

func (d *completion) sent(s *Socket, c uring.CQE) {
	s.flags &^= sending
	polled := s.armed&poll.Writable != 0
	s.armed &^= poll.Writable
	if s.flags&closed != 0 {
		return
	}
	switch err := c.Err(); {
	case polled:
		s.Stream.Sent(0, nil) // what is wrong SendPipe will meet
	case err == nil:
		s.Stream.Sent(int(c.Res), nil)
	case err == unix.EAGAIN || err == unix.EINTR:
		s.Stream.Sent(0, nil)
	default:
		s.Stream.Sent(0, os.NewSyscallError("send", err))
	}
}

func (d *completion) Open(s *Socket) error {
	s.flags = receiving
	s.token = d.open.Insert(s)
	d.todo.add(s)
	return nil
}

func (d *completion) Connect(s *Socket, local netip.Addr, addr net.Addr, o sock.StreamOptions) error {
	if err := d.connect(s, local, addr, o); err != nil {
		return err
	}
	s.token = d.open.Insert(s)
	d.prepare(kindConnect, s.token).PollAdd(int(s.Handle), unix.POLLOUT)
	return nil
}

func (d *completion) connected(s *Socket, c uring.CQE) {
	s.stage = stageOpen
	if s.flags&closed != 0 {
		return
	}
	err := c.Err()
	if err == nil {
		err = d.calls.ConnectError(int(s.Handle))
	}
	if err != nil {
		d.end(s, true)
		s.flags = 0 // as if never opened
		s.Stream.Connected(os.NewSyscallError("connect", err))
		return
	}
	s.flags |= receiving
	d.todo.add(s)
	s.Stream.Connected(nil)
}

func (d *completion) Surrender(s *Socket) Handle { return d.surrender(s) }

// Close cancels what is under way. The descriptor is closed when the kernel has
// returned it all: it keeps the connection open for an operation that waits.
func (d *completion) Close(s *Socket, reset bool) {
	s.flags |= closed
	d.drop(s)
	if reset {
		s.flags |= ended // there is nothing to discard
		d.calls.ResetOnClose(int(s.Handle))
	}
	d.stopReceiving(s)
	if s.flags&sending != 0 {
		d.cancel(kindSend, s.token)
	}
	if s.stage == stageConnecting {
		d.cancel(kindConnect, s.token)
	}
	d.finish(s)
}

// Detach ends receiving. What still comes is held.
func (d *completion) Detach(s *Socket) {
	s.flags &^= receiving
	s.stage = stageLeaving
	d.stopReceiving(s)
	d.finish(s)
}

// stopReceiving cancels what waits for bytes or for the end.
func (d *completion) stopReceiving(s *Socket) {
	d.cancelReceive(s)
	if s.armed&awaited != 0 {
		d.cancel(kindHangUp, s.token)
	}
}

// finish closes the descriptor, or gives it away, if no operation needs it any
// more.
func (d *completion) finish(s *Socket) {
	if s.flags&(armed|sending) != 0 || s.armed&awaited != 0 || s.stage == stageConnecting {
		return
	}
	if s.stage == stageLeaving {
		d.giveAway(s)
		return
	}
	if s.flags&ended == 0 {
		if d.scratch == nil {
			d.scratch = make([]byte, readSize)
		}
		d.discardInput(s, d.scratch)
	}
	d.end(s, false)
	d.gone = append(d.gone, s)
}

// giveAway ends Detach. The error of a connection that broke meanwhile is reported with
// it: the kernel reports it only once.
func (d *completion) giveAway(s *Socket) {
	h := d.held[s.token]
	d.drop(s)
	switch {
	case h == nil:
		d.detach(s, nil)
	case h.err != nil && h.err != io.EOF:
		d.end(s, false)
		d.detached = append(d.detached, detachment{socket: s, err: h.err})
	default:
		d.detach(s, h.data)
	}
}

func (d *completion) Receive(s *Socket, on bool) {
	if on {
		s.flags |= receiving
	} else {
		s.flags &^= receiving
	}
	d.todo.add(s)
}

func (d *completion) Send(s *Socket, bufs [][]byte) (n int, pending bool, err error) {
	s.flags |= sending
	sqe := d.prepare(kindSend, s.token)
	if len(bufs) == 1 {
		sqe.Send(int(s.Handle), bufs[0], unix.MSG_NOSIGNAL)
		d.submitBytes += len(bufs[0])
		return 0, true, nil
	}
	m, size := d.messages.add(bufs)
	sqe.SendMsg(int(s.Handle), m, unix.MSG_NOSIGNAL)
	d.submitBytes += size
	return 0, true, nil
}

func (d *completion) Accept(l *Listening, on bool) error {
	if !on {
		d.cancelAccept(l)
	}
	return d.acceptAhead.Accept(l, on)
}

func (d *completion) beginAccept(l *Listening) {
	l.op = opAccept
	d.prepare(kindAccept, l.token).AcceptMultishot(int(l.Handle), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
}

func (d *completion) await(l *Listening) {
	l.op = opAwait
	d.prepare(kindWatch, l.token).PollAdd(int(l.Handle), unix.POLLIN)
}

func (d *completion) cancelAccept(l *Listening) {
	switch l.op {
	case opAccept:
		d.cancel(kindAccept, l.token)
	case opAwait:
		d.cancel(kindWatch, l.token)
	}
}

// acceptEnded follows up a completion of a listening socket.
func (d *completion) acceptEnded(k kind, token slab.Token, c uring.CQE) {
	l, ok := d.listeners.Get(token)
	if !ok {
		d.counters.Stale.Add(1)
		d.closeAccepted(k, c)
		return
	}
	if !c.More() {
		l.op = opIdle
	}
	err := c.Err()
	switch {
	case k == kindWatch:
		err = nil
	case err == nil:
		l.waiting = append(l.waiting, Handle(c.Res))
	case err == unix.ECANCELED || err == unix.EINTR || err == unix.EAGAIN:
		err = nil
	default:
		err = os.NewSyscallError("accept", err)
	}
	d.accepted(l, err)
}

func (d *completion) closeAccepted(k kind, c uring.CQE) {
	if k == kindAccept && c.Res >= 0 {
		d.dropAccepted(Handle(c.Res))
	}
}

func (d *completion) dropAccepted(h Handle) { d.calls.Close(int(h), true) }

func (d *completion) peer(h Handle) netip.AddrPort { return d.calls.Peer(int(h)) }

// Unlisten returns when the kernel accepts no more: what it has accepted and not
// handed over would be lost if the loop ended.
func (d *completion) Unlisten(l *Listening) {
	l.wanted, l.watched = false, false
	deferred := d.deferred
	d.deferred = nil
	for _, c := range deferred {
		d.putAside(c) // another Unlisten may have come upon the last completion
	}
	d.cancelAccept(l)
	for l.op != opIdle && d.call(d.waitForOne) == nil {
		for i := range d.ring.Ready() {
			d.putAside(d.ring.Completion(i))
		}
		d.ring.Advance(d.ring.Ready())
	}
	d.forgetListening(l)
}

// waitForOne waits for a completion, unless there are entries that the kernel has not
// seen: the one that would bring it may be among them.
func (d *completion) waitForOne() error {
	if len(d.unqueued) > 0 {
		return d.ring.Submit()
	}
	return d.ring.Wait(1, -1)
}

// putAside follows up completions of listening sockets that are being given up
// and keeps the others for Dispatch.
func (d *completion) putAside(c uring.CQE) {
	if k, token := split(c.UserData); k == kindAccept || k == kindWatch {
		if l, ok := d.listeners.Get(token); ok && !l.watched {
			d.acceptEnded(k, token, c)
			return
		}
	}
	d.deferred = append(d.deferred, c)
}

func (d *completion) Wake() error { return d.waker.Wake() }

func (d *completion) Release() error { return errors.Join(d.ring.Close(), d.waker.Close()) }

// messages are the headers of sends with several buffers. The kernel reads them
// when they are submitted.
type messages struct {
	all  []*message
	used int
}

type message struct {
	header  unix.Msghdr
	vectors [sock.MaxVectors]unix.Iovec
	count   int
}

// add describes bufs, at most 64 of them, and returns their size.
func (m *messages) add(bufs [][]byte) (header *unix.Msghdr, size int) {
	if m.used == len(m.all) {
		m.all = append(m.all, new(message))
	}
	msg := m.all[m.used]
	m.used++
	msg.count = min(len(bufs), sock.MaxVectors)
	for i, b := range bufs[:msg.count] {
		msg.vectors[i].Base = &b[0]
		msg.vectors[i].SetLen(len(b))
		size += len(b)
	}
	msg.header.Iov = &msg.vectors[0]
	msg.header.SetIovlen(msg.count)
	return &msg.header, size
}

// release frees the headers, which were submitted.
func (m *messages) release() {
	for _, msg := range m.all[:m.used] {
		clear(msg.vectors[:msg.count]) // what they point to may be garbage
	}
	m.used = 0
}
