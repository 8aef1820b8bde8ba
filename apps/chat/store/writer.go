package store

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxGroup is how many writes are committed together at most.
	maxGroup = 1000
	// maxWaiting bounds the writes that wait. A disk that is far behind is no reason
	// to keep everything in memory.
	maxWaiting = 100_000
	// laterPause is how long a write of WriteLater waits for others.
	laterPause = 100 * time.Millisecond
)

// A Writer commits writes in groups: what comes while a commit is under way makes
// the next one, so that groups grow with the load and a single write does not wait.
// A Writer has one goroutine while there is something to write, and none otherwise. What is
// durable elsewhere, and may wait, goes with what others write: see WriteLater.
type Writer struct {
	store  Store
	sharer atomic.Pointer[Sharer]
	pause  time.Duration // laterPause

	mu      sync.Mutex
	queue   []pending     // guarded by mu
	running bool          // guarded by mu
	closed  bool          // guarded by mu
	idle    chan struct{} // guarded by mu; closed when nothing is left, nil when nobody waits
	later   *time.Timer   // guarded by mu; nil: nothing waits for it
	group   int           // guarded by mu; writes that are committed now
	written uint64        // guarded by mu; writes that were committed or refused
	lazy    uint64        // guarded by mu; the latest write of WriteLater, as written counts
	waits   []flush       // guarded by mu
}

// A flush waits until so many writes were written.
type flush struct {
	upTo uint64
	done chan struct{}
}

// A pending write waits for its commit.
type pending struct {
	write Write
	done  func(error)
}

// NewWriter returns a writer for a store.
func NewWriter(s Store) *Writer { return &Writer{store: s, pause: laterPause} }

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
	if w.enqueue(write, done) {
		w.start()
	}
}

// WriteLater is WriteHere for a write that is durable elsewhere and may wait for others, so
// that it costs no commit of its own: by a tenth of a second at most, or until Flush.
func (w *Writer) WriteLater(write Write, done func(error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.enqueue(write, done) {
		return
	}
	w.lazy = w.written + uint64(w.group+len(w.queue))
	if !w.running && w.later == nil {
		w.later = time.AfterFunc(w.pause, func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.start()
		})
	}
}

// enqueue puts a write into the queue, with mu locked, or refuses it.
func (w *Writer) enqueue(write Write, done func(error)) bool {
	switch {
	case w.closed:
		go done(ErrClosed) // never within the call
		return false
	case len(w.queue) >= maxWaiting:
		go done(ErrBusy)
		return false
	}
	w.queue = append(w.queue, pending{write, done})
	return true
}

// start commits what is in the queue, with mu locked.
func (w *Writer) start() {
	if w.later != nil {
		w.later.Stop()
		w.later = nil
	}
	if !w.running && len(w.queue) > 0 {
		w.running = true
		go w.run()
	}
}

// Flush waits until all writes of WriteLater so far are committed: who reads then, reads them,
// too.
func (w *Writer) Flush(ctx context.Context) error {
	w.mu.Lock()
	if w.written >= w.lazy {
		w.mu.Unlock()
		return nil
	}
	f := flush{w.lazy, make(chan struct{})}
	w.waits = append(w.waits, f)
	w.start()
	w.mu.Unlock()
	select {
	case <-f.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
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
	w.start()
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
	w.noteWritten()
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
	w.queue, w.group = w.queue[n:], n
	return group
}

// noteWritten ends the group that is under way, with mu locked.
func (w *Writer) noteWritten() {
	w.written += uint64(w.group)
	w.group = 0
	w.waits = slices.DeleteFunc(w.waits, func(f flush) bool {
		if f.upTo > w.written {
			return false
		}
		close(f.done)
		return true
	})
}
