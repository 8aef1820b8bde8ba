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
