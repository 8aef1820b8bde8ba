package uring

import (
	"errors"
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Config is what a Ring is made of.
type Config struct {
	// Entries is the size of the submission queue, a power of two up to 32,768.
	// Default: 256.
	Entries int
	// CQEntries is the size of the completion queue, a power of two from Entries
	// up to 65,536. What does not fit is kept by the kernel until there is room.
	// Default: 8 × Entries, since multishot operations post many, or the most.
	CQEntries int
	// Setup are the flags.
	Setup Setup
}

// defaultEntries and completionsPerEntry are the defaults of Config.
const (
	defaultEntries      = 256
	completionsPerEntry = 8
)

// complete fills in the defaults, and finds what the kernel would refuse without
// saying why.
func (c *Config) complete() error {
	if c.Entries == 0 {
		c.Entries = defaultEntries
	}
	if !powerOfTwo(c.Entries, 1, maxEntries) {
		return fmt.Errorf("uring: Config.Entries is %d: choose a power of two up to %d", c.Entries, maxEntries)
	}
	if c.CQEntries == 0 {
		c.CQEntries = min(completionsPerEntry*c.Entries, maxCQEntries)
	}
	if !powerOfTwo(c.CQEntries, c.Entries, maxCQEntries) {
		return fmt.Errorf("uring: Config.CQEntries is %d: choose a power of two from %d (Entries) to %d", c.CQEntries, c.Entries, maxCQEntries)
	}
	switch s := c.Setup; {
	case s&^setupKnown != 0:
		return fmt.Errorf("uring: Config.Setup has %#x: this package knows no such flags", uint32(s&^setupKnown))
	case s&DeferTaskrun != 0 && s&SingleIssuer == 0:
		return errors.New("uring: Config.Setup has DeferTaskrun: it needs SingleIssuer")
	case s&TaskrunFlag != 0 && s&(CoopTaskrun|DeferTaskrun) == 0:
		return errors.New("uring: Config.Setup has TaskrunFlag: it needs CoopTaskrun or DeferTaskrun")
	}
	return nil
}

// size is how much memory the kernel takes for the queues, about.
func (c *Config) size() int {
	return c.Entries*(int(unsafe.Sizeof(SQE{}))+4) + c.CQEntries*int(unsafe.Sizeof(CQE{}))
}

func powerOfTwo(n, least, most int) bool { return n >= least && n <= most && n&(n-1) == 0 }

// A Ring is one io_uring instance. Its methods are for the goroutine, or with
// SingleIssuer the thread, that it belongs to.
type Ring struct {
	fd       int // of the ring; noDescriptor when it was closed
	enterFD  int // what io_uring_enter is called with: fd, or an index after RegisterRing
	enterBit uintptr
	waitBits uintptr // flags of the calls that wait
	thread   int     // that called RegisterRing: the index is valid there alone
	features FeatureBits

	sqHead  *uint32 // the kernel's; entries before it were taken
	sqTail  *uint32 // shared; entries before it may be taken
	sqFlags *uint32 // the kernel's
	sqMask  uint32
	sqes    []SQE
	tail    uint32 // entries before it were prepared; at least sqTail

	cqHead     *uint32 // shared; completions before it may be overwritten
	cqTail     *uint32 // the kernel's; completions before it were posted
	cqOverflow *uint32 // the kernel's; completions lost, which NODROP prevents
	cqMask     uint32
	cqes       []CQE

	buffers []*Buffers // whose tails are published with each system call
	maps    [][]byte

	arg     getEventsArg // of the system call under way
	timeout kernelTime   // of the system call under way
}

const noDescriptor = -1

// New makes a ring. Where io_uring is missing, forbidden or too old the error
// says so and what can be done about it; Probe says more.
func New(c Config) (*Ring, error) {
	if err := c.complete(); err != nil {
		return nil, err
	}
	p := params{flags: c.Setup | setupCQSize, cqEntries: uint32(c.CQEntries)}
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, uintptr(c.Entries), uintptr(unsafe.Pointer(&p)), 0)
	if errno != 0 {
		return nil, explainSetup(errno, c.size())
	}
	r := &Ring{fd: int(fd), enterFD: int(fd), features: p.features}
	r.waitBits = enterGetEvents | enterExtArg
	if r.features&featNoIowait != 0 {
		r.waitBits |= enterNoIowait // who waits for a network does not wait for a disk (6.15)
	}
	if err := r.open(&p); err != nil {
		return nil, errors.Join(err, r.free())
	}
	return r, nil
}

// neededFeatures came with Linux 5.4, 5.5 and 5.11.
const neededFeatures = featSingleMmap | featNoDrop | featSubmitStable | featExtArg

// open maps the queues.
func (r *Ring) open(p *params) error {
	if p.features&neededFeatures != neededFeatures {
		return fmt.Errorf("uring: the kernel is too old: Linux 6.1 has all that is needed: %w", errors.ErrUnsupported)
	}
	size := max(uintptr(p.sq.array)+uintptr(p.sqEntries)*4,
		uintptr(p.cq.cqes)+uintptr(p.cqEntries)*unsafe.Sizeof(CQE{}))
	queues, err := r.mmap(offSQRing, size)
	if err != nil {
		return err
	}
	entries, err := r.mmap(offSQEs, uintptr(p.sqEntries)*unsafe.Sizeof(SQE{}))
	if err != nil {
		return err
	}
	at := func(offset uint32) *uint32 { return (*uint32)(unsafe.Pointer(&queues[offset])) }
	r.sqHead, r.sqTail, r.sqFlags, r.sqMask = at(p.sq.head), at(p.sq.tail), at(p.sq.flags), *at(p.sq.mask)
	r.cqHead, r.cqTail, r.cqOverflow, r.cqMask = at(p.cq.head), at(p.cq.tail), at(p.cq.overflow), *at(p.cq.mask)
	r.sqes = unsafe.Slice((*SQE)(unsafe.Pointer(&entries[0])), p.sqEntries)
	r.cqes = unsafe.Slice((*CQE)(unsafe.Pointer(&queues[p.cq.cqes])), p.cqEntries)
	for i := range p.sqEntries {
		*at(p.sq.array + 4*i) = i // slots are used in their order, always
	}
	return nil
}

func (r *Ring) mmap(offset int64, size uintptr) ([]byte, error) {
	m, err := unix.Mmap(r.fd, offset, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return nil, fmt.Errorf("uring: map the queues: %w", os.NewSyscallError("mmap", err))
	}
	r.maps = append(r.maps, m)
	return m, nil
}

// FD returns the ring's descriptor, which is readable while a completion waits.
func (r *Ring) FD() int { return r.fd }

// Enable starts a ring that was made Disabled. With SingleIssuer the ring
// belongs to the calling thread from now on.
func (r *Ring) Enable() error {
	_, err := r.register(registerEnableRings, nil, 0)
	return err
}

// Close cancels what is under way on the ring and frees it; a second Close is
// os.ErrClosed. Nothing of the ring or its Buffers may be used any more.
// Completions that were not taken are lost, and with them descriptors that they
// accepted.
//
// When Close returns, the kernel uses no memory of operations any more and
// gives up their files within moments. That needs the thread that the ring
// belongs to, if it has SingleIssuer without DeferTaskrun. It does not hold for
// what a worker thread of the kernel has begun: entries with Async, and those
// on files. Wait for their completions before.
func (r *Ring) Close() error {
	if r.fd == noDescriptor {
		return os.ErrClosed
	}
	r.stop()
	return r.free()
}

// stop makes the kernel leave the operations' memory alone. To close the
// descriptor cancels them too, but some time later, and until then they may
// receive. Its calls fail on the wrong thread.
func (r *Ring) stop() {
	if r.enterBit != 0 && r.thread == unix.Gettid() {
		_ = r.UnregisterRing() // or the ring lives on with the thread
	}
	arg := syncCancelArg{flags: cancelAny | cancelAll, timeout: kernelTime{-1, -1}}
	for try := range stopTries {
		cancelled, err := r.register(registerSyncCancel, unsafe.Pointer(&arg), 1)
		r.post()
		if err != nil || cancelled == 0 && try > 0 {
			break
		}
		if try > 0 {
			time.Sleep(stopPause)
		}
	}
	for _, b := range r.buffers {
		arg := bufferRingArg{group: b.group}
		_, _ = r.register(unregisterBufferRing, unsafe.Pointer(&arg), 1)
	}
}

// An operation that becomes ready during the first try is found by the second.
// More are for completions that another thread posts, and for workers, which
// Close does not wait for longer.
const (
	stopTries = 100
	stopPause = time.Millisecond
)

func (r *Ring) free() error {
	var errs []error
	errs = append(errs, os.NewSyscallError("close", unix.Close(r.fd)))
	for _, b := range r.buffers {
		errs = append(errs, b.unmap())
	}
	for _, m := range r.maps {
		errs = append(errs, os.NewSyscallError("munmap", unix.Munmap(m)))
	}
	*r = Ring{fd: noDescriptor, enterFD: noDescriptor}
	return errors.Join(errs...)
}

func (r *Ring) register(op uintptr, arg unsafe.Pointer, count uintptr) (int, error) {
	n, _, errno := unix.Syscall6(unix.SYS_IO_URING_REGISTER, uintptr(r.fd), op, uintptr(arg), count, 0, 0)
	if errno != 0 {
		return 0, os.NewSyscallError("io_uring_register", errno)
	}
	return int(n), nil
}
