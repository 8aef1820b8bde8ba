package epi_test

import (
	"crypto/tls"
	"errors"
	"testing"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

func TestTLS_W02_HalfCloseThenEightMiB(t *testing.T) {
	data := epitest.Pattern(eightMiB)
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		s, config := startTLS(t, m, func(*epi.Conn) epi.Handler {
			return &epitest.FuncsEOF{EOF: func(c *epi.Conn) error { return errors.Join(c.Send(data), c.Close()) }}
		})
		client := tls.Client(s.Dial(), config)
		epitest.Say(t, client, "that is all")
		epitest.CloseWrite(t, client)
		epitest.ExpectBytes(t, client, data, 64<<10)
		epitest.ExpectEOF(t, client)
	})
}

// TestTLS_DrainSendsWhatIsQueued ends Run while a client has read nothing.
func TestTLS_DrainSendsWhatIsQueued(t *testing.T) {
	data := epitest.Pattern(eightMiB)
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		queued := make(chan struct{})
		s, config := startTLS(t, m, func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{Open: func(c *epi.Conn) error { defer close(queued); return c.Send(data) }}
		})
		client := tls.Client(s.Dial(), config)
		if err := client.Handshake(); err != nil {
			t.Fatal(err)
		}
		epitest.Receive(t, queued)
		s.Cancel()
		epitest.ExpectBytes(t, client, data, 64<<10)
		epitest.ExpectEOF(t, client)
	})
}
