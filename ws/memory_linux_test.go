package ws

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// Messages that are not whole count for Engine.MaxMemory: of those who begin long
// ones and go on no more, some are shed, until the rest is not too much.
func TestHunt17_MessagesUnderWayCountForMaxMemory(t *testing.T) {
	const (
		clients = 10
		each    = 700 << 10
		limit   = 4 << 20
	)
	half := strings.Repeat("x", each)
	rows := map[string]string{
		"half a frame": frame(true, 0, Binary, half+half)[:each],
		"one fragment": frame(false, 0, Binary, half),
	}
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		for name, sends := range rows {
			e := m.Engine()
			e.MaxMemory = limit
			ended := make(chan error, clients)
			s := handled(func() Handler {
				return &funcs{close: func(_ *Conn, err error) { ended <- err }}
			})
			s.MaxMessage = 4 * each
			es := epitest.Start(t, e, s.Serve)
			for range clients {
				client := es.Dial()
				open(t, client, offerLine, "")
				_, _ = io.WriteString(client, sends) // it may be reset in the middle
			}
			if err := epitest.Receive(t, ended); !errors.Is(err, epi.ErrMemory) {
				t.Errorf("%s: OnClose got %v", name, err)
			}
			epitest.WaitUntil(t, name+": the rest is not too much", func() bool {
				return e.Stats().Held <= limit
			})
			if err := es.Stop(); err != nil {
				t.Error(err)
			}
			if held := e.Stats().Held; held != 0 {
				t.Errorf("%s: %d bytes are held after the end", name, held)
			}
		}
	})
}
