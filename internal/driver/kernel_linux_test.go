package driver

import (
	"bytes"
	"slices"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/poll"
	"github.com/epinet/epi/uring"
)

// A fakeKernel is the io_uring of a world. What it does next, and how each
// operation ends, is chosen: any order in which a kernel may complete what was
// submitted can come of it.
//
// It ends the run where the driver breaks a rule of the kernel's interface: an
// operation's user data used again before its last completion, a buffer given back
// twice, bytes that change while they are being sent, a descriptor closed while an
// operation uses it.
type fakeKernel struct {
	*world
	enabled  bool
	entries  []uring.SQE // the submission queue
	queued   int         // entries[:queued] are prepared
	cqes     []uring.CQE
	most     int         // of cqes
	overflow []uring.CQE // completions that found no room

	ops     []*fakeOp
	pace    int // of cancelling: the lower, the sooner
	woken   bool
	patient bool // whatever can complete does
	slept   bool // a Wait would have slept for ever

	free   []int  // buffers that the kernel has
	all    int    // how many there are
	size   int    // of one
	memory []byte // of the buffers
}

// A fakeOp is an operation under way.
type fakeOp struct {
	sqe       uring.SQE
	file      *file // what it is on; nil: nothing of this world
	cancelled bool
	early     bool   // a receive that began before the end, which it can miss
	deaf      bool   // and has
	bytes     []byte // to be sent, as they were when submitted
}

func newFakeKernel(w *world) *fakeKernel {
	k := &fakeKernel{
		world:   w,
		entries: make([]uring.SQE, 2+w.Choose(6)), // few, so that the driver has a backlog
		most:    2 + w.Choose(16),
		all:     1 + w.Choose(4),
		size:    1 + w.Choose(24),
		pace:    2 + 14*w.Choose(2),
	}
	k.memory = make([]byte, k.all*k.size)
	for id := range k.all {
		k.free = append(k.free, id)
	}
	w.closing = k.checkUnused
	return k
}

// checkUnused holds closing a descriptor back until the kernel has returned all
// that uses it: it would keep the connection open.
func (k *fakeKernel) checkUnused(f *file) {
	for _, op := range k.ops {
		if op.file == f {
			k.Failf("%v is closed, and an operation of kind %d is under way", f, kindOf(op))
		}
	}
}

func kindOf(op *fakeOp) kind {
	k, _ := split(op.sqe.UserData)
	return k
}

func (k *fakeKernel) Enable() error { k.enabled = true; return nil }
func (k *fakeKernel) Prepared() int { return k.queued }
func (k *fakeKernel) Ready() int    { return len(k.cqes) }

func (k *fakeKernel) SQE() *uring.SQE {
	if k.queued == len(k.entries) {
		k.Fault("submission queue full")
		return nil
	}
	k.queued++
	k.entries[k.queued-1] = uring.SQE{}
	return &k.entries[k.queued-1]
}

func (k *fakeKernel) Completion(i int) uring.CQE { return k.cqes[i] }
func (k *fakeKernel) Advance(n int)              { k.cqes = slices.Delete(k.cqes, 0, n) }
func (k *fakeKernel) WorkWaits() bool            { return len(k.overflow) > 0 || !k.quiet && k.Chance(2) }
func (k *fakeKernel) SubmitLong() error          { return k.Submit() }

// Submit takes the entries, now and then not all of them, and completes some
// operations.
func (k *fakeKernel) Submit() error {
	k.called()
	if err := k.submit(); err != nil {
		return err
	}
	for range k.Choose(4) {
		k.step()
	}
	return nil
}

// called bounds the system calls of a run.
func (k *fakeKernel) called() {
	if !k.enabled {
		k.Failf("submitted before Enable")
	}
	k.file(listeningFD, "enter")
	k.flush()
}

// flush posts what found no room.
func (k *fakeKernel) flush() {
	n := min(len(k.overflow), k.most-len(k.cqes))
	k.cqes = append(k.cqes, k.overflow[:n]...)
	k.overflow = k.overflow[n:]
}

func (k *fakeKernel) submit() error {
	n := k.queued
	var err error
	switch {
	case n == 0 || k.quiet:
	case len(k.overflow) > 0:
		k.Fault("EBUSY")
		n, err = 0, unix.EBUSY
	case k.Chance(8):
		k.Fault("not all are submitted")
		if n = k.Choose(n + 1); n < k.queued {
			err = unix.EAGAIN
		}
	}
	for _, sqe := range k.entries[:n] {
		k.begin(sqe)
	}
	k.queued = copy(k.entries, k.entries[n:k.queued])
	return err
}

// Wait goes on until something has completed, unless nothing can.
func (k *fakeKernel) Wait(_ int, timeout time.Duration) error {
	k.called()
	if err := k.submit(); err != nil {
		return err
	}
	for range 2 * len(k.ops) {
		if len(k.cqes) > 0 {
			return nil
		}
		k.step()
	}
	if len(k.cqes) == 0 && timeout < 0 {
		k.slept = !k.stepAny() || k.slept
	}
	return nil
}

// stepAny lets operations go on in their order until something has completed, and
// reports whether it has.
func (k *fakeKernel) stepAny() bool {
	k.patient = true
	for _, op := range slices.Clone(k.ops) {
		if len(k.cqes) == 0 {
			k.move(op)
		}
	}
	k.patient = false
	return len(k.cqes) > 0
}

func (k *fakeKernel) stuck() bool {
	slept := k.slept
	k.slept = false
	return slept
}

func (k *fakeKernel) progress()   { k.step() }
func (k *fakeKernel) ahead() bool { return true }

func (k *fakeKernel) begin(sqe uring.SQE) {
	op := &fakeOp{sqe: sqe}
	k.Note("operation of kind %d", kindOf(op))
	for _, other := range k.ops {
		if other.sqe.UserData == sqe.UserData && kindOf(op) != kindNone {
			k.Failf("user data %#x is under way already", sqe.UserData)
		}
	}
	if sqe.Op == uring.OpCancel {
		k.beginCancel(sqe)
		return
	}
	if kindOf(op) != kindWake {
		op.file = k.file(int(sqe.FD), "an operation")
	}
	switch sqe.Op {
	case uring.OpRecv:
		op.early = !op.file.over()
	case uring.OpSend:
		op.bytes = bytes.Clone(bytesAt(sqe.Addr, int(sqe.Len)))
	case uring.OpSendMsg:
		op.bytes = bytes.Join(k.vectors(sqe), nil)
		op.sqe.Addr = 0 // the header is free once it is submitted
	}
	k.ops = append(k.ops, op)
}

// vectors returns the buffers of a sendmsg.
func (k *fakeKernel) vectors(sqe uring.SQE) [][]byte {
	m := (*unix.Msghdr)(pointer(sqe.Addr))
	var all [][]byte
	for _, v := range unsafe.Slice(m.Iov, m.Iovlen) {
		all = append(all, unsafe.Slice(v.Base, v.Len))
	}
	return all
}

func bytesAt(addr uint64, n int) []byte { return unsafe.Slice((*byte)(pointer(addr)), n) }

// pointer turns an address back into what it was made of: memory of this test,
// which is reachable.
func pointer(addr uint64) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&addr)) }

// beginCancel marks the operation; it may still complete in another way.
func (k *fakeKernel) beginCancel(sqe uring.SQE) {
	result := -int32(unix.ENOENT)
	for _, op := range k.ops {
		if op.sqe.UserData == sqe.Addr {
			k.Count("cancelled")
			op.cancelled = true
			result = 0
			if k.Chance(3) {
				result = -int32(unix.EALREADY)
			}
		}
	}
	if result == -int32(unix.ENOENT) {
		k.Fault("cancelled too late")
	}
	k.post(sqe, result, 0)
}

func (k *fakeKernel) post(sqe uring.SQE, res int32, flags uring.CQEFlags) {
	kind, _ := split(sqe.UserData)
	k.Note("completion of kind %d: %d, flags %#x", kind, res, flags)
	cqe := uring.CQE{UserData: sqe.UserData, Res: res, Flags: flags}
	if len(k.cqes) >= k.most || len(k.overflow) > 0 {
		k.Fault("completion queue full")
		k.overflow = append(k.overflow, cqe)
		return
	}
	k.cqes = append(k.cqes, cqe)
}

// end posts the last completion of an operation.
func (k *fakeKernel) end(op *fakeOp, res int32) {
	k.endWith(op, res, 0)
}

func (k *fakeKernel) endWith(op *fakeOp, res int32, flags uring.CQEFlags) {
	k.ops = slices.DeleteFunc(k.ops, func(other *fakeOp) bool { return other == op })
	k.post(op.sqe, res, flags)
}

// step moves one operation on.
func (k *fakeKernel) step() {
	if len(k.ops) > 0 {
		k.move(k.ops[k.Choose(len(k.ops))])
	}
}

func (k *fakeKernel) move(op *fakeOp) {
	switch {
	case !slices.Contains(k.ops, op):
		return
	case op.cancelled && (k.quiet || k.patient || k.Chance(k.pace)):
		k.end(op, -int32(unix.ECANCELED))
		return
	case !k.quiet && kindOf(op) >= kindConnect && k.Chance(100):
		k.Fault("ENOMEM")
		k.end(op, -int32(unix.ENOMEM))
		return
	}
	switch kindOf(op) {
	case kindWake:
		k.stepWake(op)
	case kindAccept:
		k.stepAccept(op)
	case kindWatch:
		if len(k.clients) > 0 {
			k.end(op, unix.POLLIN)
		}
	case kindConnect:
		if op.file.connect != underWay {
			k.end(op, unix.POLLOUT)
		}
	case kindReceive:
		k.stepReceive(op)
	case kindSend:
		k.stepSend(op)
	case kindHangUp:
		if m := hangUp(op.file); m != 0 {
			k.end(op, m)
		}
	case kindPacket, kindRoom:
		k.stepPacket(op)
	default:
		k.Failf("operation %d of kind %d", op.sqe.Op, kindOf(op))
	}
}

// hangUp returns what a poll for the end of a connection completes with; 0: it waits.
func hangUp(f *file) (m int32) {
	if f.over() {
		m |= unix.POLLRDHUP
	}
	if f.err != 0 || f.notices {
		m |= unix.POLLERR
	}
	return m
}

// stepPacket ends a poll of a socket for datagrams, or of its gate: now and then for
// what somebody else then takes, or the kernel itself drops (poll(2), select(2)).
func (k *fakeKernel) stepPacket(op *fakeOp) {
	want := poll.Readable
	if kindOf(op) == kindRoom {
		want = poll.Writable
	}
	if k.packetState(op.file)&(want|poll.Error) != 0 {
		k.end(op, unix.POLLIN)
		return
	}
	if !k.quiet && k.Chance(16) {
		k.Fault("spurious event")
		k.end(op, unix.POLLIN)
	}
}

func (k *fakeKernel) stepWake(op *fakeOp) {
	if !k.woken {
		return
	}
	k.woken = false
	if k.Chance(4) {
		k.end(op, unix.POLLIN)
		return
	}
	k.post(op.sqe, unix.POLLIN, uring.HasMore)
}

func (k *fakeKernel) stepAccept(op *fakeOp) {
	switch {
	case k.noFiles:
		k.Fault("no descriptors")
		k.end(op, -int32(unix.EMFILE))
	case len(k.clients) == 0:
	case !k.quiet && k.Chance(8):
		k.Fault("accept fails")
		k.end(op, -int32(unix.ECONNABORTED))
	default:
		fd := int32(k.takeClient().fd)
		if k.Chance(4) {
			k.end(op, fd)
			return
		}
		k.post(op.sqe, fd, uring.HasMore)
	}
}

// stepReceive takes what has arrived into a buffer, or ends a poll.
func (k *fakeKernel) stepReceive(op *fakeOp) {
	f := op.file
	switch {
	case op.sqe.Op == uring.OpPollAdd:
		if len(f.arrived) > 0 || f.over() || f.notices {
			k.end(op, unix.POLLIN)
		}
	case op.deaf:
	case len(f.arrived) > 0:
		k.fill(op)
	case f.err != 0:
		f.told = true
		k.end(op, -int32(f.err))
	case f.ended:
		k.end(op, 0)
	case !k.quiet && k.Chance(16):
		k.end(op, -int32(unix.EINTR))
	}
}

func (k *fakeKernel) fill(op *fakeOp) {
	if len(k.free) == 0 {
		k.Fault("ENOBUFS")
		k.end(op, -int32(unix.ENOBUFS))
		return
	}
	f := op.file
	most := k.size
	if !k.quiet {
		most = 1 + k.Choose(k.size)
	}
	id := k.free[0]
	k.free = k.free[1:]
	n := copy(k.memory[id*k.size:][:most], f.arrived)
	f.arrived = f.arrived[n:]
	flags := uring.HasBuffer | uring.CQEFlags(id)<<16
	if k.Chance(4) {
		k.Fault("receive ends")
		k.endWith(op, int32(n), flags)
		return
	}
	if op.deaf = op.early && len(f.arrived) == 0 && f.over() && k.Chance(2); op.deaf {
		k.Fault("receive misses the end")
	}
	k.post(op.sqe, int32(n), flags|uring.HasMore)
}

// stepSend takes some of the bytes, at least one, or ends a poll for room.
func (k *fakeKernel) stepSend(op *fakeOp) {
	f := op.file
	if op.sqe.Op == uring.OpPollAdd {
		if f.room > 0 || f.err != 0 || f.notices {
			k.end(op, unix.POLLOUT)
		}
		return
	}
	if op.sqe.Op == uring.OpSend && !bytes.Equal(op.bytes, bytesAt(op.sqe.Addr, int(op.sqe.Len))) {
		k.Failf("%v: bytes have changed while they were being sent", f)
	}
	if f.err == 0 && f.room == 0 {
		return
	}
	n, err := k.writable(f, len(op.bytes))
	if err != nil {
		k.end(op, -int32(err.(unix.Errno)))
		return
	}
	if !k.quiet {
		n = 1 + k.Choose(n)
	}
	f.take([][]byte{op.bytes}, n)
	k.end(op, int32(n))
}

// Group, Bytes and Recycle are the buffers'.
func (k *fakeKernel) Group() uint16 { return 0 }

func (k *fakeKernel) Bytes(c uring.CQE) []byte {
	if c.Flags&uring.HasBuffer == 0 {
		return nil
	}
	return k.memory[c.BufferID()*k.size:][:c.Res]
}

func (k *fakeKernel) Recycle(c uring.CQE) {
	if c.Flags&uring.HasBuffer == 0 {
		return
	}
	if slices.Contains(k.free, c.BufferID()) {
		k.Failf("buffer %d is given back twice", c.BufferID())
	}
	clear(k.memory[c.BufferID()*k.size:][:k.size]) // whoever still reads it will notice
	k.free = append(k.free, c.BufferID())
}

// rest is that of kernel: operations that wait for something do so, and no others
// are begun for ever.
func (k *fakeKernel) rest(s *session) {
	const still = 4 // turns
	begun, since := s.d.Counters().Submits.Load(), 0
	for range 400 {
		for range k.ops {
			k.step()
		}
		s.turn(0)
		since++
		if n := s.d.Counters().Submits.Load(); n != begun {
			begun, since = n, 0
		}
		if since > still {
			return
		}
	}
	k.Failf("nothing happens any more, and the loop goes on beginning operations")
}

// check is that of kernel.
func (k *fakeKernel) check(s *session) {
	d := s.d.(*completion)
	if n := d.listeners.Len() + len(d.held) + len(d.full); n > 0 {
		k.Failf("left: %d listening, %d held, %d crowded", d.listeners.Len(), len(d.held), len(d.full))
	}
	if len(k.free) != k.all {
		k.Failf("%d of %d buffers came back", len(k.free), k.all)
	}
	if n := d.counters.Stale.Load(); n != 0 {
		k.Failf("%d completions came after their socket was gone: its token could have been used again", n)
	}
	for _, op := range k.ops {
		if kindOf(op) != kindWake {
			k.Failf("an operation of kind %d is still under way", kindOf(op))
		}
	}
	for range len(k.entries) {
		s.turn(0)
	}
	if len(k.ops) != 1 {
		k.Failf("the loop cannot be woken: %d operations are under way", len(k.ops))
	}
}

// A fakeRing is what a completion driver has of a fakeKernel; its own Close closes
// no descriptor.
type fakeRing struct{ *fakeKernel }

func (fakeRing) Close() error { return nil }

// A fakeWaker is Wake for a fakeKernel.
type fakeWaker struct{ k *fakeKernel }

func (w fakeWaker) Arm(sqe *uring.SQE) { sqe.PollAdd(0, unix.POLLIN) }
func (w fakeWaker) Wake() error        { w.k.woken = true; return nil }
func (w fakeWaker) Close() error       { return nil }
