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

// TestTLS_HandshakesWaitForOthers dials more than are allowed at once.
func TestTLS_HandshakesWaitForOthers(t *testing.T) {
	const clients = 16
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		server, config := selfSigned(t)
		e := m.Engine()
		e.TLS, e.MaxHandshakes = server, 1
		s := epitest.StartOn(t, e, "tls://127.0.0.1:0", epitest.EchoHandler)
		results := make(chan error, clients)
		for range clients {
			client := tls.Client(s.Dial(), config)
			go func() { results <- client.Handshake() }()
		}
		for range clients {
			if err := epitest.Receive(t, results); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestTLS_ClientCertificates: one that is missing, or of an unknown issuer, is
// refused before the handler hears of the connection.
func TestTLS_ClientCertificates(t *testing.T) {
	known, trusting := selfSigned(t)
	unknown, _ := selfSigned(t)
	rows := []struct {
		name    string
		certs   []tls.Certificate
		refused bool
	}{
		{"known", known.Certificates, false},
		{"missing", nil, true},
		{"of an unknown issuer", unknown.Certificates, true},
	}
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		for _, row := range rows {
			e := m.Engine()
			e.TLS = known.Clone()
			e.TLS.ClientAuth, e.TLS.ClientCAs = tls.RequireAndVerifyClientCert, trusting.RootCAs
			s := epitest.StartOn(t, e, "tls://127.0.0.1:0", epitest.EchoHandler)
			config := trusting.Clone()
			config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				if row.certs == nil {
					return &tls.Certificate{}, nil
				}
				return &row.certs[0], nil
			}
			client := tls.Client(s.Dial(), config)
			if !row.refused {
				epitest.RoundTrip(t, client, "hello")
				continue
			}
			if n, err := client.Read(make([]byte, 1)); err == nil {
				t.Errorf("%s: read %d bytes", row.name, n)
			}
			epitest.WaitUntil(t, row.name+" is refused", func() bool { return e.Stats().Refused == 1 })
		}
	})
}
