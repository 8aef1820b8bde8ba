// Package address reads what Listen and Dial are given: addresses of streams and of
// datagrams, as a scheme, "://" and the rest.
package address

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// An Address is what was written, taken apart.
type Address struct {
	Network string // tcp, tcp4, tcp6 or unix; for datagrams udp, udp4, udp6 or unixgram
	TLS     bool
	Host    string // of internet addresses: a name, an IP address, or empty
	Port    int
	Path    string // of Unix sockets
}

const schemes = "tcp://host:port, tcp4://, tcp6://, tls://host:port or unix:///path"

// Parse reads the address of a stream.
func Parse(text string) (Address, error) {
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		return Address{}, fmt.Errorf("address %q has no scheme: write %s", text, schemes)
	}
	switch scheme {
	case "tcp", "tcp4", "tcp6":
		return parseTCP(text, scheme, rest)
	case "tls":
		a, err := parseTCP(text, "tcp", rest)
		a.TLS = true
		return a, err
	case "unix":
		return parseUnix(text, scheme, rest)
	}
	return Address{}, fmt.Errorf("address %q has the unknown scheme %q: write %s", text, scheme, schemes)
}

// PacketSchemes is how addresses for datagrams are written.
const PacketSchemes = "udp://host:port, udp4://, udp6:// or unixgram:///path"

// ParsePacket reads the address of a socket for datagrams.
func ParsePacket(text string) (Address, error) {
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		return Address{}, fmt.Errorf("address %q has no scheme: write %s", text, PacketSchemes)
	}
	switch scheme {
	case "udp", "udp4", "udp6":
		return parseTCP(text, scheme, rest)
	case "unixgram":
		return parseUnix(text, scheme, rest)
	}
	return Address{}, fmt.Errorf("address %q has the scheme %q, which is not one for datagrams: write %s", text, scheme, PacketSchemes)
}

func parseTCP(text, network, rest string) (Address, error) {
	host, service, err := net.SplitHostPort(rest)
	if err != nil {
		return Address{}, fmt.Errorf("address %q is not %s://host:port: %s", text, network, errorText(err))
	}
	port, err := net.LookupPort(network, service)
	if err != nil {
		return Address{}, fmt.Errorf("address %q has the bad port %q: write a number from 0 to 65535", text, service)
	}
	return Address{Network: network, Host: host, Port: port}, nil
}

// errorText leaves out the address that net repeats in its errors.
func errorText(err error) string {
	var ae *net.AddrError
	if errors.As(err, &ae) {
		return ae.Err
	}
	return err.Error()
}

// maxUnixPath is what fits into sun_path with its final NUL (unix(7)).
const maxUnixPath = 107

func parseUnix(text, network, path string) (Address, error) {
	if path == "" {
		return Address{}, fmt.Errorf("address %q has no path: write %s:///path", text, network)
	}
	if path == "@" {
		return Address{}, fmt.Errorf("address %q has no name behind the @: write %s://@name", text, network)
	}
	if strings.Contains(path, "\x00") {
		return Address{}, fmt.Errorf("address %q: the path has a NUL byte, at which the system would cut it", text)
	}
	if len(path) > maxUnixPath {
		return Address{}, fmt.Errorf("address %q: the path has %d bytes, a Unix socket's has at most %d", text, len(path), maxUnixPath)
	}
	return Address{Network: network, Path: path}, nil
}

// literal returns the address if it can be had without a name server.
func (a Address) literal() (net.Addr, bool, error) {
	if a.Network == "unix" {
		return &net.UnixAddr{Name: a.Path, Net: "unix"}, true, nil
	}
	if a.Host == "" {
		return &net.TCPAddr{Port: a.Port}, true, nil
	}
	ip, err := netip.ParseAddr(a.Host)
	if err != nil {
		return nil, false, nil
	}
	if err := a.checkFamily(ip); err != nil {
		return nil, false, err
	}
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, uint16(a.Port))), true, nil
}

// DialAddrs returns the addresses to connect to if they can be had without a name
// server. Where no address is given it is this machine's own, as in package net.
func (a Address) DialAddrs() ([]net.Addr, bool, error) {
	addr, ok, err := a.literal()
	tcp, isTCP := addr.(*net.TCPAddr)
	switch {
	case err != nil || !ok:
		return nil, false, err
	case !isTCP || !tcp.AddrPort().Addr().IsUnspecified() && tcp.IP != nil:
		return []net.Addr{addr}, true, nil
	}
	four := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: a.Port}
	six := &net.TCPAddr{IP: net.IPv6loopback, Port: a.Port}
	switch {
	case a.Network == "tcp6", tcp.IP != nil && tcp.IP.To4() == nil:
		return []net.Addr{six}, true, nil
	case a.Network == "tcp4", tcp.IP != nil:
		return []net.Addr{four}, true, nil
	}
	return []net.Addr{four, six}, true, nil
}

func (a Address) checkFamily(ip netip.Addr) error {
	is4 := ip.Unmap().Is4()
	if a.family() == "ip4" && !is4 || a.family() == "ip6" && is4 {
		return fmt.Errorf("address %s is not of the family that %s asks for", a, a.Network)
	}
	return nil
}

// family is the network of the host's addresses: ip, ip4 or ip6.
func (a Address) family() string { return "ip" + strings.TrimLeft(a.Network, "tcpud") }

// Lookup returns every address of the host, in the order to try them.
func (a Address) Lookup(ctx context.Context, by *net.Resolver) ([]net.Addr, error) {
	ips, err := by.LookupNetIP(ctx, a.family(), a.Host)
	if err != nil {
		return nil, err
	}
	addrs := make([]net.Addr, len(ips))
	for i, ip := range ips {
		addrs[i] = net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip.Unmap(), uint16(a.Port)))
	}
	return addrs, nil
}

// ListenAddr returns the one address to listen on. Of a name's addresses it is
// the first of IPv4, as in package net.
func (a Address) ListenAddr(ctx context.Context) (net.Addr, error) {
	addr, ok, err := a.literal()
	if ok || err != nil {
		return addr, err
	}
	addrs, err := a.Lookup(ctx, net.DefaultResolver)
	if err != nil {
		return nil, err
	}
	for _, addr := range addrs {
		if addr.(*net.TCPAddr).IP.To4() != nil {
			return addr, nil
		}
	}
	return addrs[0], nil
}

// Endpoint returns the one address of a, or the path of its Unix socket. Of a name's
// addresses it is the first of IPv4, as in package net.
func (a Address) Endpoint(ctx context.Context) (at netip.AddrPort, path string, err error) {
	if a.Path != "" {
		return at, a.Path, nil
	}
	addr, err := a.ListenAddr(ctx)
	if err != nil {
		return at, "", err
	}
	at = addr.(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port()), "", nil
}

// String returns the address as it was written.
func (a Address) String() string {
	if a.Path != "" {
		return a.Network + "://" + a.Path
	}
	if a.TLS {
		return "tls://" + net.JoinHostPort(a.Host, strconv.Itoa(a.Port))
	}
	return a.Network + "://" + net.JoinHostPort(a.Host, strconv.Itoa(a.Port))
}
