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
	Kind     kind   `json:"kind,omitempty"`
	Name     string `json:"name,omitempty"` // of the host, for its certificate; none: no TLS
	loopback bool
}

// A kind is how messages travel to a target.
type kind int

const (
	stream        kind = iota // bytes in order
	webSocket                 // a message in each of WebSocket's
	datagrams                 // a message in each, which may be lost
	chatStream                // lines of IRC
	chatWebSocket             // a line of IRC in each of WebSocket's
	mqttStream                // packets of MQTT
)

// isChat says whether the target passes messages on to many, and is no echo server.
func (k kind) isChat() bool { return k == chatStream || k == chatWebSocket || k == mqttStream }

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
	{"tls", "tls://host:port", resolveTLS},
	{"ws", "ws://host:port/path", resolveWebSocket},
	{"wss", "wss://host:port/path", resolveWebSocket},
	{"udp", "udp://host:port", resolveUDP},
	{"udp4", "udp4://host:port", resolveUDP},
	{"udp6", "udp6://host:port", resolveUDP},
	{"unixgram", "unixgram:///path", resolveUnixgram},
	{"irc", "irc://host:port", resolveIRC},
	{"ircs", "ircs://host:port", resolveIRC},
	{"irc+ws", "irc+ws://host:port/path", resolveIRC},
	{"irc+wss", "irc+wss://host:port/path", resolveIRC},
	{"mqtt", "mqtt://host:port", resolveMQTT},
	{"mqtts", "mqtts://host:port", resolveMQTT},
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
		return endpoint{}, fmt.Errorf("there is no path: write %s:///path", name)
	}
	return endpoint{Address: name + "://" + path, loopback: true}, nil
}

func resolveUnixgram(ctx context.Context, name, path string) (endpoint, error) {
	e, err := resolveUnix(ctx, name, path)
	e.Kind = datagrams
	return e, err
}

func resolveTLS(ctx context.Context, name, rest string) (endpoint, error) {
	e, err := resolveTCP(ctx, name, rest)
	e.Name = serverName(rest)
	return e, err
}

// resolveWebSocket leaves it to the system where to dial from, as package ws does.
func resolveWebSocket(ctx context.Context, name, rest string) (endpoint, error) {
	host, path, _ := strings.Cut(rest, "/")
	e, err := resolveTCP(ctx, name, host)
	e.Address += "/" + path
	e.Kind, e.Spread = webSocket, false
	if name == "wss" {
		e.Name = serverName(host)
	}
	return e, err
}

// roomSchemes are the schemes of IRC servers and MQTT brokers, and those on which they
// are spoken.
var roomSchemes = map[string]scheme{
	"mqtt":    {name: "tcp", resolve: resolveTCP},
	"mqtts":   {name: "tls", resolve: resolveTLS},
	"irc":     {name: "tcp", resolve: resolveTCP},
	"ircs":    {name: "tls", resolve: resolveTLS},
	"irc+ws":  {name: "ws", resolve: resolveWebSocket},
	"irc+wss": {name: "wss", resolve: resolveWebSocket},
}

func resolveIRC(ctx context.Context, name, rest string) (endpoint, error) {
	below := roomSchemes[name]
	e, err := below.resolve(ctx, below.name, rest)
	e.Kind = map[kind]kind{stream: chatStream, webSocket: chatWebSocket}[e.Kind]
	return e, err
}

func resolveMQTT(ctx context.Context, name, rest string) (endpoint, error) {
	below := roomSchemes[name]
	e, err := below.resolve(ctx, below.name, rest)
	e.Kind = mqttStream
	return e, err
}

func resolveUDP(ctx context.Context, name, rest string) (endpoint, error) {
	e, err := resolveTCP(ctx, name, rest)
	e.Kind, e.Spread = datagrams, false
	return e, err
}

// serverName is what the certificate is to be for: the host as it was written,
// which for this machine's own addresses is its name.
func serverName(hostPort string) string {
	host, _, err := net.SplitHostPort(hostPort)
	ip, parsed := netip.ParseAddr(host)
	switch {
	case err != nil, host == "", parsed == nil && ip.IsUnspecified():
		return "localhost"
	case parsed == nil && ip.Zone() != "": // which is this machine's affair
		return ip.WithZone("").String()
	}
	return host
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
		if strings.HasSuffix(network, "6") {
			host = "::"
		}
	}
	family := "ip"
	if i := strings.IndexAny(network, "46"); i > 0 {
		family += network[i:]
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.Zone() != "" && family != "ip4" {
		return ip, nil // a look-up would lose the zone
	}
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
