// Package groupcommit commits writes in groups: what comes while a commit is under way makes
// the next one, so that groups grow with the load and a single write does not wait.
package groupcommit

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
)

var (
	// ErrBusy: as many writes wait as may. The remedy is to try again later.
	ErrBusy = errors.New("too many writes wait: try again later")
	// ErrClosed: the store, or what writes into it, was closed.
	ErrClosed = errors.New("the store is closed")
)

// A Config says what a Queue does.
type Config[W any] struct {
	// Commit does writes in order and in one transaction. It returns a result for each, nil if
	// all were done, or why none of them is kept. Calls do not overlap.
	Commit func(writes []W) ([]error, error)
	// MaxGroup is how many queued writes are committed together at most.
	MaxGroup int
	// MaxWaiting bounds the queue.
	MaxWaiting int
	// More, unless it is nil, returns what is committed behind a group of n queued writes. It is
	// called with the queue's lock held.
	More func(n int) []Entry[W]
}

// An Entry is a write, and what is called with its result.
type Entry[W any] struct {
	Write W
	Done  func(error)
}

// A Queue holds writes until they are committed. It has one goroutine while there is something
// to write, and none otherwise. Its methods may be called from any goroutine.
//
// What is queued has its done called when the write is durable, or with the reason why it is
// not: never within the call, by one goroutine, in the order of the queue, but for ErrBusy and
// ErrClosed, which may come earlier. It must not block.
type Queue[W any] struct {
	config Config[W]

	mu      sync.Mutex
	queue   []Entry[W] // guarded by mu
	added   uint64     // guarded by mu; writes ever queued
	written uint64     // guarded by mu; how many of those were committed or refused
	busy    uint64     // guarded by mu; writes refused with ErrBusy
	running bool       // guarded by mu
	closed  bool       // guarded by mu
	waits   []wait     // guarded by mu
}

// A wait ends when a place was written.
type wait struct {
	place uint64
	done  chan struct{}
}

// atRest is the place that is written when nothing is left.
const atRest = math.MaxUint64

// New returns an empty queue.
func New[W any](c Config[W]) *Queue[W] { return &Queue[W]{config: c} }

// Write queues a write.
func (q *Queue[W]) Write(write W, done func(error)) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.add(write, done, q.config.MaxWaiting) {
		q.start()
	}
}

// Force is Write without the bound.
func (q *Queue[W]) Force(write W, done func(error)) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.add(write, done, math.MaxInt) {
		q.start()
	}
}

// Hold queues a write that begins no commit: it goes with what others write, or with the next
// Start or Wait. It returns false for a write that is refused.
func (q *Queue[W]) Hold(write W, done func(error)) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.add(write, done, q.config.MaxWaiting)
}

// add queues a write, with mu held, or refuses it.
func (q *Queue[W]) add(write W, done func(error), most int) bool {
	switch {
	case q.closed:
		go done(ErrClosed)
		return false
	case len(q.queue) >= most:
		q.busy++
		go done(ErrBusy)
		return false
	}
	q.queue = append(q.queue, Entry[W]{write, done})
	q.added++
	return true
}

// Start commits what is there.
func (q *Queue[W]) Start() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.start()
}

// start has mu held.
func (q *Queue[W]) start() {
	if !q.running {
		q.running = true
		go q.run()
	}
}

// Last returns the place of the latest write in the queue's order.
func (q *Queue[W]) Last() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.added
}

// Wait commits all writes up to that place, and waits until it is done.
func (q *Queue[W]) Wait(ctx context.Context, place uint64) error {
	q.mu.Lock()
	if q.written >= place {
		q.mu.Unlock()
		return nil
	}
	w := wait{place, make(chan struct{})}
	q.waits = append(q.waits, w)
	q.start()
	q.mu.Unlock()
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Do queues a write and waits until write, which is given its done, was called back. When ctx
// ends before, the write may still come to pass.
func Do(ctx context.Context, write func(done func(error))) error {
	done := make(chan error, 1)
	write(func(err error) { done <- err })
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Counts returns how many writes wait in the queue, and how many were refused with ErrBusy.
func (q *Queue[W]) Counts() (waiting int, busy uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.queue), q.busy
}

// Close waits until all that is there is written. Writes after it fail.
func (q *Queue[W]) Close(ctx context.Context) error {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	return q.Wait(ctx, atRest)
}

// run commits until nothing is left.
func (q *Queue[W]) run() {
	var writes []W
	for group := q.take(); group != nil; group = q.take() {
		writes = writes[:0]
		for _, e := range group {
			writes = append(writes, e.Write)
		}
		results, err := q.config.Commit(writes)
		for i, e := range group {
			switch {
			case err != nil:
				e.Done(err)
			case results != nil:
				e.Done(results[i])
			default:
				e.Done(nil)
			}
		}
	}
}

// take returns what is committed next, nil when nothing is left.
func (q *Queue[W]) take() []Entry[W] {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.written = q.added - uint64(len(q.queue))
	q.release(q.written)
	n := min(len(q.queue), q.config.MaxGroup)
	group := q.queue[:n:n]
	q.queue = q.queue[n:]
	if len(q.queue) == 0 {
		q.queue = nil
	}
	if q.config.More != nil {
		group = append(group, q.config.More(n)...)
	}
	if len(group) == 0 {
		q.running = false
		q.release(atRest)
		return nil
	}
	return group
}

// release ends the waits up to a place. It has mu held.
func (q *Queue[W]) release(place uint64) {
	q.waits = slices.DeleteFunc(q.waits, func(w wait) bool {
		if w.place > place {
			return false
		}
		close(w.done)
		return true
	})
}
