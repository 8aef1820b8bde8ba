package store

import (
	"context"
	"sync"
	"sync/atomic"
)

const (
	// maxGroup is how many writes are committed together at most.
	maxGroup = 1000
	// maxWaiting bounds the writes that wait. A disk that is far behind is no reason
	// to keep everything in memory.
	maxWaiting = 100_000
)

// A Writer commits writes in groups: what comes while a commit is under way makes
// the next one, so that groups grow with the load and a single write does not wait.
// A Writer has one goroutine while there is something to write, and none otherwise.
type Writer struct {
	store  Store
	sharer atomic.Pointer[Sharer]

	mu      sync.Mutex
	queue   []pending     // guarded by mu
	running bool          // guarded by mu
	closed  bool          // guarded by mu
	idle    chan struct{} // guarded by mu; closed when nothing is left, nil when nobody waits
}

// A pending write waits for its commit.
type pending struct {
	write Write
	done  func(error)
}

// NewWriter returns a writer for a store.
func NewWriter(s Store) *Writer { return &Writer{store: s} }

// A Sharer does writes that are not of this machine alone. Its method may be called from
// any goroutine and must not block.
type Sharer interface {
	// Share does a write, and calls done when it is durable, or with the reason why it is
	// not, or returns false for one that it leaves to the store.
	Share(write Write, done func(error)) bool
}

// Share gives the writes to s first, from now on.
func (w *Writer) Share(s Sharer) { w.sharer.Store(&s) }

// Write queues a write and returns at once. done is called when it is durable, or
// with the reason why it is not: by one goroutine, in the order of the calls of
// Write, but for ErrBusy and ErrClosed, which may come earlier. It must not block,
// and may be nil.
func (w *Writer) Write(write Write, done func(error)) {
	if done == nil {
		done = func(error) {}
	}
	if s := w.sharer.Load(); s == nil || !(*s).Share(write, done) {
		w.WriteHere(write, done)
	}
}

// WriteHere is Write for the store of this machine, without what shares writes with others. done
// must not be nil.
func (w *Writer) WriteHere(write Write, done func(error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed:
		go done(ErrClosed) // never within the call
		return
	case len(w.queue) >= maxWaiting:
		go done(ErrBusy)
		return
	}
	w.queue = append(w.queue, pending{write, done})
	if !w.running {
		w.running = true
		go w.run()
	}
}

// Do queues a write and waits until it is durable. When ctx ends before, the write may
// still come to pass.
func (w *Writer) Do(ctx context.Context, write Write) error {
	done := make(chan error, 1)
	w.Write(write, func(err error) { done <- err })
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Waiting returns how many writes wait to be committed.
func (w *Writer) Waiting() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.queue)
}

// Close waits until everything queued is written. Writes after it fail.
func (w *Writer) Close(ctx context.Context) error {
	w.mu.Lock()
	w.closed = true
	if !w.running {
		w.mu.Unlock()
		return nil
	}
	if w.idle == nil {
		w.idle = make(chan struct{})
	}
	idle := w.idle
	w.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run commits until nothing is left.
func (w *Writer) run() {
	var writes []Write
	for group := w.take(); group != nil; group = w.take() {
		writes = writes[:0]
		for _, p := range group {
			writes = append(writes, p.write)
		}
		results, err := w.store.Apply(context.Background(), writes)
		for i, p := range group {
			switch {
			case err != nil:
				p.done(err)
			case results != nil:
				p.done(results[i])
			default:
				p.done(nil)
			}
		}
	}
}

// take returns what is committed next, nil when nothing is left.
func (w *Writer) take() []pending {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) == 0 {
		w.running = false
		if w.idle != nil {
			close(w.idle)
			w.idle = nil
		}
		return nil
	}
	n := min(len(w.queue), maxGroup)
	group := w.queue[:n:n]
	w.queue = w.queue[n:]
	return group
}
