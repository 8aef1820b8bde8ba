package stream_test

import (
	"crypto/tls"
	"io"
	"os/exec"
	"testing"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// TestTLS_RenegotiationEndsThatConnectionAlone has openssl ask for it.
func TestTLS_RenegotiationEndsThatConnectionAlone(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed: scripts/install-test-tools installs it")
	}
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		opened, closed := make(chan struct{}, 2), make(chan error, 2)
		s, config := startTLS(t, m, func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{
				Open:  func(*epi.Conn) error { opened <- struct{}{}; return nil },
				Data:  epitest.Echo,
				Close: func(_ *epi.Conn, err error) { closed <- err },
			}
		})
		cmd := exec.CommandContext(t.Context(), openssl, "s_client", "-tls1_2", "-connect", s.Addr())
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		epitest.Receive(t, opened)
		if _, err := io.WriteString(in, "R\n"); err != nil {
			t.Fatal(err)
		}
		if err := epitest.Receive(t, closed); err == nil || err == io.EOF {
			t.Errorf("OnClose got %v", err)
		}
		_ = in.Close()
		_ = cmd.Wait() // it fails, as it should
		epitest.RoundTrip(t, tls.Client(s.Dial(), config), "hello")
	})
}
