package simulation_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
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
	engine *epi.Engine
	peer   *driver.Link
	conn   *epi.Conn
	other  *epi.Conn // of a Pipe
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
	s.engine = e
	seam.Give(e, s.Seams())
	if _, err := e.Listen("tcp://10.0.0.1:1", func(c *epi.Conn) epi.Handler { s.conn = c; return h }); err != nil {
		t.Fatal(err)
	}
	s.Spawn(func() { _ = e.Run(context.Background()) })
	s.peer = s.NewLink(0)
	s.Backlog = append(s.Backlog, s.peer)
	s.settle()
}

// rest lets everything go on until nothing can.
func (s *single) rest() {
	for s.Turn() {
	}
}

// settle lets everything go on that can without time passing.
func (s *single) settle() {
	for {
		can, _ := s.Ready()
		if len(can) == 0 {
			return
		}
		s.Resume(can[s.Choose(len(can))])
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

// eachPipe runs a test with two connections that are given to Pipe, of peers that read
// nothing: each waits for room in the other. closed has the causes in their order.
func eachPipe(t *testing.T, test func(s *single, one, two *driver.Link, closed *[]error)) {
	t.Helper()
	for seed := range uint64(40) {
		s := &single{World: simulation.New(schedule.New(seed, nil))}
		s.Calm = true
		var closed []error
		s.start(t, &epitest.Funcs{
			Open: func(c *epi.Conn) error {
				if s.other == nil {
					s.other = c
					return nil
				}
				return epi.Pipe(s.other, c)
			},
			Close: func(_ *epi.Conn, err error) { closed = append(closed, err) },
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
		test(s, one, two, &closed)
		s.Release()
	}
}

// TestSim_PipeOfTwoThatAreReset has both peers of a Pipe reset their connections when
// each waits for room in the other.
func TestSim_PipeOfTwoThatAreReset(t *testing.T) {
	eachPipe(t, func(s *single, one, two *driver.Link, closed *[]error) {
		one.Break()
		two.Break()
		s.rest()
		if len(*closed) != 2 {
			t.Fatalf("seed %d: %d connections have ended, of two that were reset", s.Run.Seed, len(*closed))
		}
	})
}

// TestSim_PipeWhoseOtherEndCloses has one connection of a Pipe close, and deliver what it
// has to a peer that does not read, while the other waits for room in it: the other
// notices at once that it is reset.
func TestSim_PipeWhoseOtherEndCloses(t *testing.T) {
	eachPipe(t, func(s *single, _, two *driver.Link, closed *[]error) {
		if err := s.other.Close(); err != nil {
			t.Fatal(err)
		}
		two.Break()
		s.settle()
		if len(*closed) != 2 || !errors.Is((*closed)[0], syscall.ECONNRESET) && !errors.Is((*closed)[0], syscall.EPIPE) || (*closed)[1] != epi.ErrAborted {
			t.Fatalf("seed %d: the connections end with %v, want a reset and ErrAborted", s.Run.Seed, *closed)
		}
	})
}

// TestSim_PipeToNobodyThatCloses has the other end close before it is connected.
func TestSim_PipeToNobodyThatCloses(t *testing.T) {
	for seed := range uint64(40) {
		var closed []error
		note := func(_ *epi.Conn, err error) { closed = append(closed, err) }
		s := &single{World: simulation.New(schedule.New(seed, nil))}
		s.Calm = true
		s.World.Dialled = func(driver.Stream, *driver.Link, net.Addr) driver.Answer { return driver.Answer{} }
		s.start(t, &epitest.Funcs{
			Open: func(c *epi.Conn) (err error) {
				s.other, err = s.engine.Dial(context.Background(), "tcp://10.0.0.2:1", &epitest.Funcs{Close: note})
				return errors.Join(err, epi.Pipe(c, s.other))
			},
			Close: note,
		})
		s.peer.In = make([]byte, 300_000)
		s.settle()
		if len(s.peer.In) == 0 {
			t.Fatalf("seed %d: everything has found room", seed)
		}
		_ = s.other.Close()
		s.peer.Break()
		s.settle()
		if len(closed) != 2 || !errors.Is(closed[0], syscall.ECONNRESET) || closed[1] != epi.ErrAborted {
			t.Fatalf("seed %d: the connections end with %v, want a reset and ErrAborted", seed, closed)
		}
		s.Release()
	}
}
