package stream_test

import (
	"crypto/tls"
	"net"
	"testing"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// TestHostile03_HandshakesPerAddress: one client has no part in the places of the
// others.
func TestHostile03_HandshakesPerAddress(t *testing.T) {
	const each = 3
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		server, config := epitest.Certificates(t)
		hello := string(clientHello(t, config))
		e := m.Engine()
		e.TLS, e.MaxHandshakesPerIP, e.HandshakeTimeout = server, each, noHurry
		s := epitest.StartOn(t, e, "tls://127.0.0.1:0", epitest.EchoHandler)
		var silent []net.Conn
		for range each {
			c := s.Dial()
			epitest.Say(t, c, hello)
			if _, err := c.Read(make([]byte, 1)); err != nil { // the handshake has begun
				t.Fatal(err)
			}
			silent = append(silent, c)
		}
		c := s.Dial()
		epitest.Say(t, c, hello)
		if n, err := c.Read(make([]byte, 1)); err == nil {
			t.Errorf("one more reads %d bytes", n)
		}
		epitest.WaitUntil(t, "its end is counted", func() bool {
			st := e.Stats()
			return st.Refused == 1 && st.Causes[epi.CauseHandshake] == 1
		})
		other := epitest.DialListener(t, e, s.Listener, net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}})
		epitest.RoundTrip(t, tls.Client(other, config), "hello")
		_ = silent[0].Close()
		epitest.WaitUntil(t, "the place of one that has gone is free", func() bool {
			return tls.Client(s.Dial(), config).Handshake() == nil
		})
	})
}
