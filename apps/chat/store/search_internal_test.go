package store

import (
	"math"
	"path/filepath"
	"slices"
	"testing"
)

// TestIndexForgetsWhatIsGone: the words of a message that was redacted, edited or is past its
// time are not kept in the index.
func TestIndexForgetsWhatIsGone(t *testing.T) {
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "chat.db"), Commit)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() // the end of the test
	said := func(id ID, text string) AddMessage {
		return AddMessage{Message: Message{ID: id, Target: "#c", Command: "PRIVMSG", Source: "a!b@c", Text: text}}
	}
	if _, err := s.Apply(t.Context(), []Write{said(1, "secret one"), said(2, "secret two"), said(3, "secret three"), said(4, "secret four")}); err != nil {
		t.Fatal(err)
	}
	if err := s.WaitIndexed(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		write Write
		left  []ID
	}{
		{RemoveMessage{ID: 4}, []ID{1, 2, 3}},
		{EditMessage{ID: 3, Text: "a better text"}, []ID{1, 2}},
		{RemoveBefore{Target: "#c", Before: 2}, []ID{2}},
		{RemoveBefore{Before: 5}, nil},
	} {
		if _, err := s.Apply(t.Context(), []Write{step.write}); err != nil {
			t.Fatal(err)
		}
		rows, err := s.read.QueryContext(t.Context(), "SELECT rowid FROM words WHERE words MATCH 'secret' ORDER BY rowid")
		if err != nil {
			t.Fatal(err)
		}
		left, err := all(rows, func(scan func(...any) error) (id ID, err error) { return id, scan((*int64)(&id)) })
		if err != nil || !slices.Equal(left, step.left) {
			t.Errorf("after %+v the index has the word in %v, %v; want %v", step.write, left, err, step.left)
		}
	}
}

// TestIndexingLeavesCommitsDurable: the index is fed without waiting for the disk, and what
// is said is not.
func TestIndexingLeavesCommitsDurable(t *testing.T) {
	for durability, want := range map[Durability]int{Commit: 2, Relaxed: 1} { // FULL, NORMAL
		s, err := Open(t.Context(), filepath.Join(t.TempDir(), "chat.db"), durability)
		if err != nil {
			t.Fatal(err)
		}
		m := Message{ID: 1, Target: "#c", Command: "PRIVMSG", Source: "a!b@c", Text: "something to find"}
		if _, err := s.Apply(t.Context(), []Write{AddMessage{Message: m}}); err != nil {
			t.Fatal(err)
		}
		if err := s.WaitIndexed(t.Context()); err != nil {
			t.Fatal(err)
		}
		var got int
		if err := s.write.QueryRowContext(t.Context(), "PRAGMA synchronous").Scan(&got); err != nil || got != want {
			t.Errorf("%s: synchronous is %d, %v; not %d", durability, got, err, want)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestIndexGoesUpToWhatWasThere: a copy with an earlier number than the latest message may still
// come to the index together with others.
func TestIndexGoesUpToWhatWasThere(t *testing.T) {
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "chat.db"), Commit)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() // the end of the test
	s.end()         // it is indexed by the test alone
	<-s.done
	apply := func(writes ...Write) {
		t.Helper()
		if _, err := s.Apply(t.Context(), writes); err != nil {
			t.Fatal(err)
		}
	}
	said := func(id ID) Message {
		return Message{ID: id, Target: "#c", Command: "PRIVMSG", Source: "a!b@c", Text: "something to find"}
	}
	indexed := func(upTo int64, want int64) {
		t.Helper()
		if more, err := s.indexBlock(t.Context(), upTo); more || err != nil {
			t.Fatalf("more: %v, %v", more, err)
		}
		var got int64
		if err := s.read.QueryRowContext(t.Context(), "SELECT id FROM indexed").Scan(&got); err != nil || got != want {
			t.Fatalf("indexed up to %d, %v; want %d", got, err, want)
		}
	}
	apply(AddMessage{said(1)}, AddMessage{said(2)}, AddMessage{said(4)})
	indexed(2, 2)
	indexed(2, 2)
	apply(CopyMessage{said(3)})
	indexed(math.MaxInt64, 4)
	if problems, err := s.Check(t.Context()); err != nil || problems != nil {
		t.Errorf("%q, %v", problems, err)
	}
}
