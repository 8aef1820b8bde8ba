package socket_test

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

const perIP = 2

// expectClosed waits until the server has closed the connection, without a byte.
func expectClosed(t *testing.T, c net.Conn) {
	t.Helper()
	if rest, err := io.ReadAll(c); len(rest) > 0 || err != nil && !epitest.IsReset(err) {
		t.Fatalf("read %q, %v, want the connection closed", rest, err)
	}
}

// TestHostile_MaxConnsPerIP has one client ask for more than its share: others are
// served, and so is the client when it gives one back.
func TestHostile_MaxConnsPerIP(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		e := m.Engine()
		e.MaxConnsPerIP = perIP
		s := epitest.Start(t, e, epitest.EchoHandler)
		from := func(ip string) net.Conn {
			local := net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(ip), 0))
			return epitest.DialListener(t, e, s.Listener, net.Dialer{LocalAddr: local})
		}
		var greedy []net.Conn
		for range perIP {
			c := from("127.0.0.1")
			epitest.RoundTrip(t, c, "within")
			greedy = append(greedy, c)
		}
		for i := range 3 {
			expectClosed(t, from("127.0.0.1"))
			if n := e.Stats().ShedPerIP; n != uint64(i+1) {
				t.Errorf("%d were shed, want %d", n, i+1)
			}
		}
		epitest.RoundTrip(t, from("127.0.0.2"), "somebody else")
		epitest.RoundTrip(t, greedy[0], "still served")
		_ = greedy[1].Close()
		epitest.WaitUntil(t, "the place is free", func() bool { return e.Stats().Closed >= 1 })
		epitest.RoundTrip(t, from("127.0.0.1"), "within again")
		expectClosed(t, from("127.0.0.1"))
	})
}

// TestHostile_MaxConnsPerIPBehindProxy counts whom the header names; the proxy is
// as many as it likes.
func TestHostile_MaxConnsPerIPBehindProxy(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		e := m.Engine()
		e.MaxConnsPerIP = perIP
		s := epitest.Start(t, e, epitest.EchoHandler)
		options := epi.ListenOptions{ProxyFrom: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
		ln, err := e.ListenWith("tcp://127.0.0.1:0", options, epitest.EchoHandler)
		if err != nil {
			t.Fatal(err)
		}
		as := func(client string) net.Conn {
			c := epitest.DialListener(t, e, ln, net.Dialer{})
			epitest.Say(t, c, client)
			return c
		}
		tcp6 := func(ip string) string { return fmt.Sprintf("PROXY TCP6 %s 2001:db8::1 1234 80\r\n", ip) }
		for _, ip := range []string{"2001:db8::7", "2001:db8::8", "2001:db8:0:1::7", "2001:db8:0:1::8"} {
			epitest.RoundTrip(t, as(tcp6(ip)), "within")
		}
		for range 2 * perIP {
			epitest.RoundTrip(t, as("PROXY UNKNOWN\r\n"), "the proxy itself")
		}
		expectClosed(t, as(tcp6("2001:db8::9")))
		epitest.WaitUntil(t, "it is counted", func() bool {
			st := e.Stats()
			return st.ShedPerIP == 1 && st.Causes[epi.CausePerIP] == 1
		})
		epitest.RoundTrip(t, s.Dial(), "the other listener")
	})
}

// TestHostile_MaxConnsPerIPOfDetached counts a connection until package net closes
// it.
func TestHostile_MaxConnsPerIPOfDetached(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		e := m.Engine()
		e.MaxConnsPerIP = 1
		detached := make(chan net.Conn, 1)
		s := epitest.Start(t, e, func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{Data: func(c *epi.Conn) error {
				return c.Detach(func(c net.Conn) { detached <- c })
			}}
		})
		epitest.Say(t, s.Dial(), "hello")
		away := epitest.Receive(t, detached)
		expectClosed(t, s.Dial())
		if err := away.Close(); err != nil {
			t.Fatal(err)
		}
		epitest.Say(t, s.Dial(), "hello")
		_ = epitest.Receive(t, detached).Close()
	})
}
