package server

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"
)

func TestNewcomers(t *testing.T) {
	n, now := newNewcomers(2), time.Unix(1e9, 0)
	from := func(address string, want bool) {
		t.Helper()
		if got := n.admit(net.TCPAddrFromAddrPort(netip.MustParseAddrPort(address)), now); got != want {
			t.Errorf("%s: %t, want %t", address, got, want)
		}
	}
	from("[2001:db8::1]:1", true)
	from("[2001:db8::2]:1", true)
	from("[2001:db8::3]:1", false)     // the same /64
	from("[2001:db8:0:1::1]:1", true)  // another
	from("192.0.2.1:1", true)          //
	from("[::ffff:192.0.2.1]:1", true) // the same
	from("192.0.2.1:2", false)         // so, too
	now = now.Add(30 * time.Minute)
	from("192.0.2.1:1", true)
	from("192.0.2.1:1", false)
	for i := range maxNewcomers + 100 {
		from(fmt.Sprintf("10.%d.%d.1:1", i>>8, i&255), true)
	}
	if len(n.made) > maxNewcomers {
		t.Errorf("%d addresses are remembered", len(n.made))
	}
}
