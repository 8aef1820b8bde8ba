package stream_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

const (
	proxySignature = "\r\n\r\n\x00\r\nQUIT\n"
	proxyIPv4      = "\xc0\x00\x02\x07\xc0\x00\x02\x01\x04\xd2\x00\x50" // 192.0.2.7:1234 to 192.0.2.1:80
)

// TestProxyHeader_Forms sends each form byte by byte, plainly and before TLS.
func TestProxyHeader_Forms(t *testing.T) {
	ipv6 := "\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x07"
	forms := []struct{ name, header, peer string }{
		{"text", "PROXY TCP4 192.0.2.7 192.0.2.1 1234 80\r\n", "192.0.2.7:1234"},
		{"text, IPv6", "PROXY TCP6 2001:db8::7 2001:db8::1 1234 80\r\n", "[2001:db8::7]:1234"},
		{"text, unknown", "PROXY UNKNOWN\r\n", "127.0.0.1:"},
		{"binary", proxySignature + "\x21\x11\x00\x0c" + proxyIPv4, "192.0.2.7:1234"},
		{"binary, IPv6", proxySignature + "\x21\x21\x00\x24" + ipv6 + ipv6 + "\x04\xd2\x00\x50", "[2001:db8::7]:1234"},
		{"binary with a TLV", proxySignature + "\x21\x11\x00\x10" + proxyIPv4 + "\x04\x00\x01\x00", "192.0.2.7:1234"},
		{"binary, local", proxySignature + "\x20\x00\x00\x00", "127.0.0.1:"},
		{"binary, unspecified", proxySignature + "\x21\x00\x00\x03abc", "127.0.0.1:"},
		{"binary, unix", proxySignature + "\x21\x31\x00\xd8" + strings.Repeat("\x00", 216), "127.0.0.1:"},
	}
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		peers := make(chan string, 1)
		s, config := startTLS(t, m, epitest.EchoHandler)
		for _, scheme := range []string{"tcp", "tls"} {
			options := epi.ListenOptions{ProxyFrom: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
			ln, err := s.Engine.ListenWith(scheme+"://127.0.0.1:0", options, func(c *epi.Conn) epi.Handler {
				peers <- c.RemoteAddr().String()
				return epitest.EchoHandler(c)
			})
			if err != nil {
				t.Fatal(err)
			}
			for _, form := range forms {
				client, err := net.Dial("tcp", ln.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				_ = client.SetDeadline(time.Now().Add(epitest.Patience))
				for i := range len(form.header) {
					epitest.Say(t, client, form.header[i:i+1])
				}
				stream := client
				if scheme == "tls" {
					stream = tls.Client(client, config)
				}
				epitest.RoundTrip(t, stream, "hello")
				if peer := epitest.Receive(t, peers); !strings.HasPrefix(peer, form.peer) {
					t.Errorf("%s over %s: the peer is %s, want %s", form.name, scheme, peer, form.peer)
				}
				_ = client.Close()
			}
		}
	})
}

// TestProxyHeader_Refused closes connections whose header is not to be used,
// before a handler is made, and counts them.
func TestProxyHeader_Refused(t *testing.T) {
	header := proxySignature + "\x21\x11\x00\x0c" + proxyIPv4
	rows := []struct{ name, from, text string }{
		{"a line that is too long", "127.0.0.0/8", "PROXY TCP4 " + strings.Repeat("1", 200)},
		{"a line that is wrong", "127.0.0.0/8", "PROXY TCP4 nobody\r\nhello"},
		{"binary, a field that is cut off", "127.0.0.0/8", proxySignature + "\x21\x11\x00\x10" + proxyIPv4 + "\x04\x00\x02\x00hello"},
		{"binary, half a field", "127.0.0.0/8", proxySignature + "\x21\x11\x00\x0e" + proxyIPv4 + "\x04\x00hello"},
		{"binary, shorter than its family", "127.0.0.0/8", proxySignature + "\x21\x11\x00\x01\x00hello"},
		{"binary, untrusted", "192.0.2.0/24", header + "hello"},
		{"text, untrusted", "192.0.2.0/24", "PROXY UNKNOWN\r\nhello"},
		{"no header", "127.0.0.0/8", "hello"},
	}
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		s := epitest.Start(t, m.Engine(), epitest.EchoHandler)
		for i, row := range rows {
			client := dialProxied(t, s.Engine, "tcp://127.0.0.1:0", row.from, func(*epi.Conn) epi.Handler {
				t.Errorf("%s: a handler was made", row.name)
				return &epitest.Funcs{}
			})
			epitest.Say(t, client, row.text)
			if rest, _ := io.ReadAll(client); len(rest) > 0 { // the end or a reset
				t.Errorf("%s: the client reads %q", row.name, rest)
			}
			want := uint64(i + 1)
			epitest.WaitUntil(t, row.name+" is counted", func() bool {
				st := s.Engine.Stats()
				return st.Refused == want && st.Causes[epi.CauseProxy] == want
			})
		}
	})
}

// TestProxyHeader_BytesBehindItAreDelivered sends more than one read takes in
// the same breath as the header.
func TestProxyHeader_BytesBehindItAreDelivered(t *testing.T) {
	data := string(epitest.Pattern(1 << 20))
	headers := []string{
		"PROXY TCP4 192.0.2.7 192.0.2.1 1234 80\r\n",
		proxySignature + "\x21\x11\x00\x0c" + proxyIPv4,
	}
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		s := epitest.Start(t, m.Engine(), epitest.EchoHandler)
		for _, header := range headers {
			client := dialProxied(t, s.Engine, "tcp://127.0.0.1:0", "127.0.0.0/8", epitest.EchoHandler)
			sent := make(chan error, 1)
			go func() { _, err := io.WriteString(client, header+data); sent <- err }()
			epitest.ExpectBytes(t, client, []byte(data), 64<<10)
			if err := epitest.Receive(t, sent); err != nil {
				t.Error(err)
			}
			epitest.CloseWrite(t, client)
			epitest.ExpectEOF(t, client)
		}
	})
}

// dialProxied connects to a new listener that awaits headers from the given
// addresses.
func dialProxied(t *testing.T, e *epi.Engine, address, from string, handler func(*epi.Conn) epi.Handler) net.Conn {
	t.Helper()
	options := epi.ListenOptions{ProxyFrom: []netip.Prefix{netip.MustParsePrefix(from)}}
	ln, err := e.ListenWith(address, options, handler)
	if err != nil {
		t.Fatal(err)
	}
	return epitest.DialListener(t, e, ln, net.Dialer{})
}

// FuzzProxyDelivery sends arbitrary bytes to an engine, in two pieces:
// what it takes for a header, and where that ends, does not depend on where
// they are cut, and all bytes behind a header arrive.
func FuzzProxyDelivery(f *testing.F) {
	f.Fuzz(func(t *testing.T, data []byte, at uint) {
		at %= uint(len(data) + 1)
		whole, opened := deliver(t, data, nil)
		parts, openedToo := deliver(t, data[:at], data[at:])
		if whole != parts || opened != openedToo {
			t.Errorf("%q: %q is delivered (opened: %v), cut at %d %q (opened: %v)", data, whole, opened, at, parts, openedToo)
		}
		if opened && !bytes.HasSuffix(data, []byte(whole)) {
			t.Errorf("%q: %q is delivered, which is not its end", data, whole)
		}
	})
}

// deliver returns what the handler of an engine is given of two pieces, and
// whether there was one. It is over Unix sockets, which leave no ports behind
// that the system keeps for a minute.
func deliver(t *testing.T, first, second []byte) (text string, opened bool) {
	t.Helper()
	s := epitest.StartOn(t, epitest.Modes()[0].Engine(), "unix://"+epitest.UnixPath(t), epitest.EchoHandler)
	texts := make(chan string, 1)
	client := dialProxied(t, s.Engine, "unix://"+epitest.UnixPath(t), "127.0.0.0/8", func(*epi.Conn) epi.Handler {
		var got []byte
		return &epitest.Funcs{
			Data:  func(c *epi.Conn) error { got = append(got, c.Unread()...); c.Discard(len(c.Unread())); return nil },
			Close: func(*epi.Conn, error) { texts <- string(got) },
		}
	})
	_, _ = client.Write(first) // it may be refused already
	_, _ = client.Write(second)
	_ = client.(*net.UnixConn).CloseWrite()
	_, _ = io.Copy(io.Discard, client)
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	select {
	case text := <-texts:
		return text, true
	default:
		return "", false
	}
}
