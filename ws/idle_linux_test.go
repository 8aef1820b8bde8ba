package ws

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// Who is closed for its silence is told so by a close frame; who has not asked for a
// WebSocket is just closed.
func TestHunt21_IdlePeerIsToldSo(t *testing.T) {
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		for name, set := range map[string]func(e *epi.Engine){
			"idle": func(e *epi.Engine) { e.IdleTimeout = 50 * time.Millisecond },
			"read": func(e *epi.Engine) { e.ReadTimeout = 50 * time.Millisecond },
		} {
			want := map[string]error{"idle": epi.ErrIdle, "read": epi.ErrReadTimeout}[name]
			s, ended := ends(funcs{})
			e := m.Engine()
			set(e)
			es := epitest.Start(t, e, s.Serve)
			silent := es.Dial()
			if got, err := io.ReadAll(silent); len(got) > 0 || err != nil {
				t.Errorf("%s: without an upgrade the server says %q, %v", name, got, err)
			}
			var r io.Reader
			epitest.WaitUntil(t, "an upgrade is fast enough", func() bool {
				c := es.Dial()
				if _, err := io.WriteString(c, requestLines+"\r\n"); err != nil {
					return false
				}
				r = c
				head := make([]byte, len("HTTP/1.1 101"))
				_, err := io.ReadFull(c, head)
				return err == nil
			})
			all, err := io.ReadAll(r)
			if err != nil || len(all) < 8 || string(all[len(all)-8:]) != "\x88\x06\x03\xe9idle" {
				t.Errorf("%s: the server ends with %q, %v", name, all, err)
			}
			if err := epitest.Receive(t, ended); !errors.Is(err, want) {
				t.Errorf("%s: OnClose got %v", name, err)
			}
			if err := es.Stop(); err != nil {
				t.Error(err)
			}
		}
	})
}
