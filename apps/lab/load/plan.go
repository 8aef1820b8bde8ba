package load

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/epinet/epi"
)

const (
	// maxProcesses bounds the child processes.
	maxProcesses = 64
	// selectLimit is FD_SETSIZE, select(2).
	selectLimit = 1024
	// ownFiles is what a process opens besides connections: the reserve, those
	// of the Go runtime's poller, and some to spare.
	ownFiles = 8
	// loopFiles is what each loop opens: an epoll set and its wake-up.
	loopFiles = 2
	// childFiles is what a child costs its parent: two pipes and a pidfd.
	childFiles = 3
	// maxSources is how many source addresses are used at most, those from
	// 127.0.0.1 to 127.0.255.255.
	maxSources = 1<<16 - 1
)

// A share is the part of the load that one process makes.
type share struct {
	Endpoints []endpoint    `json:"endpoints"`
	Sources   []netip.Addr  `json:"sources,omitempty"` // for endpoints that can be dialled from several; none: the system chooses
	First     int           `json:"first"`             // number of the first connection
	Conns     int           `json:"conns"`
	Active    int           `json:"active"`
	Window    int           `json:"window"` // connections on their way at the same time
	Depth     int           `json:"depth"`
	Rate      float64       `json:"rate"` // of this process
	Sizes     Sizes         `json:"sizes"`
	Verify    bool          `json:"verify"`
	Warmup    time.Duration `json:"warmup"`
	Duration  time.Duration `json:"duration"`
	Patience  time.Duration `json:"patience"`
	Loops     int           `json:"loops"`
	Driver    epi.Driver    `json:"driver"`
	Trigger   epi.Trigger   `json:"trigger"`
	LostAfter time.Duration `json:"lost_after"`
	Trust     Trust         `json:"trust"`
	Server    int           `json:"server,omitempty"` // process to watch; in one share only

	// Where the endpoints are IRC servers.
	FirstChannel int   `json:"first_channel,omitempty"`
	Channels     int   `json:"channels,omitempty"` // each has its members in one share
	Await        Await `json:"await,omitempty"`
}

// A machine is what limits the number of connections.
type machine struct {
	files int // that one process may open
	open  int // of them in use
	ports int // ephemeral ports for one source address
}

// A plan is how the load is spread over processes and source addresses.
type plan struct {
	shares  []share
	sources []netip.Addr
	notes   []string // what a reader must know of it
}

// newPlan spreads the load. c has the defaults filled in.
func newPlan(c *Config, endpoints []endpoint, m machine) (*plan, error) {
	p := &plan{}
	if err := p.spreadSources(c, endpoints, m); err != nil {
		return nil, err
	}
	n, err := p.countProcesses(c, m)
	if err != nil {
		return nil, err
	}
	if c.Channels > 0 && c.Channels < n {
		return nil, fmt.Errorf("%d connections need %d processes, and a channel has its members in one of them: choose at least %d channels", c.Conns, n, n)
	}
	window := dialWindow
	if c.Channels > 0 {
		window = chatWindow
	}
	first, active, channels := 0, 0, 0
	for i := range n {
		// Integer division deals out what is left over, too.
		upToConns, upToActive, upToChannels := c.Conns*(i+1)/n, c.Active*(i+1)/n, c.Channels*(i+1)/n
		s := share{
			Endpoints: endpoints, Sources: p.sources, First: first, Conns: upToConns - first, Active: upToActive - active,
			Window: max(1, window/n), Depth: c.Depth, Sizes: c.Sizes, Verify: c.Verify,
			Warmup: c.Warmup, Duration: c.Duration, Patience: c.Patience,
			LostAfter: c.LostAfter, Trust: c.Trust,
			Loops: c.loopsFor(n), Driver: c.Driver, Trigger: c.Trigger,
			FirstChannel: channels, Channels: upToChannels - channels, Await: c.Await,
		}
		if i == 0 {
			s.Server = c.Server
		}
		if c.Rate > 0 {
			s.Rate = c.Rate * float64(s.Active) / float64(c.Active)
		}
		p.shares = append(p.shares, s)
		first, active, channels = upToConns, upToActive, upToChannels
	}
	return p, nil
}

// spreadSources chooses source addresses. Half of the ports of each are used:
// connect(2) first looks through every other port, and for a long time when
// those are taken.
func (p *plan) spreadSources(c *Config, endpoints []endpoint, m machine) error {
	each := (c.Conns + len(endpoints) - 1) / len(endpoints)
	good := max(1, m.ports/2)
	spread := false
	for i, e := range endpoints {
		switch {
		case !e.Ports:
		case e.Spread:
			spread = spread || each > good
		case each > m.ports:
			return fmt.Errorf("%d connections to %s need more than the %d ports of one source address: choose fewer, more targets, or a tcp:// or tls:// target on 127.0.0.0/8, which can be dialled from many addresses",
				each, c.Targets[i], m.ports)
		}
	}
	if !spread {
		return nil
	}
	n := (each + good - 1) / good
	if n > maxSources {
		return fmt.Errorf("%d connections to one target need %d source addresses; there are %d: choose fewer", each, n, maxSources)
	}
	addr := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	for range n {
		p.sources = append(p.sources, addr)
		addr = addr.Next()
	}
	p.notes = append(p.notes, fmt.Sprintf("%d source addresses, %s to %s: each has %d ports; half of them are found quickly",
		n, p.sources[0], p.sources[n-1], m.ports))
	return nil
}

// countProcesses returns the number of processes whose open files suffice.
func (p *plan) countProcesses(c *Config, m machine) (int, error) {
	limit, of := m.files, "open files"
	if c.Driver == epi.DriverSelect && limit > selectLimit {
		limit, of = selectLimit, "descriptors of select"
	}
	room := func(processes int) int {
		return limit - m.open - ownFiles - loopFiles*c.loopsFor(processes)
	}
	if c.Conns <= room(1) {
		return 1, nil
	}
	n := 2
	for n < maxProcesses && room(n) > 0 && c.Conns > n*room(n) {
		n++
	}
	most := max(0, n*room(n))
	if c.Conns > most || n*childFiles > m.files-m.open-ownFiles {
		return 0, fmt.Errorf("%d connections are too many for %d processes (%s: limit %d, %d in use): raise the limit with ulimit -n or choose at most %d",
			c.Conns, n, of, limit, m.open, most)
	}
	if c.Child == nil {
		return 0, fmt.Errorf("%d connections need %d processes (%s: limit %d, %d in use): raise the limit with ulimit -n or choose at most %d",
			c.Conns, n, of, limit, m.open, max(0, room(1)))
	}
	p.notes = append(p.notes, fmt.Sprintf("%d child processes: each may have %d %s", n, limit, of))
	return n, nil
}
