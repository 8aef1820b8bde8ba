package uring

import (
	"math"
	"testing"
	"unsafe"
)

// kernel is the other end of a ring whose kernel the test plays: its counters
// may stand anywhere.
type kernel struct {
	sqHead, sqTail, sqFlags        uint32
	cqHead, cqTail, cqOverflow     uint32
	takenEntries, takenCompletions uint64
	posted                         uint64
}

func playKernel(start uint32, entries, completions int) (*Ring, *kernel) {
	k := &kernel{sqHead: start, sqTail: start, cqHead: start, cqTail: start}
	return &Ring{
		sqHead: &k.sqHead, sqTail: &k.sqTail, sqFlags: &k.sqFlags,
		sqMask: uint32(entries - 1), sqes: make([]SQE, entries), tail: start,
		cqHead: &k.cqHead, cqTail: &k.cqTail, cqOverflow: &k.cqOverflow,
		cqMask: uint32(completions - 1), cqes: make([]CQE, completions),
	}, k
}

// take is what the kernel does with n entries: they must come in their order.
func (k *kernel) take(t *testing.T, r *Ring, n int) {
	t.Helper()
	for range n {
		if k.sqHead == k.sqTail {
			t.Fatal("an entry is missing")
		}
		if got := r.sqes[k.sqHead&r.sqMask].UserData; got != k.takenEntries {
			t.Fatalf("entry %d came instead of %d", got, k.takenEntries)
		}
		k.takenEntries++
		k.sqHead++
	}
}

func (k *kernel) post(r *Ring, n int) {
	for range n {
		r.cqes[k.cqTail&r.cqMask] = CQE{UserData: k.posted}
		k.posted++
		k.cqTail++
	}
}

// Counters run through 2^32; on a real ring that takes hours.
func TestQueuesGoOnWhenTheirCountersWrap(t *testing.T) {
	for _, start := range []uint32{0, math.MaxUint32, math.MaxUint32 - 5, math.MaxInt32 - 5} {
		for _, size := range []int{1, 2, 8} {
			r, k := playKernel(start, size, 2*size)
			prepared := uint64(0)
			for round := range 20 {
				for sqe := r.SQE(); sqe != nil; sqe = r.SQE() {
					if *sqe != (SQE{}) {
						t.Fatalf("from %d: an entry is not zero", start)
					}
					sqe.UserData = prepared
					prepared++
				}
				if n := r.publish(); r.Prepared() != size || n != uintptr(size) {
					t.Fatalf("from %d: %d prepared, %d published, %d fit", start, r.Prepared(), n, size)
				}
				k.take(t, r, 1+round%size)

				k.post(r, 2*size)
				if r.Ready() != 2*size {
					t.Fatalf("from %d: %d of %d completions are ready", start, r.Ready(), 2*size)
				}
				if last := r.Completion(2*size - 1).UserData; last != k.posted-1 {
					t.Fatalf("from %d: the last completion is %d instead of %d", start, last, k.posted-1)
				}
				for c, ok := r.Next(); ok; c, ok = r.Next() {
					if c.UserData != k.takenCompletions {
						t.Fatalf("from %d: completion %d came instead of %d", start, c.UserData, k.takenCompletions)
					}
					k.takenCompletions++
				}
				if k.takenCompletions != k.posted || k.cqHead != k.cqTail {
					t.Fatalf("from %d: %d of %d completions came", start, k.takenCompletions, k.posted)
				}
			}
		}
	}
}

// The tail is published in one store with the number of the first buffer.
func TestPublishedTailLeavesTheFirstBufferAsItIs(t *testing.T) {
	for _, count := range []int{1, 2, 8} {
		b := &Buffers{size: 16, mask: uint16(count - 1), memory: make([]byte, 16*count), entries: make([]bufferEntry, count)}
		b.tail = math.MaxUint16 - 2*uint16(count) + 1 // a multiple of count
		start := b.tail
		for i := range 4 * count {
			b.add(count - 1 - i%count)
			b.publish()
			if got := b.entries[0].tail; got != start+uint16(i+1) {
				t.Fatalf("%d buffers: tail %d after %d from %d", count, got, i+1, start)
			}
			if got := b.entries[0].id; int(got) != count-1 {
				t.Fatalf("%d buffers: the first entry has buffer %d", count, got)
			}
			e := b.entries[i%count]
			if want := uint64(uintptr(unsafe.Pointer(&b.memory[16*int(e.id)]))); e.addr != want || e.len != 16 {
				t.Fatalf("%d buffers: entry %+v, its memory is at %#x", count, e, want)
			}
		}
	}
}

// TestHunt26_WaitingIsNoWaitForADisk: a thread that waits for a ring with something
// under way would otherwise make its CPU look as if it waited for a disk.
func TestHunt26_WaitingIsNoWaitForADisk(t *testing.T) {
	r, err := New(Config{Entries: 8})
	if err != nil {
		t.Skip(err)
	}
	defer func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}()
	if r.features&featNoIowait == 0 {
		t.Skip("the kernel does not have IORING_ENTER_NO_IOWAIT, which came with Linux 6.15")
	}
	if r.waitBits&enterNoIowait == 0 {
		t.Error("calls that wait do not say so")
	}
	if err := r.Wait(1, 0); err != nil {
		t.Errorf("the kernel refuses it: %v", err)
	}
}
