package epi_test

import (
	"crypto/tls"
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
