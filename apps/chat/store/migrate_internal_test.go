package store

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"testing"

	"github.com/epinet/epi/apps/internal/sqlitefile"
)

// TestMigrationsKeepWhatIsFound: a database of each version there was has its history
// after it was opened, and finds what was said in it, indexed or not.
func TestMigrationsKeepWhatIsFound(t *testing.T) {
	for version := 1; version < len(migrations); version++ {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "chat.db")
			old, err := sqlitefile.Open(file, url.Values{})
			if err != nil {
				t.Fatal(err)
			}
			for v := range version {
				if err := migrateTo(t.Context(), old, v+1); err != nil {
					t.Fatal(err)
				}
			}
			for _, statement := range []string{
				"INSERT INTO targets VALUES (1, '#c')",
				`WITH RECURSIVE n (value) AS (VALUES (1) UNION ALL SELECT value + 1 FROM n WHERE value < 20)
					INSERT INTO messages (id, target, command, params, source, sender, account, flags, rank, tags, text, joined, reply, edited)
					SELECT value, 1, 'PRIVMSG', '', 'Ann!a@b', 'ann', 'ann', 0, 0, '', 'word' || value || ' here', '', 0, 0 FROM n`,
				"INSERT INTO words (rowid, text) SELECT id, text FROM messages WHERE id <= 10",
				"UPDATE indexed SET id = 10",
			} {
				if _, err := old.ExecContext(t.Context(), statement); err != nil {
					t.Fatal(err)
				}
			}
			if err := old.Close(); err != nil {
				t.Fatal(err)
			}
			s, err := Open(t.Context(), file, Commit)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close() // what it says is of no interest here
			for range 2 {
				for text, want := range map[string]int{"word7 ": 1, "WORD17": 1, "here": 20, "word21": 0} {
					found, err := s.Search(t.Context(), Search{Targets: []Scope{{Target: "#c"}}, Text: []string{text}, Limit: 50})
					if err != nil || len(found) != want {
						t.Errorf("%q: %d, %v; want %d", text, len(found), err, want)
					}
				}
				if err := s.WaitIndexed(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if problems, err := s.Check(t.Context()); err != nil || problems != nil {
				t.Errorf("%q, %v", problems, err)
			}
			if positions, err := s.Positions(t.Context()); err != nil || len(positions) > 0 {
				t.Errorf("it has read a shared history up to %v, %v", positions, err)
			}
			if upTo, err := s.Shared(t.Context()); !errors.Is(err, ErrNotFound) {
				t.Errorf("it has shared its own up to %v, %v", upTo, err)
			}
			if own, err := s.Own(t.Context(), 0, 50); err != nil || len(own) != 20 {
				t.Errorf("%d messages are its own, %v", len(own), err)
			}
		})
	}
}
