package epi

import (
	"context"
	"runtime/pprof"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/epinet/epi/internal/seam"
)

// A workerPool is the workers of an engine and the queue of connections that
// wait for one. A connection is in the queue at most once, so the queue is
// bounded by Engine.MaxConns: a burst lengthens it and blocks nobody.
type workerPool struct {
	cfg *config

	mu     sync.Mutex
	wanted seam.Condition // signalled when there is a connection for an idle worker
	queue  []*Conn        // guarded by mu; a ring of length 2^n
	head   int            // guarded by mu; the first connection
	count  int            // guarded by mu; connections in the ring
	idle   int            // guarded by mu; workers that wait
	ended  bool           // guarded by mu
	since  int64          // guarded by mu; all workers are busy, and connections have waited since; 0 when none wait
	crew   *seam.Crew

	// lost is how long connections waited in which nobody looked at them: it counts
	// towards no timeout.
	lost atomic.Int64
}

func newWorkerPool(c *config) *workerPool {
	p := &workerPool{cfg: c, crew: seam.NewCrew(c.Spawn), queue: make([]*Conn, 64)}
	p.wanted = c.Condition(&p.mu)
	return p
}

// start starts n workers.
func (p *workerPool) start(n int) {
	for i := range n {
		s := &scratch{buf: make([]byte, p.cfg.workerRead), vec: make([][]byte, 0, p.cfg.maxVector)}
		p.crew.Go(func() {
			pprof.Do(context.Background(), pprof.Labels("epi_worker", strconv.Itoa(i)), func(context.Context) { p.run(s) })
		})
	}
}

// run works. When a callback ends its goroutine, another goes on.
func (p *workerPool) run(s *scratch) {
	outlive(func() { p.work(s) }, func() {
		s.drop()
		p.crew.Go(func() { p.run(s) })
	})
}

// work is one worker: it takes a connection that is ready, serves it, which
// may block, and gives it back to its loop.
func (p *workerPool) work(s *scratch) {
	for {
		c := p.pop()
		if c == nil {
			return
		}
		c.turn(s)
	}
}

func (p *workerPool) push(c *Conn) {
	p.mu.Lock()
	if p.count == len(p.queue) {
		p.grow()
	}
	p.queue[(p.head+p.count)&(len(p.queue)-1)] = c
	p.count++
	wake := p.idle > 0
	if !wake && p.since == 0 {
		p.since = p.cfg.Clock()
	}
	p.mu.Unlock()
	if wake {
		p.wanted.Signal()
	}
}

// grow doubles the ring. The caller holds mu.
func (p *workerPool) grow() {
	bigger := make([]*Conn, 2*len(p.queue))
	n := copy(bigger, p.queue[p.head:])
	copy(bigger[n:], p.queue[:p.head])
	p.queue, p.head = bigger, 0
}

// pop waits for a connection. It returns nil when the pool has ended.
func (p *workerPool) pop() *Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.count == 0 {
		if p.ended {
			return nil
		}
		p.idle++
		p.wanted.Wait()
		p.idle--
	}
	c := p.queue[p.head]
	p.queue[p.head] = nil
	p.head = (p.head + 1) & (len(p.queue) - 1)
	p.count--
	if p.since != 0 {
		p.noteWait()
	}
	return c
}

// noteWait accounts for the time that the first connection has waited. The caller
// holds mu.
func (p *workerPool) noteWait() {
	now := p.cfg.Clock()
	if late := now - p.since - blink; late > 0 {
		p.lost.Add(late)
	}
	p.since = now
	if p.count == 0 {
		p.since = 0
	}
}

// waiting returns the number of connections that wait for a worker.
func (p *workerPool) waiting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count
}

// stop lets the workers finish what is queued and end.
func (p *workerPool) stop() {
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	p.wanted.Broadcast()
}
