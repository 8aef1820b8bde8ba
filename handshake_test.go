package epi_test

import (
	"crypto/tls"
	"net"
	"testing"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// A trickle writes byte by byte.
type trickle struct{ net.Conn }

func (c trickle) Write(p []byte) (int, error) {
	for i := range p {
		if n, err := c.Conn.Write(p[i : i+1]); err != nil {
			return i + n, err
		}
	}
	return len(p), nil
}

func TestTLS_HandshakeByteByByte(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			s, config := startTLS(t, m, epitest.EchoHandler)
			config.MaxVersion = version
			epitest.RoundTrip(t, tls.Client(trickle{s.Dial()}, config), "hello")
		}
	})
}

func TestTLS_SessionsAreResumed(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			resumed := make(chan bool, 2)
			s, config := startTLS(t, m, func(c *epi.Conn) epi.Handler {
				resumed <- c.TLS().DidResume
				return epitest.EchoHandler(c)
			})
			config.MaxVersion = version
			config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
			for i := range 2 {
				epitest.RoundTrip(t, tls.Client(s.Dial(), config), "hello")
				if did := epitest.Receive(t, resumed); did != (i == 1) {
					t.Errorf("%x: connection %d was resumed: %v", version, i, did)
				}
			}
		}
	})
}
