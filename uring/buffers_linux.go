package uring

import (
	"errors"
	"fmt"
	"math"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Buffers are a group of buffers of one size that the kernel receives into,
// taking the next one when there is something to receive (a provided buffer
// ring, 5.19): nothing is reserved for connections that are idle.
//
// Incremental buffers (6.12, Features.Incremental) are filled by one receive
// behind the other until they are full, so large buffers also hold many small
// messages. Where bytes lie follows from the order of completions: use them for
// RecvMultishot alone, since before Linux 6.15 (and stable kernels of May 2025)
// completions of other receives may overtake each other.
type Buffers struct {
	group       uint16
	size        int
	mask        uint16
	incremental bool
	tail        uint16        // buffers before it were given to the kernel
	entries     []bufferEntry // shared with the kernel
	memory      []byte        // of all buffers
	filled      []uint32      // incremental: how much of each buffer was used; else nil
	ring        []byte        // what entries lie in
}

// maxBuffers is the most that the kernel allows in one group.
const maxBuffers = 1 << 15

// NewBuffers makes a group of count buffers, a power of two up to 32,768, each
// of size bytes, all with the kernel. It lives until the ring is closed. Its
// memory is not Go's.
func (r *Ring) NewBuffers(group uint16, count, size int, incremental bool) (*Buffers, error) {
	b, err := r.newBuffers(group, count, size, incremental)
	if err != nil {
		return nil, err
	}
	for id := range count {
		b.add(id)
	}
	b.publish()
	return b, nil
}

// NewSendBuffers makes a group for SendBundle: its buffers, numbered from 0, are
// the caller's to Put. All else is as with NewBuffers.
func (r *Ring) NewSendBuffers(group uint16, count, size int) (*Buffers, error) {
	return r.newBuffers(group, count, size, false)
}

func (r *Ring) newBuffers(group uint16, count, size int, incremental bool) (*Buffers, error) {
	if !powerOfTwo(count, 1, maxBuffers) {
		return nil, fmt.Errorf("uring: %d buffers: choose a power of two up to %d", count, maxBuffers)
	}
	if most := math.MaxInt / count; size < 1 || size > min(most, math.MaxInt32) {
		return nil, fmt.Errorf("uring: %d buffers of %d bytes: choose from 1 to %d", count, size, min(most, math.MaxInt32))
	}
	b := &Buffers{group: group, size: size, mask: uint16(count - 1), incremental: incremental}
	if incremental {
		b.filled = make([]uint32, count)
	}
	if err := b.mmap(count); err != nil {
		return nil, errors.Join(err, b.unmap())
	}
	arg := bufferRingArg{addr: uint64(uintptr(unsafe.Pointer(&b.ring[0]))), entries: uint32(count), group: group}
	if incremental {
		arg.flags = bufferRingIncremental
	}
	if _, err := r.register(registerBufferRing, unsafe.Pointer(&arg), 1); err != nil {
		if errors.Is(err, unix.ENOMEM) {
			err = fmt.Errorf("%w: %s", err, explainMemory("their ring", len(b.ring)))
		}
		return nil, errors.Join(fmt.Errorf("uring: register %d buffers as group %d: %w", count, group, err), b.unmap())
	}
	r.buffers = append(r.buffers, b)
	return b, nil
}

func (b *Buffers) mmap(count int) (err error) {
	const prot, flags = unix.PROT_READ | unix.PROT_WRITE, unix.MAP_PRIVATE | unix.MAP_ANON
	if b.ring, err = unix.Mmap(-1, 0, count*int(unsafe.Sizeof(bufferEntry{})), prot, flags); err != nil {
		return fmt.Errorf("uring: map the ring of %d buffers: %w", count, os.NewSyscallError("mmap", err))
	}
	b.entries = unsafe.Slice((*bufferEntry)(unsafe.Pointer(&b.ring[0])), count)
	if b.memory, err = unix.Mmap(-1, 0, count*b.size, prot, flags); err != nil {
		return fmt.Errorf("uring: map %d buffers of %d bytes: %w", count, b.size, os.NewSyscallError("mmap", err))
	}
	return nil
}

func (b *Buffers) unmap() error {
	var errs []error
	for _, m := range [][]byte{b.ring, b.memory} {
		if m != nil {
			errs = append(errs, os.NewSyscallError("munmap", unix.Munmap(m)))
		}
	}
	b.ring, b.memory, b.entries = nil, nil, nil
	return errors.Join(errs...)
}

// Group returns the number that operations name the group by.
func (b *Buffers) Group() uint16 { return b.group }

// Bytes returns what the operation of a completion has put into its buffer. The
// bytes are valid until Recycle. Each completion must go through Bytes and
// Recycle once, in the order in which they were posted.
func (b *Buffers) Bytes(c CQE) []byte {
	if c.Res <= 0 || c.Flags&HasBuffer == 0 {
		return nil
	}
	begin := c.BufferID() * b.size
	if b.incremental {
		begin += int(b.filled[c.BufferID()])
	}
	return b.memory[begin:][:c.Res:c.Res]
}

// Recycle gives the buffer of a completion back to the kernel, if it has no
// more use for it. The kernel learns of it with the next system call of the ring.
// Completions that failed, ended or used no buffer are welcome too. Buffers of
// SendBundle are the caller's when they were sent: Put them, not this.
func (b *Buffers) Recycle(c CQE) {
	if c.Flags&HasBuffer == 0 {
		return
	}
	if c.Flags&BufferMore != 0 {
		b.filled[c.BufferID()] += uint32(max(0, c.Res))
		return
	}
	if b.incremental {
		b.filled[c.BufferID()] = 0
	}
	b.add(c.BufferID())
}

// Put copies data into a buffer of NewSendBuffers, as much as fits, and returns
// how much that was. The kernel gets the buffer with the next system call of the
// ring. It must not have it already.
func (b *Buffers) Put(id int, data []byte) int {
	n := copy(b.memory[id*b.size:][:b.size], data)
	b.add(id)
	b.entries[(b.tail-1)&b.mask].len = uint32(n)
	return n
}

func (b *Buffers) add(id int) {
	e := &b.entries[b.tail&b.mask]
	e.addr = uint64(uintptr(unsafe.Pointer(&b.memory[id*b.size])))
	e.len = uint32(b.size)
	e.id = uint16(id) // the tail, which may lie in the same entry, stays as it is
	b.tail++
}

// publish makes the kernel see the buffers that were added. Go has no atomic
// store of 16 bits: the buffer number beside the tail is written with it.
func (b *Buffers) publish() {
	first := &b.entries[0]
	both := struct {
		_        [0]uint32 // aligned like one
		id, tail uint16
	}{id: first.id, tail: b.tail}
	atomic.StoreUint32((*uint32)(unsafe.Pointer(&first.id)), *(*uint32)(unsafe.Pointer(&both)))
}
