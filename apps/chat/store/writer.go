package store

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/epinet/epi/apps/internal/groupcommit"
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

// A Writer commits writes in groups. What is durable elsewhere, and may wait, goes with what
// others write: see WriteLater.
type Writer struct {
	queue  *groupcommit.Queue[Write]
	sharer atomic.Pointer[Sharer]
	pause  time.Duration // laterPause

	mu    sync.Mutex
	later *time.Timer // guarded by mu; starts the queue; nil: no write of WriteLater needs it
}

// NewWriter returns a writer for a store.
func NewWriter(s Store) *Writer {
	return &Writer{pause: laterPause, queue: groupcommit.New(groupcommit.Config[Write]{
		Commit: func(writes []Write) ([]error, error) {
			return s.Apply(context.Background(), writes)
		},
		MaxGroup: maxGroup, MaxWaiting: maxWaiting,
	})}
}

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
func (w *Writer) WriteHere(write Write, done func(error)) { w.queue.Write(write, done) }

// WriteLater is WriteHere for a write that is durable elsewhere and may wait for others, so
// that it costs no commit of its own: by a tenth of a second at most, or until Flush.
func (w *Writer) WriteLater(write Write, done func(error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.queue.Hold(write, done) && w.later == nil {
		w.later = time.AfterFunc(w.pause, w.start)
	}
}

// start commits what waits for the timer.
func (w *Writer) start() {
	w.mu.Lock()
	w.later = nil
	w.mu.Unlock()
	w.queue.Start()
}

// Flush waits until all writes that are queued are committed: who reads then, reads them, too.
// They may have been shown before, those of WriteLater and, where history is relaxed, all.
func (w *Writer) Flush(ctx context.Context) error { return w.queue.Wait(ctx, w.queue.Last()) }

// Do queues a write and waits until it is durable. When ctx ends before, the write may
// still come to pass.
func (w *Writer) Do(ctx context.Context, write Write) error {
	return groupcommit.Do(ctx, func(done func(error)) { w.Write(write, done) })
}

// Waiting returns how many writes wait to be committed.
func (w *Writer) Waiting() int {
	waiting, _ := w.queue.Counts()
	return waiting
}

// Close waits until everything queued is written. Writes after it fail.
func (w *Writer) Close(ctx context.Context) error { return w.queue.Close(ctx) }
