package fabrictest

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/epinet/epi/apps/chat/fabric"
)

// A Registry is what several nodes have in common, in memory. Unlike a Network it is for
// goroutines: each node has a View.
type Registry struct {
	mu      sync.Mutex
	changed chan struct{}           // guarded by mu; closed when something has changed
	entries map[string]fabric.Entry // guarded by mu
	last    uint64                  // guarded by mu
}

// NewRegistry returns an empty one.
func NewRegistry() *Registry {
	return &Registry{changed: make(chan struct{}), entries: map[string]fabric.Entry{}}
}

// View returns a node's part, which can be cut off from the others.
func (r *Registry) View() *View { return &View{of: r} }

// A View is a node's part of a Registry.
type View struct {
	of   *Registry
	cut  bool                  // guarded by of.mu; nothing goes through
	lose func(key string) Loss // guarded by of.mu; nil: nothing is lost
}

// A Loss is what becomes of a write.
type Loss int

// What can.
const (
	Nothing Loss = iota
	Request      // it is not done
	Answer       // it is done
)

// Lose has writes lost, and answered with fabric.ErrUnavailable: choose is called for each, one at
// a time, and must not call the view.
func (v *View) Lose(choose func(key string) Loss) { v.of.change(func() { v.lose = choose }) }

var _ fabric.Registry = (*View)(nil)

// Cut cuts the node off, or joins it again.
func (v *View) Cut(cut bool) { v.of.change(func() { v.cut = cut }) }

func (r *Registry) change(do func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	do()
	close(r.changed)
	r.changed = make(chan struct{})
}

// Put implements fabric.Registry.
func (v *View) Put(_ context.Context, key string, value []byte, revision uint64) (written uint64, err error) {
	v.of.change(func() {
		loss := Nothing
		if v.lose != nil {
			loss = v.lose(key)
		}
		defer func() {
			if loss == Answer {
				written, err = 0, fabric.ErrUnavailable
			}
		}()
		switch r := v.of; {
		case v.cut, loss == Request:
			err = fabric.ErrUnavailable
		case len(value) > fabric.MaxMessage || len(key) > fabric.MaxKey:
			err = fabric.ErrTooLarge
		case r.entries[key].Revision != revision:
			err = fabric.ErrStale
		default:
			r.last++
			r.entries[key] = fabric.Entry{Key: key, Value: slices.Clone(value), Revision: r.last}
			written = r.last
		}
	})
	return written, err
}

// Last implements fabric.Registry.
func (v *View) Last(context.Context) (uint64, error) {
	v.of.mu.Lock()
	defer v.of.mu.Unlock()
	if v.cut {
		return 0, fabric.ErrUnavailable
	}
	return v.of.last, nil
}

// Watch implements fabric.Registry.
func (v *View) Watch(ctx context.Context, each func([]fabric.Entry) error) error {
	for seen := uint64(0); ; {
		entries, changed := v.since(seen)
		if len(entries) > 0 {
			seen = entries[len(entries)-1].Revision
			if err := each(entries); err != nil {
				return err
			}
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// since returns what was written after a revision, and what is closed when there is more.
func (v *View) since(seen uint64) (entries []fabric.Entry, changed <-chan struct{}) {
	v.of.mu.Lock()
	defer v.of.mu.Unlock()
	if v.cut {
		return nil, v.of.changed
	}
	for _, e := range v.of.entries {
		if e.Revision > seen {
			entries = append(entries, e)
		}
	}
	slices.SortFunc(entries, func(a, b fabric.Entry) int { return cmp.Compare(a.Revision, b.Revision) })
	return entries, v.of.changed
}
