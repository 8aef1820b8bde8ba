package epi

import (
	"net/netip"
	"testing"

	"github.com/epinet/epi/internal/driver"
)

// TestClientIsToldByItsAddress: one host has a whole network of IPv6.
func TestClientIsToldByItsAddress(t *testing.T) {
	for _, row := range []struct {
		peer string
		from origin
		want string
	}{
		{"192.0.2.7:1234", origin{}, "192.0.2.7/32"},
		{"[::ffff:192.0.2.7]:1234", origin{}, "192.0.2.7/32"},
		{"[2001:db8:1:2:3:4:5:6]:1234", origin{}, "2001:db8:1:2::/64"},
		{"[fe80::1%eth0]:1234", origin{}, "fe80::/64"},
		{"192.0.2.7:1234", origin{dials: true}, ""},
		{"192.0.2.7:1234", origin{unix: true}, "192.0.2.7/32"}, // of a PROXY header
		{"", origin{unix: true}, ""},
	} {
		peer, _ := netip.ParseAddrPort(row.peer) // not valid for ""
		c := newConn(&Loop{}, &row.from, driver.NoHandle, peer)
		got := ""
		if client := c.client(); client.IsValid() {
			got = client.String()
		}
		if got != row.want {
			t.Errorf("%s is of %q, want %q", row.peer, got, row.want)
		}
	}
}
