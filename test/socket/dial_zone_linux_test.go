package socket_test

import (
	"context"
	"crypto/tls"
	"net"
	"testing"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// TestHunt14_ZoneIsNotInCertificates dials an address with a zone over TLS: it is
// this machine's own name for the way, and the certificate is for the address.
func TestHunt14_ZoneIsNotInCertificates(t *testing.T) {
	server, client := epitest.Certificates(t)
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		e := m.Engine()
		e.TLS = server
		s := epitest.StartOn(t, e, "tls://[::1]:0", epitest.EchoHandler)
		_, port, err := net.SplitHostPort(s.Addr())
		if err != nil {
			t.Fatal(err)
		}
		config := &tls.Config{RootCAs: client.RootCAs}
		closed := make(chan error, 1)
		_, err = s.Engine.DialWith(context.Background(), "tls://[::1%lo]:"+port, epi.DialOptions{TLS: config}, &epitest.Funcs{
			Open:  func(c *epi.Conn) error { return c.Close() },
			Close: func(_ *epi.Conn, err error) { closed <- err },
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := epitest.Receive(t, closed); err != nil {
			t.Errorf("the connection ends with %v", err)
		}
	})
}
