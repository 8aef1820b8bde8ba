package driver

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/uring"
)

// A fakeKernel is an io_uring in memory. What it does next, and how each
// operation ends, is chosen by a source of choices: any order in which a kernel
// may complete what was submitted can come of it. The descriptors are real
// socket pairs, so that closing them can be seen, but no byte goes through them.
//
// It fails the test where the driver breaks a rule of the kernel's interface:
// an operation's user data used again before its last completion, a buffer
// given back twice, bytes that change while they are being sent.
type fakeKernel struct {
	t       *testing.T
	choose  func(n int) int // of 0 to n-1
	enabled bool
	entries []uring.SQE // the submission queue
	queued  int         // entries[:queued] are prepared
	cqes    []uring.CQE
	taken   int // cqes[:taken] were advanced over

	ops     []*fakeOp
	conns   map[int]*fakeConn // by descriptor
	backlog int               // clients that wait to be accepted
	noFiles bool              // accepting fails
	peers   []int             // the other ends of all descriptors
	woken   bool
	quiet   bool // nothing happens on the connections

	listener net.Listener // that Connect is pointed at; nil until needed

	free   []int  // buffers that the kernel has
	memory []byte // of the buffers
}

const (
	fakeEntries    = 4 // few, so that the driver has a backlog
	fakeBuffers    = 4
	fakeBufferSize = 16
)

// A fakeOp is an operation under way.
type fakeOp struct {
	sqe       uring.SQE
	cancelled bool
	early     bool   // a receive that began before the end, which it can miss
	deaf      bool   // and has
	bytes     []byte // to be sent, as they were when submitted
}

// A fakeConn is the peer of a connection.
type fakeConn struct {
	arrived  []byte // sent by the peer, not received yet
	sent     byte   // the next byte that the peer sends
	err      unix.Errno
	ended    bool
	accepted []byte // what the driver has sent
}

// over reports whether the peer sends nothing more.
func (c *fakeConn) over() bool { return c.ended || c.err != 0 }

func newFakeKernel(t *testing.T, choose func(int) int) *fakeKernel {
	k := &fakeKernel{
		t: t, choose: choose,
		entries: make([]uring.SQE, fakeEntries),
		conns:   map[int]*fakeConn{},
		memory:  make([]byte, fakeBuffers*fakeBufferSize),
	}
	for id := range fakeBuffers {
		k.free = append(k.free, id)
	}
	return k
}

// socket returns a new descriptor with a peer.
func (k *fakeKernel) socket() int {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		k.t.Fatal(err)
	}
	k.conns[pair[0]] = &fakeConn{}
	k.peers = append(k.peers, pair[1])
	return pair[0]
}

// clients counts the connections, by their descriptors, and those that wait to
// be accepted.
func (k *fakeKernel) clients() int { return len(k.conns) + k.backlog }

// listeners counts those of this process: each has a name of its own.
var listeners atomic.Int64

// target returns the address of a listening socket.
func (k *fakeKernel) target() net.Addr {
	if k.listener == nil {
		l, err := net.Listen("unix", fmt.Sprintf("@epi-fake-kernel-%d-%d", os.Getpid(), listeners.Add(1)))
		if err != nil {
			k.t.Fatal(err)
		}
		k.listener = l
	}
	return k.listener.Addr()
}

// adopt makes fd, which is connected to target, a descriptor like those of socket.
func (k *fakeKernel) adopt(fd int) *fakeConn {
	peer, err := k.listener.Accept()
	if err != nil {
		k.t.Fatal(err)
	}
	file, err := peer.(*net.UnixConn).File()
	if err != nil {
		k.t.Fatal(err)
	}
	own, err := unix.Dup(int(file.Fd()))
	if err != nil {
		k.t.Fatal(err)
	}
	_ = file.Close()
	_ = peer.Close()
	if err := unix.SetNonblock(own, true); err != nil {
		k.t.Fatal(err)
	}
	k.peers = append(k.peers, own)
	k.conns[fd] = &fakeConn{}
	return k.conns[fd]
}

// checkClosed fails unless all descriptors were closed.
func (k *fakeKernel) checkClosed() {
	if k.listener != nil {
		_ = k.listener.Close()
	}
	for _, fd := range k.peers {
		var b [1]byte
		if n, err := unix.Read(fd, b[:]); n != 0 && err != unix.ECONNRESET {
			k.t.Errorf("a descriptor is still open: its peer reads %d, %v", n, err)
		}
		_ = unix.Close(fd)
	}
}

func (k *fakeKernel) Enable() error { k.enabled = true; return nil }
func (k *fakeKernel) Prepared() int { return k.queued }
func (k *fakeKernel) Ready() int    { return len(k.cqes) - k.taken }
func (k *fakeKernel) Close() error  { return nil }

func (k *fakeKernel) SQE() *uring.SQE {
	if k.queued == len(k.entries) {
		return nil
	}
	k.queued++
	k.entries[k.queued-1] = uring.SQE{}
	return &k.entries[k.queued-1]
}

func (k *fakeKernel) Completion(i int) uring.CQE { return k.cqes[k.taken+i] }
func (k *fakeKernel) Advance(n int)              { k.taken += n }
func (k *fakeKernel) WorkWaits() bool            { return k.choose(2) == 0 }
func (k *fakeKernel) SubmitLong() error          { return k.Submit() }

// Submit takes the entries, now and then not all of them, and completes some
// operations.
func (k *fakeKernel) Submit() error {
	if !k.enabled {
		k.t.Fatal("submitted before Enable")
	}
	n := k.queued
	if n > 0 && k.choose(8) == 0 {
		n = k.choose(n + 1)
		if n == 0 {
			return unix.EAGAIN
		}
	}
	for _, sqe := range k.entries[:n] {
		k.begin(sqe)
	}
	k.queued = copy(k.entries, k.entries[n:k.queued])
	for range k.choose(4) {
		k.step()
	}
	return nil
}

// Wait goes on until something has completed.
func (k *fakeKernel) Wait(_ int, timeout time.Duration) error {
	for {
		if err := k.Submit(); err != nil || k.Ready() > 0 || timeout >= 0 {
			return err
		}
		if len(k.ops) == 0 {
			k.t.Fatal("waiting for ever: nothing is under way")
		}
		k.wake()
	}
}

func (k *fakeKernel) begin(sqe uring.SQE) {
	op := &fakeOp{sqe: sqe}
	kind, _ := split(sqe.UserData)
	for _, other := range k.ops {
		if other.sqe.UserData == sqe.UserData && kind != kindNone {
			k.t.Fatalf("user data %#x is under way already", sqe.UserData)
		}
	}
	switch sqe.Op {
	case uring.OpCancel:
		k.beginCancel(sqe)
		return
	case uring.OpRecv:
		op.early = !k.conns[int(sqe.FD)].over()
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
			op.cancelled = true
			result = 0
			if k.choose(3) == 0 {
				result = -int32(unix.EALREADY)
			}
		}
	}
	k.post(sqe, result, 0)
}

func (k *fakeKernel) post(sqe uring.SQE, res int32, flags uring.CQEFlags) {
	k.cqes = append(k.cqes, uring.CQE{UserData: sqe.UserData, Res: res, Flags: flags})
}

// end posts the last completion of an operation.
func (k *fakeKernel) end(op *fakeOp, res int32) {
	k.endWith(op, res, 0)
}

func (k *fakeKernel) endWith(op *fakeOp, res int32, flags uring.CQEFlags) {
	k.post(op.sqe, res, flags)
	k.ops = slices.DeleteFunc(k.ops, func(other *fakeOp) bool { return other == op })
}

// step moves one operation on.
func (k *fakeKernel) step() {
	if len(k.ops) == 0 {
		return
	}
	op := k.ops[k.choose(len(k.ops))]
	if op.cancelled && k.choose(2) == 0 {
		k.end(op, -int32(unix.ECANCELED))
		return
	}
	kind, _ := split(op.sqe.UserData)
	if k.quiet && kind >= kindConnect {
		return
	}
	switch kind {
	case kindWake:
		k.stepWake(op)
	case kindAccept:
		k.stepAccept(op)
	case kindWatch:
		if k.backlog > 0 {
			k.end(op, unix.POLLIN)
		}
	case kindConnect:
		k.end(op, unix.POLLOUT)
	case kindReceive:
		k.stepReceive(op)
	case kindSend:
		k.stepSend(op)
	case kindHangUp:
		if k.conns[int(op.sqe.FD)].over() {
			k.end(op, unix.POLLRDHUP)
		}
	default:
		k.t.Fatalf("operation %d of kind %d", op.sqe.Op, kind)
	}
}

func (k *fakeKernel) wake() { k.woken = true; k.step() }

// underWay reports whether an operation of the kind is.
func (k *fakeKernel) underWay(want kind) bool {
	return slices.ContainsFunc(k.ops, func(op *fakeOp) bool {
		kind, _ := split(op.sqe.UserData)
		return kind == want
	})
}

func (k *fakeKernel) stepWake(op *fakeOp) {
	if !k.woken {
		return
	}
	k.woken = false
	if k.choose(4) == 0 {
		k.end(op, unix.POLLIN)
		return
	}
	k.post(op.sqe, unix.POLLIN, uring.HasMore)
}

func (k *fakeKernel) stepAccept(op *fakeOp) {
	switch {
	case k.noFiles:
		k.end(op, -int32(unix.EMFILE))
	case k.backlog == 0:
	case k.choose(8) == 0:
		k.end(op, -int32(unix.ECONNABORTED))
	default:
		k.backlog--
		fd := int32(k.socket())
		if k.choose(4) == 0 {
			k.end(op, fd)
			return
		}
		k.post(op.sqe, fd, uring.HasMore)
	}
}

// stepReceive takes what has arrived into a buffer.
func (k *fakeKernel) stepReceive(op *fakeOp) {
	c := k.conns[int(op.sqe.FD)]
	switch {
	case op.deaf:
	case len(c.arrived) > 0:
		k.fill(op, c)
	case c.err != 0:
		k.end(op, -int32(c.err))
	case c.ended:
		k.end(op, 0)
	case k.choose(16) == 0:
		k.end(op, -int32(unix.EINTR))
	}
}

func (k *fakeKernel) fill(op *fakeOp, c *fakeConn) {
	if len(k.free) == 0 {
		k.end(op, -int32(unix.ENOBUFS))
		return
	}
	id := k.free[0]
	k.free = k.free[1:]
	n := copy(k.memory[id*fakeBufferSize:][:1+k.choose(fakeBufferSize)], c.arrived)
	c.arrived = c.arrived[n:]
	flags := uring.HasBuffer | uring.CQEFlags(id)<<16
	if k.choose(4) == 0 {
		k.endWith(op, int32(n), flags)
		return
	}
	op.deaf = op.early && len(c.arrived) == 0 && c.over() && k.choose(2) == 0
	k.post(op.sqe, int32(n), flags|uring.HasMore)
}

// stepSend takes some of the bytes, at least one.
func (k *fakeKernel) stepSend(op *fakeOp) {
	c := k.conns[int(op.sqe.FD)]
	if op.sqe.Op == uring.OpSend && !bytes.Equal(op.bytes, bytesAt(op.sqe.Addr, int(op.sqe.Len))) {
		k.t.Fatal("bytes have changed while they were being sent")
	}
	if c.err != 0 {
		k.end(op, -int32(unix.EPIPE))
		return
	}
	n := 1 + k.choose(len(op.bytes))
	c.accepted = append(c.accepted, op.bytes[:n]...)
	k.end(op, int32(n))
}

// Group, Bytes and Recycle are the buffers'.
func (k *fakeKernel) Group() uint16 { return 0 }

func (k *fakeKernel) Bytes(c uring.CQE) []byte {
	if c.Flags&uring.HasBuffer == 0 {
		return nil
	}
	return k.memory[c.BufferID()*fakeBufferSize:][:c.Res]
}

func (k *fakeKernel) Recycle(c uring.CQE) {
	if c.Flags&uring.HasBuffer == 0 {
		return
	}
	if slices.Contains(k.free, c.BufferID()) {
		k.t.Fatalf("buffer %d is given back twice", c.BufferID())
	}
	clear(k.memory[c.BufferID()*fakeBufferSize:][:fakeBufferSize]) // whoever still reads it will notice
	k.free = append(k.free, c.BufferID())
}

// A fakeWaker is Wake for a fakeKernel.
type fakeWaker struct{ k *fakeKernel }

func (w fakeWaker) Arm(sqe *uring.SQE) { sqe.PollAdd(0, unix.POLLIN) }
func (w fakeWaker) Wake() error        { w.k.woken = true; return nil }
func (w fakeWaker) Close() error       { return nil }

// choices returns a source that uses up a script and then chooses by itself.
func choices(script []byte, seed uint64) func(int) int {
	rng := rand.New(rand.NewPCG(seed, uint64(len(script))))
	return func(n int) int {
		if n <= 1 {
			return 0
		}
		if len(script) == 0 {
			return rng.IntN(n)
		}
		c := int(script[0])
		script = script[1:]
		return c % n
	}
}

func (k *fakeKernel) String() string {
	return fmt.Sprintf("%d operations, %d completions, %d free buffers", len(k.ops), k.Ready(), len(k.free))
}
