// Package buffer holds the byte buffers of the engine: a pool of them, the
// queue of bytes on their way out, and the inbox of bytes not yet consumed.
// An idle connection holds none of these.
package buffer

import (
	"math/bits"
	"slices"
	"sync"
)

const (
	minShift = 9  // 512 bytes: one short message and its header
	maxShift = 16 // 64 KiB: one read
	classes  = maxShift - minShift + 1

	// MaxPooled is the capacity of the largest buffer of a class.
	MaxPooled = 1 << maxShift

	// retainLarge bounds how many larger buffers a Pool keeps: looking through
	// them takes less time than clearing a new one.
	retainLarge = 16
	// retainLargeBytes bounds their sum: one message of 1 MiB each for a dozen
	// clients at the same time. Clearing new ones costs more than receiving into
	// them, and the garbage needs more memory than they do (measured with SET of
	// 1 MiB by 10 clients: 4 MiB cost a third more time, and a peak half as high again).
	retainLargeBytes = 16 << 20

	// retainBytes bounds what a Pool keeps of the others for reuse, so that a burst
	// does not hold its memory for ever.
	retainBytes = 4 << 20
	// retainObjects bounds how many queues and inboxes a Pool keeps.
	retainObjects = 16384
)

// A Pool recycles buffers whose capacities are powers of two between 512 bytes
// and MaxPooled, and a few larger ones. The zero value is ready. All methods may be called from any
// goroutine. Unlike a sync.Pool it keeps what it has across garbage
// collections and under the race detector, up to a fixed number of bytes.
type Pool struct {
	mu            sync.Mutex
	free          [classes][][]byte // guarded by mu
	retained      int               // guarded by mu; bytes in free
	large         [][]byte          // guarded by mu; of more than MaxPooled bytes
	retainedLarge int               // guarded by mu; bytes in large
	queues        []*Queue          // guarded by mu
	inboxes       []*Inbox          // guarded by mu
}

// Get returns a buffer of length 0 and a capacity of at least n bytes. For more
// than MaxPooled bytes it has at most twice as many.
func (p *Pool) Get(n int) []byte {
	if n > MaxPooled {
		return p.getLarge(n)
	}
	class := classOf(n)
	p.mu.Lock()
	list := p.free[class]
	if len(list) == 0 {
		p.mu.Unlock()
		return make([]byte, 0, 1<<(class+minShift))
	}
	buf := list[len(list)-1]
	list[len(list)-1] = nil
	p.free[class] = list[:len(list)-1]
	p.retained -= cap(buf)
	p.mu.Unlock()
	return buf
}

// getLarge returns one that was put back, if it is not much too large, or else
// one of exactly n bytes.
func (p *Pool) getLarge(n int) []byte {
	p.mu.Lock()
	for i, buf := range p.large {
		if cap(buf) >= n && cap(buf)/2 <= n {
			p.large = slices.Delete(p.large, i, i+1)
			p.retainedLarge -= cap(buf)
			p.mu.Unlock()
			return buf
		}
	}
	p.mu.Unlock()
	return make([]byte, 0, n)
}

// Put gives back a buffer of Get. The caller must not touch it afterwards.
func (p *Pool) Put(buf []byte) {
	p.mu.Lock()
	p.put(buf)
	p.mu.Unlock()
}

// put is Put for those who hold mu.
func (p *Pool) put(buf []byte) {
	size := cap(buf)
	if size > MaxPooled {
		p.putLarge(buf)
		return
	}
	if size < 1<<minShift || size&(size-1) != 0 || p.retained+size > retainBytes {
		return
	}
	class := classOf(size)
	p.free[class] = append(p.free[class], buf[:0])
	p.retained += size
}

// putLarge keeps buf, if need be instead of those that were put back first: the
// next message is more likely to be as long as the last ones. The caller holds mu.
func (p *Pool) putLarge(buf []byte) {
	if cap(buf) > retainLargeBytes {
		return
	}
	for len(p.large) == retainLarge || p.retainedLarge+cap(buf) > retainLargeBytes {
		p.retainedLarge -= cap(p.large[0])
		p.large = slices.Delete(p.large, 0, 1)
	}
	p.large = append(p.large, buf[:0])
	p.retainedLarge += cap(buf)
}

// classOf returns the smallest class whose buffers hold n bytes.
func classOf(n int) int {
	if n <= 1<<minShift {
		return 0
	}
	return bits.Len(uint(n-1)) - minShift
}

// Queue returns an empty Queue; give it back with PutQueue.
func (p *Pool) Queue() *Queue {
	p.mu.Lock()
	defer p.mu.Unlock()
	if q := pop(&p.queues); q != nil {
		return q
	}
	return &Queue{}
}

// PutQueue releases what q holds and keeps q for reuse.
func (p *Pool) PutQueue(q *Queue) {
	p.mu.Lock()
	q.reset(p)
	p.queues = push(p.queues, q)
	p.mu.Unlock()
}

// Inbox returns an Inbox that holds a copy of data; give it back with PutInbox.
func (p *Pool) Inbox(data []byte) *Inbox {
	in := p.EmptyInbox()
	in.Append(p, data)
	return in
}

// EmptyInbox returns an Inbox that holds nothing; give it back with PutInbox.
func (p *Pool) EmptyInbox() *Inbox {
	p.mu.Lock()
	defer p.mu.Unlock()
	if in := pop(&p.inboxes); in != nil {
		return in
	}
	return &Inbox{}
}

// PutInbox releases what in holds and keeps in for reuse.
func (p *Pool) PutInbox(in *Inbox) {
	p.Put(in.base)
	*in = Inbox{}
	p.mu.Lock()
	p.inboxes = push(p.inboxes, in)
	p.mu.Unlock()
}

func pop[T any](list *[]*T) *T {
	last := len(*list) - 1
	if last < 0 {
		return nil
	}
	v := (*list)[last]
	(*list)[last] = nil
	*list = (*list)[:last]
	return v
}

func push[T any](list []*T, v *T) []*T {
	if len(list) >= retainObjects {
		return list
	}
	return append(list, v)
}
