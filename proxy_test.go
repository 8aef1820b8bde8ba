package epi

import (
	"net/netip"
	"testing"
)

// TestHunt20_NetworksInEitherForm: what an address is, not how it is written,
// decides whether it is in a network.
func TestHunt20_NetworksInEitherForm(t *testing.T) {
	for _, row := range []struct {
		network, peer string
		in            bool
	}{
		{"10.0.0.0/8", "10.1.2.3", true},
		{"10.0.0.0/8", "::ffff:10.1.2.3", true},
		{"::ffff:10.0.0.0/104", "10.1.2.3", true},
		{"::ffff:10.0.0.0/104", "::ffff:10.1.2.3", true},
		{"::ffff:10.0.0.0/104", "11.1.2.3", false},
		{"::ffff:0:0/96", "10.1.2.3", true},
		{"fe80::/10", "fe80::1%eth0", true},
		{"fe80::1/128", "fe80::1%3", true},
		{"fe80::1/128", "fe80::2%3", false},
		{"::/0", "10.1.2.3", false},
		{"0.0.0.0/0", "2001:db8::1", false},
	} {
		p, err := newProxies(&ListenOptions{ProxyFrom: []netip.Prefix{netip.MustParsePrefix(row.network)}})
		if err != nil {
			t.Fatal(err)
		}
		if in := p.hasNetwork(netip.MustParseAddr(row.peer)); in != row.in {
			t.Errorf("that %s is in %s: %v", row.peer, row.network, in)
		}
		if p.hasNetwork(netip.Addr{}) {
			t.Errorf("nobody is in %s", row.network)
		}
	}
}

// TestHostile_ClientsByAddress: an IPv6 client has all addresses of its network.
func TestHostile_ClientsByAddress(t *testing.T) {
	for _, row := range []struct{ addr, client string }{
		{"192.0.2.7", "192.0.2.7"},
		{"::ffff:192.0.2.7", "192.0.2.7"},
		{"2001:db8::7", "2001:db8::"},
		{"2001:db8::ffff:ffff:ffff:ffff", "2001:db8::"},
		{"2001:db8:0:1::7", "2001:db8:0:1::"},
		{"fe80::1%eth0", "fe80::"},
	} {
		if client := clientOf(netip.MustParseAddr(row.addr)); client != netip.MustParseAddr(row.client) {
			t.Errorf("the client of %s is %s, want %s", row.addr, client, row.client)
		}
	}
}
