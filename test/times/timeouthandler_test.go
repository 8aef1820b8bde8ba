package times_test

import (
	"errors"
	"testing"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// parting says goodbye to a peer that was silent for too long.
type parting struct {
	epitest.Funcs
	causes chan error
}

func (h *parting) OnTimeout(c *epi.Conn, cause error) {
	h.causes <- cause
	_, _ = c.Write([]byte("bye"))
}

// The handler has a last word to a peer that was silent, once, and it arrives.
func TestHunt21_TimeoutHandler(t *testing.T) {
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		for _, row := range []struct {
			set  func(e *epi.Engine)
			want error
		}{
			{func(e *epi.Engine) { e.IdleTimeout = 20 * time.Millisecond }, epi.ErrIdle},
			{func(e *epi.Engine) { e.ReadTimeout = 20 * time.Millisecond }, epi.ErrReadTimeout},
		} {
			e := m.Engine()
			row.set(e)
			h := &parting{causes: make(chan error, 2)}
			ended := make(chan error, 1)
			h.Close = func(_ *epi.Conn, err error) { ended <- err }
			s := epitest.Start(t, e, func(*epi.Conn) epi.Handler { return h })
			client := s.Dial()
			epitest.Expect(t, client, "bye")
			epitest.ExpectEOF(t, client)
			_ = client.Close()
			if err := epitest.Receive(t, ended); !errors.Is(err, row.want) {
				t.Errorf("OnClose got %v, want %v", err, row.want)
			}
			if err := s.Stop(); err != nil {
				t.Error(err)
			}
			if got := epitest.Receive(t, h.causes); got != row.want || len(h.causes) > 0 {
				t.Errorf("OnTimeout got %v, and %d more", got, len(h.causes))
			}
		}
	})
}
