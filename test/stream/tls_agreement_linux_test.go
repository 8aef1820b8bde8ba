package stream_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// TestTLS_ALPN: both sides know what was agreed on, and a client that can
// nothing of what the server wants is refused.
func TestTLS_ALPN(t *testing.T) {
	rows := []struct {
		name   string
		offers []string
		want   string
		fails  bool
	}{
		{"agreed", []string{"two", "one"}, "one", false},
		{"not asked for", nil, "", false},
		{"refused", []string{"three"}, "", true},
	}
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		server, trusting := epitest.Certificates(t)
		server.NextProtos = []string{"one"}
		e := m.Engine()
		e.TLS = server
		agreed := make(chan string, len(rows))
		s := epitest.StartOn(t, e, "tls://127.0.0.1:0", func(c *epi.Conn) epi.Handler {
			agreed <- c.TLS().NegotiatedProtocol
			return epitest.EchoHandler(c)
		})
		for _, row := range rows {
			config := trusting.Clone()
			config.NextProtos = row.offers
			client := tls.Client(s.Dial(), config)
			if err := client.Handshake(); (err != nil) != row.fails {
				t.Fatalf("%s: the handshake ended with %v", row.name, err)
			}
			if row.fails {
				epitest.WaitUntil(t, row.name, func() bool { return e.Stats().Refused == 1 })
				continue
			}
			epitest.RoundTrip(t, client, "hello")
			if got := epitest.Receive(t, agreed); got != row.want || client.ConnectionState().NegotiatedProtocol != row.want {
				t.Errorf("%s: the server agreed on %q, the client on %q, want %q",
					row.name, got, client.ConnectionState().NegotiatedProtocol, row.want)
			}
		}
		if len(agreed) > 0 {
			t.Error("the handler got a connection that was refused")
		}
	})
}

// TestTLS_CertificateOfTheName: of two certificates a client gets that of the
// name it asks for.
func TestTLS_CertificateOfTheName(t *testing.T) {
	names := []string{"one.example", "two.example"}
	both := &tls.Config{}
	var trusting []*tls.Config
	for _, name := range names {
		server, client := epitest.Certificates(t, name)
		both.Certificates = append(both.Certificates, server.Certificates...)
		client.ServerName = name
		trusting = append(trusting, client)
	}
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		e := m.Engine()
		e.TLS = both
		asked := make(chan string, 1)
		s := epitest.StartOn(t, e, "tls://127.0.0.1:0", func(c *epi.Conn) epi.Handler {
			asked <- c.TLS().ServerName
			return epitest.EchoHandler(c)
		})
		for i, name := range names {
			epitest.RoundTrip(t, tls.Client(s.Dial(), trusting[i]), "hello")
			if got := epitest.Receive(t, asked); got != name {
				t.Errorf("the server was asked for %q, want %q", got, name)
			}
		}
	})
}

// TestTLS_ReloadWhileConnectionsLive: those that are open stay as they are, and
// the next get the new certificate.
func TestTLS_ReloadWhileConnectionsLive(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		dir := t.TempDir()
		certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
		write := func() (trusting *tls.Config) {
			server, client := epitest.Certificates(t)
			writeCertificate(t, server.Certificates[0], certFile, keyFile)
			return client
		}
		trusting := write()
		certificate, err := epi.LoadCertificate(certFile, keyFile)
		if err != nil {
			t.Fatal(err)
		}
		e := m.Engine()
		e.TLS = &tls.Config{GetCertificate: certificate.GetCertificate}
		s := epitest.StartOn(t, e, "tls://127.0.0.1:0", epitest.EchoHandler)
		old := tls.Client(s.Dial(), trusting)
		epitest.RoundTrip(t, old, "before")

		renewed := write()
		if err := certificate.Reload(); err != nil {
			t.Fatal(err)
		}
		epitest.RoundTrip(t, old, "still")
		epitest.RoundTrip(t, tls.Client(s.Dial(), renewed), "new")
		if err := tls.Client(s.Dial(), trusting).Handshake(); err == nil {
			t.Error("who trusts the old certificate alone accepts the new one")
		}
		epitest.RoundTrip(t, old, "to the end")
	})
}

func writeCertificate(t *testing.T, c tls.Certificate, certFile, keyFile string) {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: c.Certificate[0]},
		keyFile:  {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTLS_StalledHandshakeGivesItsPlaceBack: it holds the only place until its
// time is over; then others go on. What waited for as long ends with it, so the
// client tries again. Those that end have no OnClose; the counters count them.
//
//	stalled  ClientHello ── (nothing) ─── its time is over
//	others      ClientHello ── waits ──── its time is over, too, or it goes on
func TestTLS_StalledHandshakeGivesItsPlaceBack(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		server, config := epitest.Certificates(t)
		config.MinVersion = tls.VersionTLS13 // in which the client's Finished is the last message
		e := m.Engine()
		e.TLS, e.MaxHandshakes, e.HandshakeTimeout = server, 1, 100*time.Millisecond
		s := epitest.StartOn(t, e, "tls://127.0.0.1:0", epitest.EchoHandler)
		var stalled *tls.Conn
		epitest.WaitUntil(t, "one has come as far as its Finished, which is kept back", func() bool {
			stalled = tls.Client(&joining{Conn: s.Dial()}, config)
			return stalled.Handshake() == nil
		})
		epitest.WaitUntil(t, "another shakes hands", func() bool {
			_, err := tls.Client(s.Dial(), config).Write([]byte("at last"))
			return err == nil && e.Stats().Handshakes > 0
		})
		if n, err := stalled.Read(make([]byte, 1)); err == nil {
			t.Errorf("the stalled one reads %d bytes", n)
		}
		epitest.WaitUntil(t, "all that were refused are counted", func() bool {
			st := e.Stats()
			return st.Refused > 0 && st.Causes[epi.CauseHandshake] == st.Refused
		})
	})
}

// TestTLS_DialledHearsHowTheServerEnds: close_notify is the end of the stream;
// the end of the connection without it is ErrTruncated.
func TestTLS_DialledHearsHowTheServerEnds(t *testing.T) {
	server, config := epitest.Certificates(t)
	rows := []struct {
		name  string
		end   func(c *tls.Conn) error
		cause error
	}{
		{"close_notify", (*tls.Conn).Close, io.EOF},
		{"truncation", func(c *tls.Conn) error { return c.NetConn().Close() }, epi.ErrTruncated},
	}
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		e := m.Engine()
		epitest.Run(t, e)
		for _, row := range rows {
			ln, address := epitest.Listen(t, "tcp")
			got, closed := make(chan struct{}), make(chan error, 1)
			h := &epitest.Funcs{
				Data: func(c *epi.Conn) error {
					if string(c.Unread()) == "farewell" {
						c.Discard(len("farewell"))
						close(got)
					}
					return nil
				},
				Close: func(_ *epi.Conn, err error) { closed <- err },
			}
			if _, err := e.DialWith(t.Context(), "tls"+address[len("tcp"):], epi.DialOptions{TLS: config}, h); err != nil {
				t.Fatal(err)
			}
			peer := tls.Server(epitest.Accept(t, ln), server)
			epitest.Say(t, peer, "farewell")
			epitest.Receive(t, got)
			if err := row.end(peer); err != nil {
				t.Fatal(err)
			}
			if err := epitest.Receive(t, closed); !errors.Is(err, row.cause) {
				t.Errorf("%s: OnClose got %v, want %v", row.name, err, row.cause)
			}
		}
	})
}

// TestTLS_BothWaysWithASlowReader: the server sends as fast as small watermarks
// let it, the client writes all that it has before it reads.
func TestTLS_BothWaysWithASlowReader(t *testing.T) {
	const total = 4 << 20
	data := epitest.Pattern(total)
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		e := m.Engine()
		e.HighWater, e.LowWater = 16<<10, 8<<10
		server, config := epitest.Certificates(t)
		e.TLS = server
		var got bytes.Buffer
		closed := make(chan error, 1)
		at := 0
		write := func(c *epi.Conn) error {
			for at < total && c.Queued() <= e.HighWater {
				n, err := c.Write(data[at:min(at+5000, total)])
				if err != nil {
					return err
				}
				at += n
			}
			if at == total {
				return c.CloseWrite()
			}
			return nil
		}
		s := epitest.StartOn(t, e, "tls://127.0.0.1:0", func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{
				Open:  write,
				Data:  func(c *epi.Conn) error { got.Write(c.Unread()); c.Discard(len(c.Unread())); return nil },
				Drain: func(c *epi.Conn) { _ = write(c) },
				Close: func(_ *epi.Conn, err error) { closed <- err },
			}
		})
		client := tls.Client(s.DialNarrow(), config)
		sent := make(chan error, 1)
		go func() { _, err := client.Write(data); sent <- err }()
		epitest.ExpectBytes(t, client, data, 1000)
		epitest.ExpectEOF(t, client)
		if err := epitest.Receive(t, sent); err != nil {
			t.Fatal(err)
		}
		epitest.CloseWrite(t, client)
		if err := epitest.Receive(t, closed); err != io.EOF {
			t.Errorf("OnClose got %v", err)
		}
		if !bytes.Equal(got.Bytes(), data) {
			t.Errorf("the server got %d bytes, or wrong ones, of %d", got.Len(), total)
		}
	})
}
