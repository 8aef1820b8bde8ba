package store

import (
	"context"
	"sync"
	"time"
)

const (
	// maxGroup is how many writes are committed together at most: fewer than take
	// 20 ms.
	maxGroup = 256
	// MaxWaiting bounds the writes that wait. What comes above it is refused with
	// ErrBusy.
	MaxWaiting = 10_000
	// patience bounds a commit; a database that is stopped for seconds is waited for.
	patience = 30 * time.Second
)

// A Writer commits writes in groups: what comes while a commit is under way makes
// the next one, so that groups grow with the load and a single write does not wait.
// Snapshots of characters wait behind everything else, and a newer one takes the
// place of an older one that still waits: there is never more than one a character.
// A Writer has one goroutine while there is something to write, and none otherwise.
type Writer struct {
	store Store

	mu      sync.Mutex
	queue   []pending       // guarded by mu
	saves   map[int64]Save  // guarded by mu; by character
	turn    []int64         // guarded by mu; characters of saves, the first in front
	running bool            // guarded by mu
	closed  bool            // guarded by mu
	idle    chan struct{}   // guarded by mu; closed when nothing is left, nil when nobody waits
	stats   WriterStats     // guarded by mu
	failed  func(err error) // called for saves that a store could not keep
}

// A pending write waits for its commit.
type pending struct {
	write Write
	done  func(error)
}

// WriterStats are the counters of a Writer since its start.
type WriterStats struct {
	Waiting   int    // writes
	Saves     int    // snapshots that wait
	Commits   uint64 // groups
	Written   uint64 // writes and snapshots in them
	Failed    uint64 // groups that the store could not commit
	Busy      uint64 // writes refused because too many waited
	Committed time.Duration
	Longest   time.Duration // of the commits
}

// NewWriter returns a writer for a store. failed is called with the reason when a
// snapshot could not be kept, by the writer's goroutine; it may be nil.
func NewWriter(s Store, failed func(error)) *Writer {
	if failed == nil {
		failed = func(error) {}
	}
	return &Writer{store: s, saves: map[int64]Save{}, failed: failed}
}

// Write queues a write and returns at once. done is called when it lasts, or with the
// reason why it does not: never within the call, by one goroutine, in the order of the
// calls of Write, but for ErrBusy and ErrClosed, which may come earlier. It must not
// block, and may be nil. A world's server has it call Loop.Do.
func (w *Writer) Write(write Write, done func(error)) {
	if done == nil {
		done = func(error) {}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed:
		go done(ErrClosed)
		return
	case len(w.queue) >= MaxWaiting:
		w.stats.Busy++
		go done(ErrBusy)
		return
	}
	w.queue = append(w.queue, pending{write, done})
	w.start()
}

// Save queues a snapshot. It is never busy: see Writer. Snapshots of one character
// must come in the order of epochs and versions.
func (w *Writer) Save(s Save) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	if _, waits := w.saves[s.Character]; !waits {
		w.turn = append(w.turn, s.Character)
	}
	w.saves[s.Character] = s
	w.start()
}

// SaveLast queues the last snapshot of a session: unlike Save in the order of Write, so
// that who comes back after Flush finds it. It is never busy.
func (w *Writer) SaveLast(s Save) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	delete(w.saves, s.Character)
	w.queue = append(w.queue, pending{s, w.saved})
	w.start()
}

// Flush waits until everything is written that was queued before by Write and SaveLast.
func (w *Writer) Flush(ctx context.Context) error {
	if w.atRest() {
		return nil
	}
	return w.Do(ctx, nothing{})
}

func (w *Writer) atRest() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.running
}

// start has mu held.
func (w *Writer) start() {
	if !w.running {
		w.running = true
		go w.run()
	}
}

// Do queues a write and waits until it lasts. When ctx ends before, the write may
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

// Stats may be called from any goroutine.
func (w *Writer) Stats() WriterStats {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.stats
	s.Waiting, s.Saves = len(w.queue), len(w.saves)
	return s
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
	for group := w.take(); group != nil; group = w.take() {
		w.commit(group)
	}
}

func (w *Writer) commit(group []pending) {
	writes := make([]Write, 0, len(group))
	for _, p := range group {
		writes = append(writes, p.write)
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	results, err := w.store.Apply(ctx, writes)
	cancel()
	w.count(len(group), time.Since(began), err)
	for i, p := range group {
		if err != nil {
			p.done(err)
			continue
		}
		p.done(results[i])
	}
}

func (w *Writer) count(writes int, took time.Duration, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stats.Committed += took
	w.stats.Longest = max(w.stats.Longest, took)
	if err != nil {
		w.stats.Failed++
		return
	}
	w.stats.Commits++
	w.stats.Written += uint64(writes)
}

// take returns what is committed next, nil when nothing is left.
func (w *Writer) take() []pending {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := min(len(w.queue), maxGroup)
	group := w.queue[:n:n]
	w.queue = w.queue[n:]
	if len(w.queue) == 0 {
		w.queue = nil
	}
	// Snapshots have at least a quarter of each group, so that they are never left
	// behind.
	for room := max(maxGroup-n, maxGroup/4); room > 0 && len(w.turn) > 0; room-- {
		id := w.turn[0]
		w.turn = w.turn[1:]
		save, waits := w.saves[id]
		if !waits {
			continue
		}
		group = append(group, pending{save, w.saved})
		delete(w.saves, id)
	}
	if len(group) == 0 {
		w.running, w.turn = false, nil
		if w.idle != nil {
			close(w.idle)
			w.idle = nil
		}
		return nil
	}
	return group
}

func (w *Writer) saved(err error) {
	if err != nil {
		w.failed(err)
	}
}
