package uring

import (
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// SQE returns the next free entry of the submission queue, all zero, or nil
// when the queue is full: Submit makes room.
func (r *Ring) SQE() *SQE {
	if r.tail-atomic.LoadUint32(r.sqHead) == uint32(len(r.sqes)) {
		return nil
	}
	sqe := &r.sqes[r.tail&r.sqMask]
	r.tail++
	*sqe = SQE{}
	return sqe
}

// Prepared returns how many entries wait to be submitted.
func (r *Ring) Prepared() int { return int(r.tail - atomic.LoadUint32(r.sqHead)) }

// WorkWaits reports whether Submit would post completions although nothing is
// prepared. With DeferTaskrun that takes TaskrunFlag to know. It is a hint: the
// kernel may leave the flag set when there is nothing left, so do not go on
// calling Submit for as long as it holds.
func (r *Ring) WorkWaits() bool {
	return atomic.LoadUint32(r.sqFlags)&(sqTaskrun|sqCQOverflow) != 0
}

// Ready returns how many completions can be taken.
func (r *Ring) Ready() int { return int(atomic.LoadUint32(r.cqTail) - *r.cqHead) }

// Completion returns the i-th of the completions that can be taken, counted
// from 0; i is below Ready.
func (r *Ring) Completion(i int) CQE { return r.cqes[(*r.cqHead+uint32(i))&r.cqMask] }

// Advance takes the first n completions, at most Ready: their place may be used
// again.
func (r *Ring) Advance(n int) { atomic.StoreUint32(r.cqHead, *r.cqHead+uint32(n)) }

// Next takes the next completion, and returns false when there is none.
func (r *Ring) Next() (CQE, bool) {
	if r.Ready() == 0 {
		return CQE{}, false
	}
	c := r.Completion(0)
	r.Advance(1)
	return c, true
}

// Lost returns how many completions the kernel had to drop for lack of memory.
func (r *Ring) Lost() int { return int(atomic.LoadUint32(r.cqOverflow)) }

// Err returns the operation's error, nil when it succeeded.
func (c CQE) Err() error {
	if c.Res >= 0 {
		return nil
	}
	return unix.Errno(-c.Res)
}

// More reports whether the operation goes on and posts more completions.
func (c CQE) More() bool { return c.Flags&HasMore != 0 }

// BufferID returns which buffer of its group the operation has used. It has a
// meaning only with HasBuffer.
func (c CQE) BufferID() int { return int(c.Flags >> bufferShift) }
