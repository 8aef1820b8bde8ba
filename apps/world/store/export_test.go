package store

import (
	"fmt"
	"testing"
)

// LimitPages bounds the size of the file of a SQLite database, as a full disk does.
func (s *SQL) LimitPages(t *testing.T, n int) {
	t.Helper()
	if _, err := s.write.Exec(fmt.Sprintf("PRAGMA max_page_count = %d", n)); err != nil {
		t.Fatal(err)
	}
}

// LoseClaim ends what keeps other servers out, as the end of its connection does.
func (s *SQL) LoseClaim(t *testing.T) {
	t.Helper()
	if err := s.claimed.Close(); err != nil {
		t.Error(err)
	}
	s.claimed = nil
}
