package load

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// An endpoint is a target that was looked up.
type endpoint struct {
	Address  string `json:"address"`          // for Engine.Dial
	Spread   bool   `json:"spread,omitempty"` // of 127.0.0.0/8: every address of that can dial it
	Ports    bool   `json:"ports,omitempty"`  // each connection takes a port
	loopback bool
}

// A scheme is one kind of target. To add one is to add a line to schemes.
type scheme struct {
	name    string
	form    string // as the help writes it
	resolve func(ctx context.Context, scheme, rest string) (endpoint, error)
}

var schemes = []scheme{
	{"tcp", "tcp://host:port", resolveTCP},
	{"tcp4", "tcp4://host:port", resolveTCP},
	{"tcp6", "tcp6://host:port", resolveTCP},
	{"unix", "unix:///path", resolveUnix},
}

// Targets says what targets look like.
func Targets() string {
	var forms []string
	for _, s := range schemes {
		forms = append(forms, s.form)
	}
	last := len(forms) - 1
	return strings.Join(forms[:last], ", ") + " or " + forms[last]
}

// resolve looks a target up.
func resolve(ctx context.Context, target string) (endpoint, error) {
	name, rest, ok := strings.Cut(target, "://")
	if !ok {
		return endpoint{}, fmt.Errorf("target %q has no scheme: write %s", target, Targets())
	}
	i := slices.IndexFunc(schemes, func(s scheme) bool { return s.name == name })
	if i < 0 {
		return endpoint{}, fmt.Errorf("target %q has the unknown scheme %q: write %s", target, name, Targets())
	}
	e, err := schemes[i].resolve(ctx, name, rest)
	if err != nil {
		return endpoint{}, fmt.Errorf("target %q: %w", target, err)
	}
	return e, nil
}

func resolveUnix(_ context.Context, name, path string) (endpoint, error) {
	if path == "" {
		return endpoint{}, errors.New("there is no path: write unix:///path")
	}
	return endpoint{Address: name + "://" + path, loopback: true}, nil
}

// resolveTCP takes one address of the host, of IPv4 if there is one, as servers
// that listen on a name do.
func resolveTCP(ctx context.Context, name, rest string) (endpoint, error) {
	host, service, err := net.SplitHostPort(rest)
	if err != nil {
		var bad *net.AddrError
		if errors.As(err, &bad) {
			err = errors.New(bad.Err)
		}
		return endpoint{}, fmt.Errorf("%w: write %s://host:port", err, name)
	}
	port, err := net.LookupPort(name, service)
	if err != nil || port == 0 {
		return endpoint{}, fmt.Errorf("the port is %q: write a number from 1 to 65535", service)
	}
	ip, err := lookup(ctx, name, host)
	if err != nil {
		return endpoint{}, err
	}
	return endpoint{
		Address:  name + "://" + netip.AddrPortFrom(ip, uint16(port)).String(),
		Spread:   ip.IsLoopback() && ip.Is4(),
		Ports:    true,
		loopback: ip.IsLoopback(),
	}, nil
}

// lookup returns the address of a host. No host, and the address of all
// interfaces, on which servers listen, are this machine.
func lookup(ctx context.Context, network, host string) (netip.Addr, error) {
	if host == "" {
		host = "0.0.0.0"
		if network == "tcp6" {
			host = "::"
		}
	}
	family := map[string]string{"tcp": "ip", "tcp4": "ip4", "tcp6": "ip6"}[network]
	ips, err := net.DefaultResolver.LookupNetIP(ctx, family, host)
	if err != nil {
		var bad *net.AddrError
		if errors.As(err, &bad) {
			return netip.Addr{}, fmt.Errorf("the address is not of the family that %s asks for", network)
		}
		return netip.Addr{}, err
	}
	ip := ips[0]
	if i := slices.IndexFunc(ips, func(ip netip.Addr) bool { return ip.Unmap().Is4() }); i >= 0 {
		ip = ips[i]
	}
	ip = ip.Unmap()
	switch ip {
	case netip.IPv4Unspecified():
		return netip.AddrFrom4([4]byte{127, 0, 0, 1}), nil
	case netip.IPv6Unspecified():
		return netip.IPv6Loopback(), nil
	}
	return ip, nil
}
