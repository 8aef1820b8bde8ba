package times_test

import (
	"testing"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// TestProgram09_StateOfEachLoop counts what each loop's connections send, without
// a lock, and reads the counts in tasks of the loops.
func TestProgram09_StateOfEachLoop(t *testing.T) {
	const clients, messages = 20, 50
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		if m.Workers > 0 {
			return // callbacks do not run on the loops
		}
		e := m.Engine()
		counts := make([]int, e.Loops)
		s := epitest.Start(t, e, func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{Data: func(c *epi.Conn) error {
				counts[c.Loop().Index()] += len(c.Unread())
				return epitest.Echo(c)
			}}
		})
		for range clients {
			c := s.Dial()
			for range messages {
				epitest.RoundTrip(t, c, "x")
			}
		}
		if n := len(e.Stats().Loops); n != len(counts) {
			t.Fatalf("there are %d loops, not %d", n, len(counts))
		}
		total := 0
		for i := range counts {
			l, err := e.Loop(i)
			if err != nil {
				t.Fatal(err)
			}
			if l.Index() != i {
				t.Errorf("loop %d says that it is loop %d", i, l.Index())
			}
			count := make(chan int, 1)
			if err := l.Do(func() { count <- counts[l.Index()] }); err != nil {
				t.Fatal(err)
			}
			total += epitest.Receive(t, count)
		}
		if total != clients*messages {
			t.Errorf("counted %d bytes, %d were sent", total, clients*messages)
		}
	})
}
