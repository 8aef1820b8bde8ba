package store

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/epinet/epi/internal/epitest"
)

// groups notes how many writes each commit of a store has.
type groups struct {
	Store

	mu    sync.Mutex
	sizes []int // guarded by mu
}

func (g *groups) Apply(ctx context.Context, writes []Write) ([]error, error) {
	g.mu.Lock()
	g.sizes = append(g.sizes, len(writes))
	g.mu.Unlock()
	return g.Store.Apply(ctx, writes)
}

func (g *groups) committed() []int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.sizes)
}

// TestWriteLater: copies go with what is written for another reason, and without that when
// somebody is to read them, at the end, and after the pause.
func TestWriteLater(t *testing.T) {
	t.Parallel()
	for name, commit := range map[string]func(t *testing.T, w *Writer, last chan error){
		"a write": func(t *testing.T, w *Writer, _ chan error) {
			done := make(chan error, 1)
			w.Write(AddMessage{Message{ID: 4}}, func(err error) { done <- err })
			if err := epitest.Receive(t, done); err != nil {
				t.Error(err)
			}
		},
		"a flush": func(t *testing.T, w *Writer, _ chan error) {
			if err := w.Flush(t.Context()); err != nil {
				t.Error(err)
			}
		},
		"the end": func(t *testing.T, w *Writer, _ chan error) {
			if err := w.Close(t.Context()); err != nil {
				t.Error(err)
			}
		},
		"the pause": func(t *testing.T, w *Writer, last chan error) {
			w.mu.Lock()
			w.later.Reset(time.Nanosecond)
			w.mu.Unlock()
			if err := epitest.Receive(t, last); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := &groups{Store: NewMemory()}
			w := NewWriter(g)
			w.pause = time.Hour
			if err := w.Flush(t.Context()); err != nil {
				t.Errorf("a flush of nothing: %v", err)
			}
			last := make(chan error, 3)
			for id := range ID(3) {
				w.WriteLater(CopyMessage{Message{ID: id + 1}}, func(err error) { last <- err })
			}
			if sizes := g.committed(); len(sizes) > 0 {
				t.Errorf("before anything asks for it, there were commits of %v", sizes)
			}
			commit(t, w, last)
			want := []int{3}
			if name == "a write" {
				want = []int{4}
			}
			if sizes := g.committed(); !slices.Equal(sizes, want) {
				t.Errorf("there were commits of %v, not of %v", sizes, want)
			}
			if err := w.Flush(t.Context()); err != nil {
				t.Errorf("a flush after all was written: %v", err)
			}
			if err := w.Close(t.Context()); err != nil {
				t.Error(err)
			}
			if len(g.committed()) != 1 {
				t.Errorf("what was written is written again: %v", g.committed())
			}
		})
	}
}

// TestFlushWaitsForTheGroupUnderWay: what a commit took along is there only after it.
func TestFlushWaitsForTheGroupUnderWay(t *testing.T) {
	t.Parallel()
	s := &stalled{Store: NewMemory(), began: make(chan struct{}), goOn: make(chan struct{})}
	w := NewWriter(s)
	w.pause = time.Hour
	w.WriteLater(CopyMessage{Message{ID: 1, Target: "#c"}}, func(error) {})
	w.Write(AddMessage{Message{ID: 2, Target: "#c"}}, nil)
	flushes(t, w, s)
}

// TestFlushWaitsForWhatWasShown: where history is relaxed, what is said is shown before it is
// committed, and who has seen it finds it.
func TestFlushWaitsForWhatWasShown(t *testing.T) {
	t.Parallel()
	s := &stalled{Store: NewMemory(), began: make(chan struct{}), goOn: make(chan struct{})}
	w := NewWriter(s)
	w.Write(AddMessage{Message{ID: 1, Target: "#c"}}, nil)
	flushes(t, w, s)
}

// flushes has a Flush wait for the commit that a stalled store has begun, and finds message 1 behind it.
func flushes(t *testing.T, w *Writer, s *stalled) {
	t.Helper()
	epitest.Receive(t, s.began)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.Flush(ended); err == nil {
		t.Error("it does not wait for the commit")
	}
	close(s.goOn)
	if err := w.Flush(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := s.Message(t.Context(), 1); err != nil {
		t.Error(err)
	}
	if err := w.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// A stalled store's first commit waits.
type stalled struct {
	Store
	began, goOn chan struct{}
}

func (s *stalled) Apply(ctx context.Context, writes []Write) ([]error, error) {
	s.began <- struct{}{}
	<-s.goOn
	return s.Store.Apply(ctx, writes)
}
