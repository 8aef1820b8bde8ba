package simulation_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"syscall"
	"testing"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/driver"
	"github.com/epinet/epi/internal/epitest"
	"github.com/epinet/epi/internal/schedule"
	"github.com/epinet/epi/internal/seam"
	"github.com/epinet/epi/internal/simulation"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A single is one connection of an engine in a world where nothing goes wrong but what
// the test does.
type single struct {
	*simulation.World
	peer  *driver.Link
	conn  *epi.Conn
	other *epi.Conn // of a Pipe
}

// eachSeed runs a test with a few seeds: whether a send is pending, say, is the world's
// choice.
func eachSeed(t *testing.T, handler func() epi.Handler, test func(*single)) {
	t.Helper()
	for seed := range uint64(40) {
		s := &single{World: simulation.New(schedule.New(seed, nil))}
		s.Calm = true
		s.start(t, handler())
		test(s)
		s.Release()
	}
}

func (s *single) start(t *testing.T, h epi.Handler) {
	t.Helper()
	e := &epi.Engine{Loops: 1, Driver: epi.DriverPortable, Logger: slog.New(slog.DiscardHandler)}
	seam.Give(e, s.Seams())
	if _, err := e.Listen("tcp://10.0.0.1:1", func(c *epi.Conn) epi.Handler { s.conn = c; return h }); err != nil {
		t.Fatal(err)
	}
	s.Spawn(func() { _ = e.Run(context.Background()) })
	s.peer = s.NewLink(0)
	s.Backlog = append(s.Backlog, s.peer)
	s.rest()
}

// rest lets everything go on until nothing can.
func (s *single) rest() {
	for s.Turn() {
	}
}

func (s *single) send(text string) { s.peer.In = append(s.peer.In, text...) }

// TestSim_ResetWhilePaused has a write fail, of a connection that has paused, when the
// peer's reset has been noticed: what came before the reset is shown after Resume.
func TestSim_ResetWhilePaused(t *testing.T) {
	var shown string
	var cause error
	eachSeed(t, func() epi.Handler {
		shown, cause = "", nil
		return &epitest.Funcs{
			Data: func(c *epi.Conn) error {
				shown += string(c.Take(len(c.Unread())))
				return c.Expect(10)
			},
			Close: func(_ *epi.Conn, err error) { cause = err },
		}
	}, func(s *single) {
		s.send("one")
		s.rest()
		s.send("two")
		s.rest()
		s.conn.Pause()
		s.peer.Break()
		if _, err := s.conn.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		s.rest()
		s.conn.Resume()
		s.rest()
		if want := "onetwo"; shown != want {
			t.Fatalf("seed %d: OnData was shown %q, want %q", s.Run.Seed, shown, want)
		}
		if cause == nil || cause == io.EOF || !errors.Is(cause, syscall.EPIPE) && !errors.Is(cause, syscall.ECONNRESET) {
			t.Fatalf("seed %d: OnClose was called with %v", s.Run.Seed, cause)
		}
	})
}

// TestSim_ResumeEndsExpect has what is expected arrive while the connection is paused:
// it holds for the OnData behind Resume, and no longer.
func TestSim_ResumeEndsExpect(t *testing.T) {
	var shown []string
	eachSeed(t, func() epi.Handler {
		shown = nil
		return &epitest.Funcs{Data: func(c *epi.Conn) error {
			shown = append(shown, string(c.Unread()))
			if len(shown) == 1 {
				c.Discard(1)
				return c.Expect(6)
			}
			c.Discard(len(c.Unread()) - 3)
			return nil
		}}
	}, func(s *single) {
		s.send("1")
		s.rest()
		s.conn.Pause()
		s.send("twothree")
		s.rest()
		s.conn.Resume()
		s.rest()
		s.send("!")
		s.rest()
		if len(shown) < 2 || shown[len(shown)-1] != "ree!" {
			t.Fatalf("seed %d: OnData was shown %q, want what is left and one byte more at the end", s.Run.Seed, shown)
		}
	})
}

// TestSim_PipeOfTwoThatAreReset has both peers of a Pipe reset their connections when
// each waits for room in the other.
func TestSim_PipeOfTwoThatAreReset(t *testing.T) {
	for seed := range uint64(40) {
		s := &single{World: simulation.New(schedule.New(seed, nil))}
		s.Calm = true
		closed := 0
		s.start(t, &epitest.Funcs{
			Open: func(c *epi.Conn) error {
				if s.other == nil {
					s.other = c
					return nil
				}
				return epi.Pipe(s.other, c)
			},
			Close: func(*epi.Conn, error) { closed++ },
		})
		one, two := s.peer, s.NewLink(1)
		s.Backlog = append(s.Backlog, two)
		s.rest()
		for _, l := range []*driver.Link{one, two} {
			l.In = make([]byte, 300_000)
		}
		s.rest()
		if len(one.In) == 0 || len(two.In) == 0 {
			t.Fatalf("seed %d: everything has found room", seed)
		}
		one.Break()
		two.Break()
		s.rest()
		if closed != 2 {
			t.Fatalf("seed %d: %d connections have ended, of two that were reset", seed, closed)
		}
		s.Release()
	}
}
