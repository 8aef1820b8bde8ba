package stream_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// Info shows a connection as an administrator sees it: its state, what is queued,
// and, of TCP on Linux, what has moved.
func TestInfo_FollowsAConnection(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		before := time.Now()
		opened, closed := make(chan *epi.Conn, 1), make(chan struct{})
		s := epitest.Start(t, e, func(*epi.Conn) epi.Handler {
			return &epitest.FuncsEOF{
				Funcs: epitest.Funcs{
					Open:  func(c *epi.Conn) error { opened <- c; return nil },
					Data:  epitest.Echo,
					Close: func(*epi.Conn, error) { close(closed) },
				},
				EOF: func(*epi.Conn) error { return nil },
			}
		})
		client := s.Dial()
		c := epitest.Receive(t, opened)
		epitest.RoundTrip(t, client, "hello")
		info := c.Info()
		if age := info.Opened.Sub(before); age < -2*time.Second || info.Opened.After(time.Now()) {
			t.Errorf("it was opened at %v, the test began at %v", info.Opened, before)
		}
		if info.State != epi.ConnOpen || info.Paused || info.Congested {
			t.Errorf("an open connection is %+v", info)
		}
		if acknowledged, _ := c.Delivered(); acknowledged > 0 && info.Received != 5 {
			t.Errorf("5 bytes have arrived, not %d", info.Received)
		}
		c.Pause()
		if !c.Info().Paused {
			t.Error("it is not paused")
		}
		c.Resume()
		epitest.CloseWrite(t, client)
		epitest.WaitUntil(t, "it is read-closed", func() bool { return c.Info().State == epi.ConnReadClosed })
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		epitest.ExpectEOF(t, client)
		epitest.Receive(t, closed)
		if end := c.Info(); end.State != epi.ConnClosed || end.State.String() != "closed" || end.Received != 0 {
			t.Errorf("a closed connection is %+v", end)
		}
	})
}

// A value that is none of the constants, as one of a later version is for an older
// program, has a name, too.
func TestNamesOfUnknownValues(t *testing.T) {
	for want, value := range map[string]fmt.Stringer{
		"Cause(200)":     epi.Cause(200),
		"ConnState(200)": epi.ConnState(200),
		"Phase(200)":     epi.Phase(200),
		"reset":          epi.CauseReset,
		"read-closed":    epi.ConnReadClosed,
		"timers":         epi.PhaseTimers,
	} {
		if got := value.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
