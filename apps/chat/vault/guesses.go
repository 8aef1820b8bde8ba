package vault

import (
	"net/netip"
	"sync"
	"time"
)

const (
	// maxWrong is how many wrong passwords may come from one address, and
	// forgiveEvery after how long each of them is forgotten.
	maxWrong     = 10
	forgiveEvery = 30 * time.Second
	// maxAddresses bounds what is remembered; beyond it, the oldest are forgotten.
	maxAddresses = 4096
)

// Guesses counts wrong passwords by address, IPv6 by /64. Its methods may be
// called from any goroutine.
type Guesses struct {
	mu    sync.Mutex
	wrong map[netip.Prefix]*guess // guarded by mu
	now   func() time.Time
}

type guess struct {
	count float64
	at    time.Time
}

// NewGuesses returns an empty count.
func NewGuesses() *Guesses {
	return &Guesses{wrong: map[netip.Prefix]*guess{}, now: time.Now}
}

// May reports whether another password from an address may be tried.
func (g *Guesses) May(address string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	known := g.wrong[network(address)]
	return known == nil || g.left(known) < maxWrong
}

// Wrong counts a wrong password.
func (g *Guesses) Wrong(address string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	from := network(address)
	known := g.wrong[from]
	if known == nil {
		g.makeRoom()
		known = &guess{at: g.now()}
		g.wrong[from] = known
	}
	known.count = g.left(known) + 1
	known.at = g.now()
}

// left is what is not forgotten yet.
func (g *Guesses) left(known *guess) float64 {
	return max(0, known.count-float64(g.now().Sub(known.at))/float64(forgiveEvery))
}

func (g *Guesses) makeRoom() {
	if len(g.wrong) < maxAddresses {
		return
	}
	var oldest netip.Prefix
	for from, known := range g.wrong {
		if g.left(known) == 0 {
			delete(g.wrong, from)
			continue
		}
		if o := g.wrong[oldest]; o == nil || known.at.Before(o.at) {
			oldest = from
		}
	}
	if len(g.wrong) >= maxAddresses {
		delete(g.wrong, oldest)
	}
}

// network is what counts as one address.
func network(address string) netip.Prefix {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return netip.Prefix{}
	}
	bits := 32
	if a = a.Unmap().WithZone(""); a.Is6() {
		bits = 64
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
