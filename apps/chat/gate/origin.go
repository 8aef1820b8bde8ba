package gate

import (
	"crypto/sha256"
	"encoding/hex"
	"net"
	"net/netip"
	"slices"

	"github.com/epinet/epi"
	"github.com/epinet/epi/apps/chat/hall"
)

// loopback stands for the clients of Unix sockets, which are of this machine.
var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// address is where a connection comes from.
func address(c *epi.Conn) netip.Addr {
	if tcp, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap()
	}
	return loopback
}

func origin(c *epi.Conn, l Listener, kind transport, proxies []netip.Prefix) *hall.Origin {
	from := address(c)
	host := from.WithZone("").String()
	if host[0] == ':' {
		host = "0" + host // a parameter must not begin with a colon
	}
	proxy := kind == plain && slices.ContainsFunc(proxies, func(p netip.Prefix) bool { return p.Contains(from) })
	return &hall.Origin{
		Proxy:       proxy,
		Host:        host,
		Address:     host,
		Secure:      l.Secure,
		Fingerprint: fingerprint(c),
	}
}

// fingerprint is the SHA-256 of the client's certificate, "" without one.
func fingerprint(c *epi.Conn) string {
	state := c.TLS()
	if state == nil || len(state.PeerCertificates) == 0 {
		return ""
	}
	sum := sha256.Sum256(state.PeerCertificates[0].Raw)
	return hex.EncodeToString(sum[:])
}
