package load

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/epinet/epi"
)

var (
	loopback = endpoint{Address: "tcp://127.0.0.1:7000", Spread: true, Ports: true, loopback: true}
	ipv6     = endpoint{Address: "tcp6://[::1]:7000", Ports: true, loopback: true}
	unixPath = endpoint{Address: "unix:///tmp/x", loopback: true}
	typical  = machine{files: 20_000, open: 10, ports: 28_232}
)

func planFor(t *testing.T, c Config, m machine, endpoints ...endpoint) (*plan, error) {
	t.Helper()
	for _, e := range endpoints {
		c.Targets = append(c.Targets, e.Address)
	}
	c = c.withDefaults()
	return newPlan(&c, endpoints, m)
}

func TestPlanSpreads(t *testing.T) {
	child := func() *exec.Cmd { return nil }
	for _, c := range []struct {
		name      string
		config    Config
		machine   machine
		endpoints []endpoint
		processes int
		sources   int
	}{
		{"small", Config{Conns: 100}, typical, []endpoint{loopback}, 1, 0},
		{"half the ports", Config{Conns: 14_116}, typical, []endpoint{loopback}, 1, 0},
		{"more", Config{Conns: 14_117}, typical, []endpoint{loopback}, 1, 2},
		{"two targets", Config{Conns: 19_000}, typical, []endpoint{loopback, loopback}, 1, 0},
		{"a path has no ports", Config{Conns: 19_000}, typical, []endpoint{unixPath}, 1, 0},
		{"IPv6", Config{Conns: 19_000}, typical, []endpoint{ipv6}, 1, 0},
		{"many files", Config{Conns: 50_001, Active: 7, Rate: 1000, Child: child}, typical, []endpoint{loopback}, 3, 4},
		{"select", Config{Conns: 2_500, Child: child, Driver: epi.DriverSelect}, typical, []endpoint{loopback}, 3, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := planFor(t, c.config, c.machine, c.endpoints...)
			if err != nil {
				t.Fatal(err)
			}
			if len(p.shares) != c.processes || len(p.sources) != c.sources {
				t.Errorf("%d processes and %d sources, want %d and %d", len(p.shares), len(p.sources), c.processes, c.sources)
			}
			notes := 0
			if c.processes > 1 {
				notes++
			}
			if c.sources > 0 {
				notes++
			}
			if len(p.notes) != notes {
				t.Errorf("the notes are %q", p.notes)
			}
			config := c.config.withDefaults()
			conns, active, rate := 0, 0, 0.0
			for _, s := range p.shares {
				if s.First != conns || s.Active > s.Conns {
					t.Errorf("a share begins at %d after %d connections, with %d of %d active", s.First, conns, s.Active, s.Conns)
				}
				conns, active, rate = conns+s.Conns, active+s.Active, rate+s.Rate
			}
			if conns != config.Conns || active != config.Active || rate < 0.999*config.Rate || rate > 1.001*config.Rate {
				t.Errorf("the shares add up to %d connections, %d active, %g/s", conns, active, rate)
			}
		})
	}
}

func TestSourcesFollowEachOther(t *testing.T) {
	p, err := planFor(t, Config{Conns: 700}, machine{files: 1000, ports: 4}, loopback)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(p.sources); n != 350 || p.sources[0].String() != "127.0.0.1" || p.sources[349].String() != "127.0.1.94" {
		t.Errorf("%d sources: %v", n, p.sources)
	}
	if slices.ContainsFunc(p.shares, func(s share) bool { return len(s.Sources) != 350 }) {
		t.Error("a share does not know the sources")
	}
}

func TestPlansThatCannotBe(t *testing.T) {
	child := func() *exec.Cmd { return nil }
	for _, c := range []struct {
		config  Config
		machine machine
		to      endpoint
		words   []string
	}{
		{Config{Conns: 30_000}, machine{files: 50_000, ports: 28_232}, ipv6, []string{"30000", "28232", "[::1]", "127.0.0.0/8"}},
		{Config{Conns: 30_000}, typical, loopback, []string{"30000", "2 processes", "20000", "ulimit -n"}},
		{Config{Conns: 2_000_000, Child: child}, typical, unixPath, []string{"2000000", "64 processes", "ulimit -n"}},
		{Config{Conns: 100, Child: child}, machine{files: 20, open: 10, ports: 100}, unixPath, []string{"100", "limit 20", "ulimit -n"}},
		{Config{Conns: 1_000_000, Child: child}, machine{files: 2_000_000, ports: 2}, loopback, []string{"1000000", "65535"}},
	} {
		_, err := planFor(t, c.config, c.machine, c.to)
		for _, word := range append(c.words, "choose") {
			if err == nil || !strings.Contains(err.Error(), word) {
				t.Errorf("%d connections to %s: %v, want %q in it", c.config.Conns, c.to.Address, err, word)
			}
		}
	}
}
