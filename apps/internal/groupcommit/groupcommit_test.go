package groupcommit_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/epinet/epi/apps/internal/groupcommit"
	"github.com/epinet/epi/internal/epitest"
)

func TestMain(m *testing.M) { epitest.Main(m, nil) }

// A gate lets each commit through, with its result.
type gate struct {
	groups chan []int
	result chan error
}

func newGate() gate { return gate{make(chan []int), make(chan error)} }

func (g gate) commit(writes []int) ([]error, error) {
	g.groups <- slices.Clone(writes)
	return nil, <-g.result
}

// next expects a commit of n writes, and returns them.
func (g gate) next(t *testing.T, n int) []int {
	t.Helper()
	group := epitest.Receive(t, g.groups)
	if len(group) != n {
		t.Fatalf("a group has %d writes, want %d", len(group), n)
	}
	return group
}

func none(error) {}

// ended returns a context that is over.
func ended(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

func closeQueue(t *testing.T, q *groupcommit.Queue[int]) {
	t.Helper()
	if err := q.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestGroups: what comes while a commit is under way is one group, so that a disk that is
// slow to synchronise takes as much as one that is not.
func TestGroups(t *testing.T) {
	g := newGate()
	q := groupcommit.New(groupcommit.Config[int]{Commit: g.commit, MaxGroup: 1000, MaxWaiting: 10_000})
	write := func(n int) {
		for range n {
			q.Write(0, none)
		}
	}
	write(1)
	for i, want := range []int{1, 500, 1000, 200} {
		g.next(t, want)
		switch i {
		case 0:
			write(500)
		case 1:
			write(1200)
		}
		g.result <- nil
	}
	closeQueue(t, q)
}

// TestFailure: each write of a group that failed has the reason, and the next is committed.
func TestFailure(t *testing.T) {
	full := errors.New("disk is full")
	g := newGate()
	q := groupcommit.New(groupcommit.Config[int]{Commit: g.commit, MaxGroup: 9, MaxWaiting: 9})
	results := make(chan error, 3)
	done := func(err error) { results <- err }
	q.Hold(1, done)
	q.Write(2, done)
	g.next(t, 2)
	q.Write(3, done)
	g.result <- full
	for i, want := range []error{full, full, nil} {
		if i == 2 {
			g.next(t, 1)
			g.result <- nil
		}
		if err := epitest.Receive(t, results); !errors.Is(err, want) {
			t.Errorf("write %d: %v, want %v", i+1, err, want)
		}
	}
	closeQueue(t, q)
}

// TestBounds: a full queue refuses all but what is forced into it, and a closed one all.
func TestBounds(t *testing.T) {
	g := newGate()
	q := groupcommit.New(groupcommit.Config[int]{Commit: g.commit, MaxGroup: 9, MaxWaiting: 1})
	refused := make(chan error, 1)
	done := func(err error) { refused <- err }
	q.Write(1, none)
	g.next(t, 1)
	q.Write(2, none)
	q.Write(3, done)
	if err := epitest.Receive(t, refused); !errors.Is(err, groupcommit.ErrBusy) {
		t.Errorf("into a full queue: %v", err)
	}
	q.Force(4, none)
	if waiting, busy := q.Counts(); waiting != 2 || busy != 1 {
		t.Errorf("%d wait, %d were refused", waiting, busy)
	}
	if err := q.Close(ended(t)); err == nil {
		t.Error("Close does not wait for the commit")
	}
	q.Force(5, done)
	if err := epitest.Receive(t, refused); !errors.Is(err, groupcommit.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	g.result <- nil
	if group := g.next(t, 2); !slices.Equal(group, []int{2, 4}) {
		t.Errorf("%v was committed", group)
	}
	g.result <- nil
	closeQueue(t, q)
}

// TestWait: a write that is held begins no commit, and a wait for it does; it ends when what is
// before the place was written, whatever comes behind.
func TestWait(t *testing.T) {
	g := newGate()
	q := groupcommit.New(groupcommit.Config[int]{Commit: g.commit, MaxGroup: 9, MaxWaiting: 9})
	if !q.Hold(1, none) {
		t.Fatal("a write is refused")
	}
	place := q.Last()
	if err := q.Wait(ended(t), place); err == nil {
		t.Error("it does not wait for the commit")
	}
	g.next(t, 1)
	q.Write(2, none)
	g.result <- nil
	g.next(t, 1)
	if err := q.Wait(t.Context(), place); err != nil {
		t.Error(err)
	}
	g.result <- nil
	closeQueue(t, q)
}

// TestMore: what More returns goes behind the writes, and has groups of its own while it
// has something.
func TestMore(t *testing.T) {
	g := newGate()
	more := [][]int{{8, 9}, {10}, nil}
	q := groupcommit.New(groupcommit.Config[int]{Commit: g.commit, MaxGroup: 9, MaxWaiting: 9, More: func(int) (group []groupcommit.Entry[int]) {
		for _, n := range more[0] {
			group = append(group, groupcommit.Entry[int]{Write: n, Done: none})
		}
		more = more[min(1, len(more)-1):]
		return group
	}})
	q.Write(1, none)
	for _, want := range [][]int{{1, 8, 9}, {10}} {
		if group := g.next(t, len(want)); !slices.Equal(group, want) {
			t.Errorf("%v was committed, not %v", group, want)
		}
		g.result <- nil
	}
	closeQueue(t, q)
}
