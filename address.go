package epi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// An address is what Listen and Dial are given: a scheme, "://" and the rest.
type address struct {
	network string // tcp, tcp4, tcp6 or unix; for datagrams udp, udp4, udp6 or unixgram
	tls     bool
	host    string // of internet addresses: a name, an IP address, or empty
	port    int
	path    string // of Unix sockets
}

const schemes = "tcp://host:port, tcp4://, tcp6://, tls://host:port or unix:///path"

func parseAddress(text string) (address, error) {
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		return address{}, fmt.Errorf("address %q has no scheme: write %s", text, schemes)
	}
	switch scheme {
	case "tcp", "tcp4", "tcp6":
		return parseTCP(text, scheme, rest)
	case "tls":
		a, err := parseTCP(text, "tcp", rest)
		a.tls = true
		return a, err
	case "unix":
		return parseUnix(text, scheme, rest)
	}
	return address{}, fmt.Errorf("address %q has the unknown scheme %q: write %s", text, scheme, schemes)
}

func parseTCP(text, network, rest string) (address, error) {
	host, service, err := net.SplitHostPort(rest)
	if err != nil {
		return address{}, fmt.Errorf("address %q is not %s://host:port: %s", text, network, errorText(err))
	}
	port, err := net.LookupPort(network, service)
	if err != nil {
		return address{}, fmt.Errorf("address %q has the bad port %q: write a number from 0 to 65535", text, service)
	}
	return address{network: network, host: host, port: port}, nil
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

func parseUnix(text, network, path string) (address, error) {
	if path == "" {
		return address{}, fmt.Errorf("address %q has no path: write %s:///path", text, network)
	}
	if len(path) > maxUnixPath {
		return address{}, fmt.Errorf("address %q: the path has %d bytes, a Unix socket's has at most %d", text, len(path), maxUnixPath)
	}
	return address{network: network, path: path}, nil
}

// literal returns the address if it can be had without a name server.
func (a address) literal() (net.Addr, bool, error) {
	if a.network == "unix" {
		return &net.UnixAddr{Name: a.path, Net: "unix"}, true, nil
	}
	if a.host == "" {
		return &net.TCPAddr{Port: a.port}, true, nil
	}
	ip, err := netip.ParseAddr(a.host)
	if err != nil {
		return nil, false, nil
	}
	if err := a.checkFamily(ip); err != nil {
		return nil, false, err
	}
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, uint16(a.port))), true, nil
}

// dialAddrs returns the addresses to connect to if they can be had without a name
// server. Where no address is given it is this machine's own, as in package net.
func (a address) dialAddrs() ([]net.Addr, bool, error) {
	addr, ok, err := a.literal()
	tcp, isTCP := addr.(*net.TCPAddr)
	switch {
	case err != nil || !ok:
		return nil, false, err
	case !isTCP || !tcp.AddrPort().Addr().IsUnspecified() && tcp.IP != nil:
		return []net.Addr{addr}, true, nil
	}
	four := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: a.port}
	six := &net.TCPAddr{IP: net.IPv6loopback, Port: a.port}
	switch {
	case a.network == "tcp6", tcp.IP != nil && tcp.IP.To4() == nil:
		return []net.Addr{six}, true, nil
	case a.network == "tcp4", tcp.IP != nil:
		return []net.Addr{four}, true, nil
	}
	return []net.Addr{four, six}, true, nil
}

func (a address) checkFamily(ip netip.Addr) error {
	is4 := ip.Unmap().Is4()
	if a.family() == "ip4" && !is4 || a.family() == "ip6" && is4 {
		return fmt.Errorf("address %s is not of the family that %s asks for", a, a.network)
	}
	return nil
}

// family is the network of the host's addresses: ip, ip4 or ip6.
func (a address) family() string { return "ip" + strings.TrimLeft(a.network, "tcpud") }

// lookup returns every address of the host, in the order to try them.
func (a address) lookup(ctx context.Context, by *net.Resolver) ([]net.Addr, error) {
	ips, err := by.LookupNetIP(ctx, a.family(), a.host)
	if err != nil {
		return nil, err
	}
	addrs := make([]net.Addr, len(ips))
	for i, ip := range ips {
		addrs[i] = net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip.Unmap(), uint16(a.port)))
	}
	return addrs, nil
}

// listenAddr returns the one address to listen on. Of a name's addresses it is
// the first of IPv4, as in package net.
func (a address) listenAddr(ctx context.Context) (net.Addr, error) {
	addr, ok, err := a.literal()
	if ok || err != nil {
		return addr, err
	}
	addrs, err := a.lookup(ctx, net.DefaultResolver)
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

// String returns the address as it was written.
func (a address) String() string {
	if a.path != "" {
		return a.network + "://" + a.path
	}
	if a.tls {
		return "tls://" + net.JoinHostPort(a.host, strconv.Itoa(a.port))
	}
	return a.network + "://" + net.JoinHostPort(a.host, strconv.Itoa(a.port))
}
