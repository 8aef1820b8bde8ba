package store

import (
	"context"
	"sync"
	"time"

	"github.com/epinet/epi/apps/internal/groupcommit"
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

// A Writer commits writes in groups. Snapshots of characters wait behind everything else,
// and a newer one takes the place of an older one that still waits: there is never more
// than one a character.
type Writer struct {
	store  Store
	queue  *groupcommit.Queue[Write]
	failed func(Save, error) // called for snapshots that the store could not keep

	mu    sync.Mutex
	saves map[int64]Save // guarded by mu; by character
	turn  []int64        // guarded by mu; characters of saves, the first in front
	stats WriterStats    // guarded by mu; but for what the queue counts
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

// NewWriter returns a writer for a store. failed is called with a snapshot that could not be
// kept and the reason, by the writer's goroutine; it may be nil.
func NewWriter(s Store, failed func(Save, error)) *Writer {
	if failed == nil {
		failed = func(Save, error) {}
	}
	w := &Writer{store: s, saves: map[int64]Save{}, failed: failed}
	w.queue = groupcommit.New(groupcommit.Config[Write]{
		Commit: w.commit, MaxGroup: maxGroup, MaxWaiting: MaxWaiting, More: w.snapshots,
	})
	return w
}

// Write queues a write and returns at once. done is called when it lasts, or with the
// reason why it does not: never within the call, by one goroutine, in the order of the
// calls of Write, but for ErrBusy and ErrClosed, which may come earlier. It must not
// block, and may be nil. A world's server has it call Loop.Do.
func (w *Writer) Write(write Write, done func(error)) {
	if done == nil {
		done = func(error) {}
	}
	w.queue.Write(write, done)
}

// Save queues a snapshot. It is never busy: see Writer. Snapshots of one character
// must come in the order of epochs and versions.
func (w *Writer) Save(s Save) {
	w.mu.Lock()
	if _, waits := w.saves[s.Character]; !waits {
		w.turn = append(w.turn, s.Character)
	}
	w.saves[s.Character] = s
	w.mu.Unlock()
	w.queue.Start()
}

// SaveLast queues the last snapshot of a session: unlike Save in the order of Write, so
// that who comes back after Flush finds it. It is never busy.
func (w *Writer) SaveLast(s Save) {
	w.mu.Lock()
	delete(w.saves, s.Character)
	w.mu.Unlock()
	w.queue.Force(s, w.saved(s))
}

// Flush waits until everything is written that was queued before by Write and SaveLast.
func (w *Writer) Flush(ctx context.Context) error { return w.queue.Wait(ctx, w.queue.Last()) }

// Do queues a write and waits until it lasts. When ctx ends before, the write may
// still come to pass.
func (w *Writer) Do(ctx context.Context, write Write) error {
	return groupcommit.Do(ctx, func(done func(error)) { w.Write(write, done) })
}

// Stats may be called from any goroutine.
func (w *Writer) Stats() WriterStats {
	waiting, busy := w.queue.Counts()
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.stats
	s.Waiting, s.Busy, s.Saves = waiting, busy, len(w.saves)
	return s
}

// Close waits until everything queued is written. Writes after it fail.
func (w *Writer) Close(ctx context.Context) error { return w.queue.Close(ctx) }

// commit is called by the queue.
func (w *Writer) commit(writes []Write) ([]error, error) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	results, err := w.store.Apply(ctx, writes)
	w.count(len(writes), time.Since(began), err)
	return results, err
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

// snapshots returns those that go with a group of n writes: a quarter of each group at least,
// so that they are never left behind.
func (w *Writer) snapshots(n int) (group []groupcommit.Entry[Write]) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for room := max(maxGroup-n, maxGroup/4); room > 0 && len(w.turn) > 0; room-- {
		id := w.turn[0]
		w.turn = w.turn[1:]
		save, waits := w.saves[id]
		if !waits {
			continue
		}
		group = append(group, groupcommit.Entry[Write]{Write: save, Done: w.saved(save)})
		delete(w.saves, id)
	}
	return group
}

// saved returns what is called with the result of a snapshot.
func (w *Writer) saved(s Save) func(error) {
	return func(err error) {
		if err != nil {
			w.failed(s, err)
		}
	}
}
