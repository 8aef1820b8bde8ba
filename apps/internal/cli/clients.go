package cli

import (
	"net"
	"net/netip"
	"slices"

	"github.com/spf13/pflag"

	"github.com/epinet/epi"
)

// What one client address may have, unless the flags say otherwise: more than the
// users of an office, or of a carrier's gateway, who share one need.
const (
	connsOfClient      = 1000
	handshakesOfClient = 100
)

// clientLimits are the flags about single clients.
type clientLimits struct {
	flags             *pflag.FlagSet
	conns, handshakes int  // 0: no limit
	usual             bool // conns is what is usual, and nobody has asked for it
}

func (l *clientLimits) addFlags(flags *pflag.FlagSet) {
	l.flags = flags
	flags.Var(count(&l.conns), "max-conns-per-ip", "`number` of connections of one client address, of IPv6 one /64; 0 for any (default 1000 where other machines can connect)")
	flags.Var(count(&l.handshakes), "max-handshakes-per-ip", "`number` of TLS handshakes of one client address at once; 0 for any (default 100 where other machines can connect)")
}

// set limits the clients of an engine that serves addresses. Where nobody but this
// machine can connect there is no limit by default: its programs share an address,
// and have other ways to disturb a server.
func (l *clientLimits) set(e *epi.Engine, addresses []string) {
	if slices.ContainsFunc(addresses, isOpen) {
		l.usual = l.fillIn("max-conns-per-ip", &l.conns, connsOfClient)
		l.fillIn("max-handshakes-per-ip", &l.handshakes, handshakesOfClient)
	}
	e.MaxConnsPerIP, e.MaxHandshakesPerIP = l.conns, l.handshakes
}

// fillIn reports whether the command line has left it open.
func (l *clientLimits) fillIn(flag string, to *int, value int) bool {
	if l.flags.Changed(flag) {
		return false
	}
	*to = value
	return true
}

// prefer has a command's own number of connections take the place of what is usual.
func (l *clientLimits) prefer(e *epi.Engine, conns int) {
	if l.usual {
		e.MaxConnsPerIP = conns
	}
}

// isOpen reports whether other machines may be able to connect to an address. Of a
// name, and of a socket that somebody else has opened, that is not known.
func isOpen(address string) bool {
	scheme, rest := spokenAt(address)
	if scheme == "unix" || !isStream(address) {
		return false
	}
	hostPort, _, _ := cutPath(rest)
	host, _, err := net.SplitHostPort(hostPort)
	if err != nil {
		return true
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return host != "localhost"
	}
	return !ip.IsLoopback()
}
