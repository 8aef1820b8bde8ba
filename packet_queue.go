package epi

import (
	"sync"

	"github.com/epinet/epi/internal/buffer"
	"github.com/epinet/epi/internal/driver"
)

// A packetQueue is datagrams on their way out, in order, with their bytes.
type packetQueue struct {
	datagrams []driver.Datagram
	first     int      // datagrams[:first] have left
	chunk     []byte   // holds bytes, and has room for more
	full      [][]byte // hold bytes
}

// packetRecord is what a queued datagram costs besides its bytes, rounded up: so
// that those without bytes are bounded, too.
const packetRecord = 128

func packetCost(p []byte) int { return len(p) + packetRecord }

// add appends d, with a copy of its bytes. Chunks double, so that one short datagram does not
// need a large one.
func (q *packetQueue) add(pool *buffer.Pool, d driver.Datagram) {
	p := d.Bytes
	if len(p) > cap(q.chunk)-len(q.chunk) {
		size := min(2*cap(q.chunk), buffer.MaxPooled)
		if q.chunk != nil {
			q.full = append(q.full, q.chunk)
		}
		q.chunk = pool.Get(max(size, len(p)))
	}
	start := len(q.chunk)
	q.chunk = append(q.chunk, p...)
	d.Bytes = q.chunk[start:len(q.chunk):len(q.chunk)]
	q.datagrams = append(q.datagrams, d)
}

// rest is what has not left yet.
func (q *packetQueue) rest() []driver.Datagram { return q.datagrams[q.first:] }

// reset gives back what q holds.
func (q *packetQueue) reset(pool *buffer.Pool) {
	clear(q.datagrams)
	q.datagrams, q.first = q.datagrams[:0], 0
	for i, chunk := range q.full {
		pool.Put(chunk)
		q.full[i] = nil
	}
	q.full = q.full[:0]
	if q.chunk != nil {
		pool.Put(q.chunk)
		q.chunk = nil
	}
}

// packetQueues are the queues of a loop that nobody needs now: a socket that has
// nothing to send holds none.
type packetQueues struct {
	mu   sync.Mutex
	free []*packetQueue // guarded by mu
}

const (
	// retainQueues bounds how many queues are kept,
	retainQueues = 64
	// retainDatagrams how many datagrams each has room for: after a burst the
	// room is given up. It is some four turns' worth.
	retainDatagrams = 8192
)

func (p *packetQueues) get() *packetQueue {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := len(p.free) - 1
	if last < 0 {
		return &packetQueue{}
	}
	q := p.free[last]
	p.free[last] = nil
	p.free = p.free[:last]
	return q
}

func (p *packetQueues) put(pool *buffer.Pool, q *packetQueue) {
	q.reset(pool)
	if cap(q.datagrams) > retainDatagrams {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.free) < retainQueues {
		p.free = append(p.free, q)
	}
}
