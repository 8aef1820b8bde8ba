package store

import (
	"path/filepath"
	"testing"
)

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
