// Package ledger is what all nodes of a chat have in common and keep for good: accounts
// with their credentials, invitations, bans from the server, registered channels, and metadata.
// Each node has a copy in its store, from which it answers; what is written goes to all of them.
//
//	write ──► Share: the entry as it is to be ──► Registry, if nobody was faster
//	                                                 │
//	                 store ◄── in their order ◄──────┘ at every node
//
// An entry is the whole of something, such as an account with all its ways to log in, and
// has a revision. A change is made of the entry as the store has it, and written on
// condition that nobody has written another meanwhile; otherwise it is made again of that.
// So of two who register a name one is refused, wherever they are, and a node that was
// away has what it missed when it has read the latest entries.
//
// The store is written by what the registry says alone, in the order of the revisions, also
// at the node that made the change.
package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/epinet/epi/apps/chat/fabric"
	"github.com/epinet/epi/apps/chat/store"
)

const (
	// writeTimeout bounds a write, with all its tries.
	writeTimeout = 10 * time.Second
	// catchUpTimeout bounds how long somebody waits for what other nodes have written.
	catchUpTimeout = 5 * time.Second
	// retryAfter is the time between two tries to read or write what could not be. In that
	// time after a failure nobody else waits either.
	retryAfter = time.Second
)

// Config is what a Ledger works with.
type Config struct {
	Registry fabric.Registry
	Store    store.Store
	Writer   *store.Writer // of Store; it gives its writes to Ledger.Share first
	// Written is called with what has been written to the store because another entry
	// says so, in the order of the entries, by one goroutine. It may wait. Nil is nobody.
	Written func(store.Write)
	Log     *slog.Logger
}

// A Ledger is a node's part. Its methods may be called from any goroutine.
type Ledger struct {
	config Config
	life   context.Context
	end    context.CancelFunc
	work   sync.WaitGroup

	mu        sync.Mutex
	revisions map[string]uint64        // guarded by mu; of the entries that the store has, by key
	orders    map[string]store.Order   // guarded by mu; of the channels among them
	firsts    map[string]*first        // guarded by mu; by key
	uses      map[string]*use          // guarded by mu; of the invitations that one is made by now, by key
	applied   uint64                   // guarded by mu; the latest of them
	advanced  chan struct{}            // guarded by mu; closed when applied grows
	writing   map[string]chan struct{} // guarded by mu; by key, closed at the end of the last write that waits
	failed    time.Time                // guarded by mu; when the registry did not answer last
	closed    bool                     // guarded by mu
}

// Open begins to follow what other nodes write, and adds what only this one has. It does not
// wait for that.
func Open(config Config) *Ledger {
	l := &Ledger{config: config, revisions: map[string]uint64{}, orders: map[string]store.Order{}, firsts: map[string]*first{}, uses: map[string]*use{}, writing: map[string]chan struct{}{}, advanced: make(chan struct{})}
	if l.config.Written == nil {
		l.config.Written = func(store.Write) {}
	}
	l.life, l.end = context.WithCancel(context.Background())
	l.work.Go(l.follow)
	l.work.Go(l.contribute)
	return l
}

// Close ends what is under way: writes that are not done fail.
func (l *Ledger) Close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.end()
	l.work.Wait()
}

// CatchUp waits until the store has what any node has written before the call. When it
// cannot, what the store has may be old: the error is a fabric.ErrUnavailable.
func (l *Ledger) CatchUp(ctx context.Context) error {
	l.mu.Lock()
	recent := time.Since(l.failed) < retryAfter
	l.mu.Unlock()
	if recent {
		return fabric.ErrUnavailable
	}
	ctx, cancel := context.WithTimeout(ctx, catchUpTimeout)
	defer cancel()
	err := l.catchUp(ctx)
	if err == nil || !errors.Is(err, fabric.ErrUnavailable) {
		return err
	}
	l.mu.Lock()
	l.failed = time.Now()
	l.mu.Unlock()
	return err
}

func (l *Ledger) catchUp(ctx context.Context) error {
	last, err := l.config.Registry.Last(ctx)
	if err != nil {
		return err
	}
	return l.await(ctx, last)
}

// await waits until the store has a revision, and all before it.
func (l *Ledger) await(ctx context.Context, revision uint64) error {
	for {
		l.mu.Lock()
		applied, advanced := l.applied, l.advanced
		l.mu.Unlock()
		if applied >= revision {
			return nil
		}
		select {
		case <-advanced:
		case <-ctx.Done():
			return fmt.Errorf("%w: what other nodes have written does not come: %w", fabric.ErrUnavailable, ctx.Err())
		case <-l.life.Done():
			return store.ErrClosed
		}
	}
}

func (l *Ledger) revision(key string) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.revisions[key]
}

// order returns the place of a channel's entry among those that there were, zero for none.
func (l *Ledger) order(key string) store.Order {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.orders[key]
}

// pause returns false at once when the ledger is closed.
func (l *Ledger) pause() bool {
	select {
	case <-time.After(retryAfter):
		return true
	case <-l.life.Done():
		return false
	}
}

// follow writes to the store what the registry says.
func (l *Ledger) follow() {
	for {
		err := l.config.Registry.Watch(l.life, l.apply)
		if l.life.Err() != nil {
			return
		}
		l.config.Log.Warn("what other nodes keep does not come: it is asked for again", "error", err)
		if !l.pause() {
			return
		}
	}
}

// apply writes entries to the store, in their order. After an error they come again.
func (l *Ledger) apply(entries []fabric.Entry) error {
	var (
		wrote   []store.Write
		results = make(chan error, len(entries))
		latest  = map[string]uint64{}
	)
	for _, e := range entries {
		latest[e.Key] = e.Revision
	}
	for _, e := range entries {
		if e.Revision != latest[e.Key] || e.Revision <= l.revision(e.Key) {
			continue
		}
		write, err := l.writeOf(e)
		if err != nil {
			return err
		}
		if write == nil {
			continue
		}
		wrote = append(wrote, write)
		l.config.Writer.WriteHere(write, func(err error) { results <- err })
	}
	var failed error
	for range wrote {
		if err := <-results; err != nil && !errors.Is(err, store.ErrNotFound) { // a removal of what is not there
			failed = err
		}
	}
	if failed != nil {
		return fmt.Errorf("write to the store: %w", failed)
	}
	for _, write := range wrote {
		l.config.Written(write)
	}
	l.advance(entries, latest)
	return nil
}

func (l *Ledger) advance(entries []fabric.Entry, latest map[string]uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for key, revision := range latest {
		l.revisions[key] = max(l.revisions[key], revision)
	}
	for _, e := range entries {
		l.applied = max(l.applied, e.Revision)
		if e.Revision == l.revisions[e.Key] {
			l.note(e)
		}
	}
	close(l.advanced)
	l.advanced = make(chan struct{})
}

// note notes what no store has of an entry. l.mu is held.
func (l *Ledger) note(e fabric.Entry) {
	isChannel, isFirst, isInvitation := strings.HasPrefix(e.Key, channelPrefix), strings.HasPrefix(e.Key, firstPrefix), strings.HasPrefix(e.Key, invitationPrefix)
	if !isChannel && !isFirst && !isInvitation {
		return
	}
	var s state
	_ = json.Unmarshal(e.Value, &s) // writeOf has said so if it cannot be read
	switch {
	case isChannel:
		l.orders[e.Key] = s.order()
	case isFirst:
		l.firsts[e.Key] = s.First
	case s.Use == nil:
		delete(l.uses, e.Key)
	default:
		l.uses[e.Key] = s.Use
		l.finishLater(e.Key, s.Use)
	}
}

// first returns who was about to make the first account of a role last, nil for nobody.
func (l *Ledger) first(key string) *first {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.firsts[key]
}

// contribute adds what the store has and the registry has not: of a chat that was on one
// machine before.
func (l *Ledger) contribute() {
	for {
		err := l.catchUp(l.life)
		if err == nil {
			err = l.addMissing()
		}
		if err == nil || l.life.Err() != nil {
			return
		}
		l.config.Log.Warn("what this node keeps is not known to the others yet", "error", err)
		if !l.pause() {
			return
		}
	}
}

func (l *Ledger) addMissing() error {
	var missing []string
	add := func(key string) {
		if l.revision(key) == 0 {
			missing = append(missing, key)
		}
	}
	if err := l.eachKey(add); err != nil {
		return err
	}
	for _, key := range missing {
		err := l.change(l.life, key, func(now *state) (*state, error) {
			if now == nil {
				return nil, store.ErrNotFound
			}
			return now, nil
		})
		if err != nil && !errors.Is(err, store.ErrNotFound) { // it was removed meanwhile
			return err
		}
	}
	return nil
}

// eachKey calls fn for the keys of what the store has and all nodes are to have.
func (l *Ledger) eachKey(fn func(key string)) error {
	bans, err := l.config.Store.Bans(l.life)
	if err != nil {
		return err
	}
	for _, b := range bans {
		fn(banKey(b.Mask))
	}
	data, err := l.config.Store.Metadata(l.life, "")
	if err != nil {
		return err
	}
	for i := range data {
		fn(datumKey(&data[i]))
	}
	err = l.config.Store.Channels(l.life, func(c store.Channel) error { fn(channelKey(c.Name)); return nil })
	if err != nil {
		return err
	}
	return l.config.Store.Accounts(l.life, func(a store.Account) error { fn(accountKey(a.Name)); return nil })
}

// change makes a new entry of the one that the store has, nil for none, and returns when the
// store has that. An error of the function counts when the store has what other nodes have
// written; that what it makes is not of an old one, Put sees to.
func (l *Ledger) change(ctx context.Context, key string, change func(now *state) (*state, error)) error {
	for caughtUp := false; ; caughtUp = true {
		revision := l.revision(key) // first: what the store has is not older
		now, err := l.read(ctx, key)
		if err != nil {
			return err
		}
		next, refused := change(now)
		if refused != nil && caughtUp {
			return refused
		}
		if refused == nil {
			written, err := l.write(ctx, key, next, revision)
			switch {
			case err == nil:
				return l.await(ctx, written)
			case !errors.Is(err, fabric.ErrStale):
				return err
			}
		}
		if err := l.catchUp(ctx); err != nil {
			return err
		}
	}
}

func (l *Ledger) write(ctx context.Context, key string, s *state, revision uint64) (uint64, error) {
	value, err := s.encode()
	if err != nil {
		return 0, err
	}
	return l.config.Registry.Put(ctx, key, value, revision)
}
