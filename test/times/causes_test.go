package times_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// TestStats_CountsClosesByCause ends one connection for each cause that a
// script can bring about at once.
func TestStats_CountsClosesByCause(t *testing.T) {
	for _, test := range []struct {
		cause  epi.Cause
		data   func(*epi.Conn) error
		set    func(*epi.Engine)
		client func(*testing.T, net.Conn)
	}{
		{cause: epi.CauseClose, data: func(c *epi.Conn) error { return c.Close() }},
		{cause: epi.CauseEOF, client: epitest.CloseWrite},
		{cause: epi.CauseReset, client: epitest.Reset},
		{cause: epi.CauseIdle, set: func(e *epi.Engine) { e.IdleTimeout = time.Millisecond }},
		{cause: epi.CauseAbort, data: func(c *epi.Conn) error { return c.Abort() }},
		{cause: epi.CausePanic, data: func(*epi.Conn) error { panic(net.ErrClosed) }},
		{cause: epi.CauseOther, data: func(*epi.Conn) error { return errors.New("enough") }},
		{cause: epi.CauseUnreadFull, data: func(*epi.Conn) error { return nil }, set: func(e *epi.Engine) { e.MaxUnread = 1 }},
		{
			cause: epi.CauseQueueFull,
			data:  func(c *epi.Conn) error { _, _ = c.Write(make([]byte, 2)); return nil },
			set:   func(e *epi.Engine) { e.MaxQueued, e.CloseOnFull = 1, true },
		},
	} {
		t.Run(test.cause.String(), func(t *testing.T) {
			epitest.Each(t, func(t *testing.T, m epitest.Mode) {
				t.Parallel()
				e := m.Engine()
				if test.set != nil {
					test.set(e)
				}
				data := test.data
				if data == nil {
					data = func(c *epi.Conn) error { c.Discard(len(c.Unread())); return nil }
				}
				s := epitest.Start(t, e, func(*epi.Conn) epi.Handler { return &epitest.Funcs{Data: data} })
				c := s.Dial()
				_, _ = io.WriteString(c, "go") // it may be closed already
				if test.client != nil {
					test.client(t, c)
				}
				epitest.WaitUntil(t, "the connection is closed", func() bool { return e.Stats().Closed == 1 })
				if err := s.Stop(); err != nil {
					t.Fatal(err)
				}
				expectCauses(t, e, test.cause)
			})
		})
	}
}

// expectCauses expects one connection to have ended for each of the causes.
func expectCauses(t *testing.T, e *epi.Engine, causes ...epi.Cause) {
	t.Helper()
	var want epi.Causes
	for _, cause := range causes {
		want[cause]++
	}
	if got := e.Stats().Causes; got != want {
		for cause := range got {
			if got[cause] != want[cause] {
				t.Errorf("%d connections closed by %s, want %d", got[cause], epi.Cause(cause), want[cause])
			}
		}
	}
}

func TestStats_CountsRefusedAndUndialled(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		s := epitest.Start(t, e, func(*epi.Conn) epi.Handler { return nil })
		epitest.ExpectEOF(t, s.Dial())
		closed := make(chan struct{}, 2)
		h := &epitest.Funcs{Close: func(*epi.Conn, error) { closed <- struct{}{} }}
		for _, address := range []string{"unix:///nobody/listens/here", "unix:///nor/here"} {
			if _, err := e.Dial(t.Context(), address, h); err != nil {
				t.Fatal(err)
			}
			epitest.Receive(t, closed)
		}
		if err := s.Stop(); err != nil {
			t.Fatal(err)
		}
		expectCauses(t, e, epi.CauseRefused, epi.CauseDial, epi.CauseDial)
	})
}

func TestStats_CountsShutdown(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		s := epitest.Start(t, e, epitest.EchoHandler)
		epitest.RoundTrip(t, s.Dial(), "x")
		if err := s.Stop(); err != nil {
			t.Fatal(err)
		}
		expectCauses(t, e, epi.CauseShutdown)
	})
}

func TestCausesHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for cause := range (epi.Causes{}) {
		name := epi.Cause(cause).String()
		if name == "" || seen[name] {
			t.Errorf("cause %d has the name %q", cause, name)
		}
		seen[name] = true
	}
	if got := fmt.Sprint(epi.CauseQueueFull); got != "queue_full" {
		t.Errorf("CauseQueueFull prints as %q", got)
	}
}

func TestStats_CountsClosesBeforeAndByTLS(t *testing.T) {
	server, client := epitest.Certificates(t)
	for _, test := range []struct {
		cause   epi.Cause
		options epi.ListenOptions
		talk    func(*testing.T, net.Conn)
	}{
		{epi.CauseHandshake, epi.ListenOptions{}, func(t *testing.T, c net.Conn) { _, _ = io.WriteString(c, "GET / HTTP/1.1\r\n\r\n") }},
		{epi.CauseHandshake, epi.ListenOptions{}, epitest.CloseWrite},
		{epi.CauseHandshake, epi.ListenOptions{}, func(*testing.T, net.Conn) {}}, // HandshakeTimeout
		{epi.CauseProxy, epi.ListenOptions{ProxyFrom: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
			func(t *testing.T, c net.Conn) { _, _ = io.WriteString(c, "no header") }},
		{epi.CauseTruncated, epi.ListenOptions{}, func(t *testing.T, c net.Conn) {
			epitest.RoundTrip(t, tls.Client(c, client), "hello")
			epitest.CloseWrite(t, c)
		}},
		{epi.CauseDetached, epi.ListenOptions{}, func(t *testing.T, c net.Conn) {
			epitest.RoundTrip(t, tls.Client(c, client), "detach")
		}},
	} {
		t.Run(test.cause.String(), func(t *testing.T) {
			epitest.Each(t, func(t *testing.T, m epitest.Mode) {
				t.Parallel()
				e := m.Engine()
				e.TLS = server
				if test.cause == epi.CauseHandshake {
					e.HandshakeTimeout = 50 * time.Millisecond
				}
				s := epitest.Start(t, e, epitest.EchoHandler)
				ln, err := e.ListenWith("tls://127.0.0.1:0", test.options, func(*epi.Conn) epi.Handler {
					return &epitest.Funcs{Data: echoOrDetach}
				})
				if err != nil {
					t.Fatal(err)
				}
				c, err := net.Dial("tcp", ln.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = c.Close() }()
				test.talk(t, c)
				epitest.WaitUntil(t, "the connection is closed", func() bool { return e.Stats().Closed == 1 })
				if err := s.Stop(); err != nil {
					t.Fatal(err)
				}
				expectCauses(t, e, test.cause)
			})
		})
	}
}

// echoOrDetach gives the connection away, to be echoed elsewhere, at the client's word.
func echoOrDetach(c *epi.Conn) error {
	if string(c.Unread()) != "detach" {
		return epitest.Echo(c)
	}
	return c.Detach(func(nc net.Conn) {
		_, _ = io.CopyN(nc, nc, int64(len("detach")))
		_ = nc.Close()
	})
}
