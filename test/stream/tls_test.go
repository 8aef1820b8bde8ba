package stream_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

func startTLS(t *testing.T, m epitest.Mode, handler func(*epi.Conn) epi.Handler) (*epitest.Server, *tls.Config) {
	server, client := epitest.Certificates(t)
	e := m.Engine()
	e.TLS = server
	return epitest.StartOn(t, e, "tls://127.0.0.1:0", handler), client
}

func TestTLS_EchoesAndEndsInOrder(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			closed := make(chan error, 1)
			s, config := startTLS(t, m, func(*epi.Conn) epi.Handler {
				return &epitest.Funcs{Data: epitest.Echo, Close: func(_ *epi.Conn, err error) { closed <- err }}
			})
			config.MaxVersion = version
			client := tls.Client(s.Dial(), config)
			data := epitest.Pattern(300_000)
			go func() { _, _ = client.Write(data) }()
			epitest.ExpectBytes(t, client, data, 16<<10)
			if err := client.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			epitest.ExpectEOF(t, client)
			if err := epitest.Receive(t, closed); err != io.EOF {
				t.Errorf("%x: OnClose got %v", version, err)
			}
		}
	})
}

func TestTLS_W01_WriteThenClose(t *testing.T) {
	data := epitest.Pattern(epitest.EightMiB)
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		s, config := startTLS(t, m, func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{Open: func(c *epi.Conn) error { return errors.Join(c.Send(data), c.Close()) }}
		})
		client := tls.Client(s.Dial(), config)
		epitest.ExpectBytes(t, client, data, 64<<10)
		epitest.ExpectEOF(t, client)
	})
}

func TestTLS_TruncationIsTold(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		closed := make(chan error, 1)
		s, config := startTLS(t, m, func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{Data: epitest.Echo, Close: func(_ *epi.Conn, err error) { closed <- err }}
		})
		raw := s.Dial()
		epitest.RoundTrip(t, tls.Client(raw, config), "hello")
		epitest.CloseWrite(t, raw)
		if err := epitest.Receive(t, closed); !errors.Is(err, epi.ErrTruncated) {
			t.Errorf("OnClose got %v", err)
		}
	})
}

func TestTLS_DialledConnection(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		s, config := startTLS(t, m, epitest.EchoHandler)
		got := make(chan string, 1)
		_, err := s.Engine.DialWith(context.Background(), s.Listener.String(), epi.DialOptions{TLS: config}, &epitest.Funcs{
			Open: func(c *epi.Conn) error { _, err := c.Write([]byte("hello")); return err },
			Data: func(c *epi.Conn) error {
				if len(c.Unread()) == 5 {
					got <- string(bytes.Clone(c.Unread()))
					return c.Close()
				}
				return nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		if text := epitest.Receive(t, got); text != "hello" {
			t.Errorf("got %q", text)
		}
	})
}

func TestTLS_GarbageEndsThatConnectionAlone(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		s, config := startTLS(t, m, epitest.EchoHandler)
		bad := s.Dial()
		if _, err := io.WriteString(bad, "GET / HTTP/1.1\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, bad)
		epitest.RoundTrip(t, tls.Client(s.Dial(), config), "hello")
		if n := s.Engine.Stats().Refused; n != 1 {
			t.Errorf("%d connections were refused, want 1", n)
		}
	})
}

func TestTLS_HandshakeTimeout(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		server, _ := epitest.Certificates(t)
		e := m.Engine()
		e.TLS, e.HandshakeTimeout = server, 50*time.Millisecond
		s := epitest.StartOn(t, e, "tls://127.0.0.1:0", epitest.EchoHandler)
		_, _ = io.Copy(io.Discard, s.Dial())
		if n := e.Stats().Refused; n != 1 {
			t.Errorf("%d connections were refused, want 1", n)
		}
	})
}

func TestDetach_LosesNothing(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		for _, secure := range []bool{false, true} {
			conns, closed := make(chan net.Conn, 1), make(chan error, 1)
			server, config := epitest.Certificates(t)
			e := m.Engine()
			e.TLS = server
			address := "tcp://127.0.0.1:0"
			if secure {
				address = "tls://127.0.0.1:0"
			}
			s := epitest.StartOn(t, e, address, func(*epi.Conn) epi.Handler {
				return &epitest.Funcs{
					Data: func(c *epi.Conn) error {
						c.Discard(1)
						_, err := c.Write([]byte("first "))
						return errors.Join(err, c.Detach(func(nc net.Conn) { conns <- nc }))
					},
					Close: func(_ *epi.Conn, err error) { closed <- err },
				}
			})
			client := s.Dial()
			if secure {
				client = tls.Client(client, config)
			}
			if _, err := io.WriteString(client, "-left"); err != nil {
				t.Fatal(err)
			}
			nc := epitest.Receive(t, conns)
			if err := epitest.Receive(t, closed); !errors.Is(err, epi.ErrDetached) {
				t.Errorf("OnClose got %v", err)
			}
			epitest.Expect(t, nc, "left")
			if _, err := io.WriteString(nc, "second"); err != nil {
				t.Fatal(err)
			}
			epitest.Expect(t, client, "first second")
			_ = nc.Close()
		}
	})
}

func TestProxyHeader(t *testing.T) {
	rows := []struct {
		name, from, text, peer string
		refused                bool
	}{
		{"trusted", "127.0.0.0/8", "PROXY TCP4 192.0.2.7 192.0.2.1 1234 80\r\nhello", "192.0.2.7:1234", false},
		{"missing", "127.0.0.0/8", "hello", "", true},
		{"untrusted", "192.0.2.0/24", "PROXY TCP4 192.0.2.7 192.0.2.1 1234 80\r\nhello", "", true},
		{"not a proxy", "192.0.2.0/24", "hello", "127.0.0.1", false},
	}
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		for _, row := range rows {
			peers := make(chan string, 1)
			s := epitest.Start(t, m.Engine(), epitest.EchoHandler)
			ln, err := s.Engine.ListenWith("tcp://127.0.0.1:0", epi.ListenOptions{ProxyFrom: []netip.Prefix{netip.MustParsePrefix(row.from)}},
				func(c *epi.Conn) epi.Handler {
					peers <- c.RemoteAddr().String()
					return epitest.EchoHandler(c)
				})
			if err != nil {
				t.Fatal(err)
			}
			client, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			_ = client.SetDeadline(time.Now().Add(epitest.Patience))
			if _, err := io.WriteString(client, row.text); err != nil {
				t.Fatal(err)
			}
			if row.refused {
				_, _ = io.Copy(io.Discard, client)
			} else {
				epitest.Expect(t, client, "hello")
				if peer := epitest.Receive(t, peers); !bytes.HasPrefix([]byte(peer), []byte(row.peer)) {
					t.Errorf("%s: the peer is %s, want %s", row.name, peer, row.peer)
				}
			}
			_ = client.Close()
			if refused := s.Engine.Stats().Refused == 1; refused != row.refused {
				t.Errorf("%s: refused is %v", row.name, refused)
			}
		}
	})
}
