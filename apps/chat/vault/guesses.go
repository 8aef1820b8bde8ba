package vault

import (
	"net/netip"
	"sync"
	"time"
)

const (
	// maxWrong is how many wrong passwords may come from one address, and
	// forgiveEvery after how long each of them is forgotten.
	maxWrong = 10
	// maxWrongAccount is how many may be tried for one account, from wherever: more,
	// so that nobody is kept out of theirs by a few guesses of others.
	maxWrongAccount = 50
	forgiveEvery    = 30 * time.Second
	// maxGuessed bounds the addresses and accounts that are remembered; beyond it, the
	// oldest are forgotten.
	maxGuessed = 8192
)

// Guesses counts wrong passwords by address, IPv6 by /64, and by account. Its methods
// may be called from any goroutine.
type Guesses struct {
	mu    sync.Mutex
	wrong map[string]*guess // guarded by mu; by network, or account behind an @
	now   func() time.Time
	mails mailCount // codes that were sent
}

type guess struct {
	count float64
	at    time.Time
}

// NewGuesses returns an empty count.
func NewGuesses() *Guesses {
	return &Guesses{wrong: map[string]*guess{}, now: time.Now}
}

// May reports whether another password from an address may be tried, for an account
// unless that is "".
func (g *Guesses) May(address, account string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.count(network(address)) < maxWrong && (account == "" || g.count("@"+account) < maxWrongAccount)
}

// Wrong counts a wrong password.
func (g *Guesses) Wrong(address, account string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.add(network(address))
	if account != "" {
		g.add("@" + account)
	}
}

func (g *Guesses) count(key string) float64 {
	if known := g.wrong[key]; known != nil {
		return g.left(known)
	}
	return 0
}

func (g *Guesses) add(key string) {
	known := g.wrong[key]
	if known == nil {
		g.makeRoom()
		known = &guess{at: g.now()}
		g.wrong[key] = known
	}
	known.count = g.left(known) + 1
	known.at = g.now()
}

// left is what is not forgotten yet.
func (g *Guesses) left(known *guess) float64 {
	return max(0, known.count-float64(g.now().Sub(known.at))/float64(forgiveEvery))
}

func (g *Guesses) makeRoom() {
	if len(g.wrong) < maxGuessed {
		return
	}
	oldest := ""
	for from, known := range g.wrong {
		if g.left(known) == 0 {
			delete(g.wrong, from)
			continue
		}
		if o := g.wrong[oldest]; o == nil || known.at.Before(o.at) {
			oldest = from
		}
	}
	if len(g.wrong) >= maxGuessed {
		delete(g.wrong, oldest)
	}
}

// network is what counts as one address.
func network(address string) string {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return ""
	}
	bits := 32
	if a = a.Unmap().WithZone(""); a.Is6() {
		bits = 64
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return ""
	}
	return p.String()
}
