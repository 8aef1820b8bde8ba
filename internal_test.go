package epi

import (
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/epinet/epi/internal/driver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestHunt27_TwoChoicesKeepLoopsEven places many connections on many loops. By
// chance alone the fullest would have about 30 more than its share.
func TestHunt27_TwoChoicesKeepLoopsEven(t *testing.T) {
	const loops, share, most = 64, 100, 20
	e := &Engine{}
	for range loops {
		e.loops = append(e.loops, &Loop{engine: e})
	}
	for range loops * share {
		e.lighterLoop().live.Add(1)
	}
	for i, l := range e.loops {
		if n := l.live.Load(); n > share+most {
			t.Errorf("loop %d has %d connections, its share is %d", i, n, share)
		}
	}
}

// Of two loops the lighter one is always found.
func TestHunt27_TwoLoopsAreBothLookedAt(t *testing.T) {
	e := &Engine{}
	for range 2 {
		e.loops = append(e.loops, &Loop{engine: e})
	}
	e.loops[0].live.Store(1)
	for range 100 {
		if e.lighterLoop() != e.loops[1] {
			t.Fatal("the fuller loop was chosen")
		}
	}
}

// A look before sleeping is left out after some that found nothing, until sleeping
// turns out to be short.
func TestHunt24_LooksInVainAreLeftOut(t *testing.T) {
	m := lookMeter{costs: true}
	for i := range 2 * looksInVain {
		if m.inVain() != (i >= looksInVain) {
			t.Fatalf("after %d looks in vain: %v", i, m.inVain())
		}
		m.found(false)
	}
	m.found(true)
	if m.inVain() {
		t.Error("a look that pays is left out")
	}
	free := lookMeter{}
	for range 2 * looksInVain {
		free.found(false)
	}
	if free.inVain() {
		t.Error("a look that costs nothing is left out")
	}
}

func TestSpate(t *testing.T) {
	var s spate
	at := func(d time.Duration, wantYes bool, wantKept uint64) {
		t.Helper()
		if yes, kept := s.say(int64(d)); yes != wantYes || kept != wantKept {
			t.Errorf("at %v: %v, %d kept, want %v, %d", d, yes, kept, wantYes, wantKept)
		}
	}
	for range linesAtOnce {
		at(time.Second, true, 0)
	}
	at(2*time.Second, false, 0)
	at(time.Second+sayAgain-1, false, 0)
	at(time.Second+sayAgain, true, 2)
	for range linesAtOnce - 1 {
		at(time.Second+sayAgain, true, 0)
	}
	at(time.Second+sayAgain, false, 0)
	at(time.Hour, true, 1)
}

// A scripted connection takes so many bytes of each write, and then times out.
type scripted struct {
	net.Conn
	takes []int
}

func (s *scripted) SetWriteDeadline(time.Time) error { return nil }

func (s *scripted) Write(p []byte) (int, error) {
	n := s.takes[0]
	s.takes = s.takes[1:]
	if n < len(p) {
		return n, os.ErrDeadlineExceeded
	}
	return len(p), nil
}

// WriteTimeout is for a peer that takes nothing, not for one that takes little; the
// user's own deadline is for both.
func TestHunt11_DetachedWritesEndWithoutProgress(t *testing.T) {
	const size = 10
	for _, row := range []struct {
		name     string
		takes    []int
		patience time.Duration
		deadline time.Time
		n        int
		fails    bool
	}{
		{"all at once", []int{size}, time.Hour, time.Time{}, size, false},
		{"a little each time", []int{3, 3, 3, size}, time.Hour, time.Time{}, size, false},
		{"a little, then nothing", []int{3, 0}, time.Hour, time.Time{}, 3, true},
		{"nothing", []int{0}, time.Hour, time.Time{}, 0, true},
		{"a little, up to the user's deadline", []int{3}, time.Hour, time.Now(), 3, true},
		{"no timeout", []int{3}, 0, time.Time{}, 3, true},
	} {
		d := &detached{Conn: &scripted{takes: row.takes}, patience: row.patience, deadline: row.deadline}
		n, err := d.Write(make([]byte, size))
		if n != row.n || (err != nil) != row.fails {
			t.Errorf("%s: Write returns %d, %v", row.name, n, err)
		}
	}
}

// TestHunt20_NetworksInEitherForm: what an address is, not how it is written,
// decides whether it is in a network.
func TestHunt20_NetworksInEitherForm(t *testing.T) {
	for _, row := range []struct {
		network, peer string
		in            bool
	}{
		{"10.0.0.0/8", "10.1.2.3", true},
		{"10.0.0.0/8", "::ffff:10.1.2.3", true},
		{"::ffff:10.0.0.0/104", "10.1.2.3", true},
		{"::ffff:10.0.0.0/104", "::ffff:10.1.2.3", true},
		{"::ffff:10.0.0.0/104", "11.1.2.3", false},
		{"::ffff:0:0/96", "10.1.2.3", true},
		{"fe80::/10", "fe80::1%eth0", true},
		{"fe80::1/128", "fe80::1%3", true},
		{"fe80::1/128", "fe80::2%3", false},
		{"::/0", "10.1.2.3", false},
		{"0.0.0.0/0", "2001:db8::1", false},
	} {
		p, err := newProxies(&ListenOptions{ProxyFrom: []netip.Prefix{netip.MustParsePrefix(row.network)}})
		if err != nil {
			t.Fatal(err)
		}
		if in := p.hasNetwork(netip.MustParseAddr(row.peer)); in != row.in {
			t.Errorf("that %s is in %s: %v", row.peer, row.network, in)
		}
		if p.hasNetwork(netip.Addr{}) {
			t.Errorf("nobody is in %s", row.network)
		}
	}
}

// TestHostile_ClientsByAddress: an IPv6 client has all addresses of its network.
func TestHostile_ClientsByAddress(t *testing.T) {
	for _, row := range []struct{ addr, client string }{
		{"192.0.2.7", "192.0.2.7"},
		{"::ffff:192.0.2.7", "192.0.2.7"},
		{"2001:db8::7", "2001:db8::"},
		{"2001:db8::ffff:ffff:ffff:ffff", "2001:db8::"},
		{"2001:db8:0:1::7", "2001:db8:0:1::"},
		{"fe80::1%eth0", "fe80::"},
	} {
		if client := clientOf(netip.MustParseAddr(row.addr)); client != netip.MustParseAddr(row.client) {
			t.Errorf("the client of %s is %s, want %s", row.addr, client, row.client)
		}
	}
}

// countingSplicer counts the pipes that are open.
type countingSplicer struct {
	driver.Splicer
	open int
}

func (s *countingSplicer) NewPipe() *driver.Pipe {
	s.open++
	return new(driver.Pipe)
}

func (s *countingSplicer) ClosePipe(*driver.Pipe) { s.open-- }

// TestProgram10_PipesAreBounded: a loop has one pipe to spare, and mostPipes that
// are in use.
func TestProgram10_PipesAreBounded(t *testing.T) {
	splicer := &countingSplicer{}
	p := pipes{splicer: splicer}
	var used []*driver.Pipe
	for p.offer() != nil {
		if first, second := p.offer(), p.offer(); first != second {
			t.Fatal("an offer that was not taken is not made again")
		}
		used = append(used, p.take())
	}
	if len(used) != mostPipes || splicer.open != mostPipes {
		t.Errorf("%d pipes are used and %d open, want %d", len(used), splicer.open, mostPipes)
	}
	for _, pipe := range used {
		p.put(pipe)
	}
	if splicer.open != 1 || p.offer() == nil {
		t.Errorf("%d pipes are open while none is used, want one to spare", splicer.open)
	}
	p.release()
	if splicer.open != 0 {
		t.Errorf("%d pipes are open after the end", splicer.open)
	}
}
