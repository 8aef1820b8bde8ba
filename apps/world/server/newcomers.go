package server

import (
	"net"
	"net/netip"
	"time"
)

const (
	// maxNewcomers bounds the addresses that are remembered. Beyond it, of so many that are
	// looked at, the one that made an account longest ago is forgotten: the loop does it.
	maxNewcomers = 8192
	lookedAt     = 32
)

// newcomers bounds the accounts that one address makes: so many at once, and so many an hour.
// It belongs to the loop.
type newcomers struct {
	most int // 0: any number
	made map[netip.Prefix]making
}

// A making is what an address has made and not earned again, at a time.
type making struct {
	count float64
	at    time.Time
}

func newNewcomers(most int) newcomers {
	return newcomers{most, map[netip.Prefix]making{}}
}

// admit counts an account, unless its address has made too many.
func (n *newcomers) admit(from net.Addr, now time.Time) bool {
	network, ok := networkOf(from)
	if n.most == 0 || !ok {
		return true
	}
	count := n.left(n.made[network], now)
	if count+1 > float64(n.most) {
		return false
	}
	if len(n.made) >= maxNewcomers {
		n.forget()
	}
	n.made[network] = making{count + 1, now}
	return true
}

// left is what is not earned again.
func (n *newcomers) left(m making, now time.Time) float64 {
	return max(0, m.count-now.Sub(m.at).Hours()*float64(n.most))
}

// forget makes room for one. The order of a map is another each time.
func (n *newcomers) forget() {
	var oldest netip.Prefix
	looked := 0
	for network, m := range n.made {
		if !oldest.IsValid() || m.at.Before(n.made[oldest].at) {
			oldest = network
		}
		if looked++; looked == lookedAt {
			break
		}
	}
	delete(n.made, oldest)
}

// networkOf is what counts as one address: of IPv6 a /64. A Unix peer has none.
func networkOf(a net.Addr) (netip.Prefix, bool) {
	from, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Prefix{}, false
	}
	ip, bits := from.Addr().Unmap().WithZone(""), 32
	if ip.Is6() {
		bits = 64
	}
	network, err := ip.Prefix(bits)
	return network, err == nil
}
