package epi

import (
	"net"
	"os"
	"testing"
	"time"
)

// A scripted connection takes so many bytes of each write, and then times out.
type scripted struct {
	net.Conn
	takes []int
}

func (s *scripted) SetWriteDeadline(time.Time) error { return nil }

func (s *scripted) Write(p []byte) (int, error) {
	n := s.takes[0]
	s.takes = s.takes[1:]
	if n < len(p) {
		return n, os.ErrDeadlineExceeded
	}
	return len(p), nil
}

// WriteTimeout is for a peer that takes nothing, not for one that takes little; the
// user's own deadline is for both.
func TestHunt11_DetachedWritesEndWithoutProgress(t *testing.T) {
	const size = 10
	for _, row := range []struct {
		name     string
		takes    []int
		patience time.Duration
		deadline time.Time
		n        int
		fails    bool
	}{
		{"all at once", []int{size}, time.Hour, time.Time{}, size, false},
		{"a little each time", []int{3, 3, 3, size}, time.Hour, time.Time{}, size, false},
		{"a little, then nothing", []int{3, 0}, time.Hour, time.Time{}, 3, true},
		{"nothing", []int{0}, time.Hour, time.Time{}, 0, true},
		{"a little, up to the user's deadline", []int{3}, time.Hour, time.Now(), 3, true},
		{"no timeout", []int{3}, 0, time.Time{}, 3, true},
	} {
		d := &detached{Conn: &scripted{takes: row.takes}, patience: row.patience, deadline: row.deadline}
		n, err := d.Write(make([]byte, size))
		if n != row.n || (err != nil) != row.fails {
			t.Errorf("%s: Write returns %d, %v", row.name, n, err)
		}
	}
}
