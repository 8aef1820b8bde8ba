package load

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/epinet/epi/internal/epitest"
)

// The first message is due at once, however long it takes until the next.
func TestHunt22_FirstMessageIsDueAtOnce(t *testing.T) {
	for _, rate := range []float64{0.001, 1e-300} {
		r := mustRun(t, Config{Targets: []string{echoServer(t, local)}, Conns: 1, Rate: rate, Duration: short, Patience: epitest.Patience})
		if r.Failed() || r.Latency.Count != 1 {
			t.Errorf("rate %g: %d messages, errors %v", rate, r.Latency.Count, r.Errors)
		}
	}
}

// The messages of two loops alternate: none of the beats begins with another.
func TestHunt22_LoopsAlternate(t *testing.T) {
	c := Config{Targets: []string{echoServer(t, local)}, Conns: 32, Rate: 1000, Loops: 2, Patience: epitest.Patience}.withDefaults()
	endpoints, err := c.check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p, err := newPlan(&c, endpoints, machine{files: 1000, ports: 1000})
	if err != nil {
		t.Fatal(err)
	}
	g, err := startGenerator(p.shares[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := g.connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	start := g.clock() + int64(time.Hour) // nothing is due before the test ends
	g.from, g.to = start, start+int64(time.Hour)
	g.begin(start)
	first, second := g.lane(0).beat, g.lane(1).beat
	g.onLoops((*lane).finish)
	g.onLoops((*lane).end)
	if _, err := g.close(); err != nil {
		t.Fatal(err)
	}
	if apart := second.start - first.start; first.start != start || apart != int64(second.interval/2) {
		t.Errorf("the beats begin %d and %d ns after the start, every %g and %g ns", first.start-start, second.start-start, first.interval, second.interval)
	}
}

// lane returns that of a loop.
func (g *generator) lane(index int) *lane {
	for _, l := range g.lanes {
		if l.index == index {
			return l
		}
	}
	panic("there is no such loop")
}

// When nobody is left who could send what is due, nobody waits for it.
func TestHunt22_NobodyWaitsForThoseWhoHaveGone(t *testing.T) {
	target := serve(t, func(c net.Conn) {
		_, _ = io.ReadFull(c, make([]byte, 64))
		time.Sleep(20 * time.Millisecond) // more become due, for which there is no room
	})
	c := Config{Targets: []string{target}, Conns: 2, Depth: 1, Rate: 1000, Duration: time.Hour, Patience: time.Hour}
	reports := make(chan *Report, 1)
	go func() {
		r, err := Run(t.Context(), c, nil)
		if err != nil {
			t.Error(err)
		}
		reports <- r
	}()
	if r := epitest.Receive(t, reports); r.Partial != deserted {
		t.Errorf("partial %q, errors %v", r.Partial, r.Errors)
	}
}

// Connections that only are there are a load, too.
func TestHunt22_NoneIsActive(t *testing.T) {
	r := mustRun(t, Config{Targets: []string{echoServer(t, local)}, Conns: 5, Active: NoneActive, Duration: short})
	if r.Setup.Opened != 5 || r.Active != 0 || r.Requests != 0 || r.Failed() || r.Partial != "" {
		t.Errorf("%d open, %d active, %d requests, errors %v, partial %q", r.Setup.Opened, r.Active, r.Requests, r.Errors, r.Partial)
	}
}
