package buffer

// A Queue is bytes on their way to one peer, first in, first out: copies in
// pooled buffers and buffers that were given to it whole. It has no lock; its
// owner guards it.
type Queue struct {
	segments []segment
	head     int // the first segment that is not wholly discarded
	offset   int // bytes of segments[head] that are discarded
	size     int // bytes in the queue, those that are skipped included
	skipped  int // bytes before the first segment
}

type segment struct {
	buf    []byte
	pooled bool // the queue's own copy; room behind it may be used
}

// copied is the size up to which a buffer that waits behind others is copied: so
// what is queued costs little more than its bytes. A larger one costs an entry of
// 32 bytes besides.
const copied = 512

// segmentsKept bounds the segment table that an emptied Queue keeps.
const segmentsKept = 16

// Len returns the number of bytes in the queue.
func (q *Queue) Len() int { return q.size }

// Skip counts n bytes that were sent before they could be queued: they are in the
// queue until they are discarded. All others must have been skipped, too.
func (q *Queue) Skip(n int) {
	q.size += n
	q.skipped += n
}

// Skipped returns how many of the bytes in the queue were sent already. They are
// its first.
func (q *Queue) Skipped() int { return q.skipped }

// Write appends a copy of data. Small writes share a buffer, so that they
// leave in one piece.
func (q *Queue) Write(p *Pool, data []byte) {
	q.size += len(data)
	last := len(q.segments) - 1
	want := len(data)
	if last >= q.head && q.segments[last].pooled {
		s := &q.segments[last]
		n := min(len(data), cap(s.buf)-len(s.buf))
		s.buf = append(s.buf, data[:n]...)
		data = data[n:]
		want = max(len(data), min(2*cap(s.buf), MaxPooled))
	}
	if len(data) == 0 {
		return
	}
	q.segments = append(q.segments, segment{append(p.Get(want), data...), true})
}

// Append appends bufs without copying, but for short ones that wait behind others:
// they belong to the queue and must not change until they are sent.
func (q *Queue) Append(p *Pool, bufs ...[]byte) {
	for _, b := range bufs {
		switch {
		case len(b) == 0:
		case len(b) <= copied && q.head < len(q.segments):
			q.Write(p, b)
		default:
			q.size += len(b)
			q.segments = append(q.segments, segment{buf: b})
		}
	}
}

// Buffers appends to dst the first bytes of the queue, as many as fit in the
// free capacity of dst and in maxBytes, and returns it.
func (q *Queue) Buffers(dst [][]byte, maxBytes int) [][]byte {
	offset := q.offset
	for i := q.head; i < len(q.segments) && len(dst) < cap(dst) && maxBytes > 0; i++ {
		b := q.segments[i].buf[offset:]
		offset = 0
		b = b[:min(len(b), maxBytes)]
		maxBytes -= len(b)
		dst = append(dst, b)
	}
	return dst
}

// Discard drops the first n bytes, which were sent. n must not exceed Len.
func (q *Queue) Discard(p *Pool, n int) {
	q.size -= n
	ahead := min(n, q.skipped)
	q.skipped -= ahead
	n -= ahead
	for n > 0 {
		s := &q.segments[q.head]
		left := len(s.buf) - q.offset
		if n < left {
			q.offset += n
			return
		}
		n -= left
		if s.pooled {
			p.Put(s.buf)
		}
		*s = segment{}
		q.head++
		q.offset = 0
	}
	if q.head == len(q.segments) {
		q.segments = q.segments[:0]
		q.head = 0
	}
}

// reset drops everything that is queued. The caller holds the pool's mu.
func (q *Queue) reset(p *Pool) {
	for i := q.head; i < len(q.segments); i++ {
		if s := q.segments[i]; s.pooled {
			p.put(s.buf)
		}
		q.segments[i] = segment{}
	}
	kept := q.segments[:0]
	if cap(kept) > segmentsKept {
		kept = nil
	}
	*q = Queue{segments: kept}
}
