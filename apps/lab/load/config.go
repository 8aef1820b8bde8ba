// Package load generates load for echo and IRC servers and measures what comes
// back: connection set-up, requests per second, latency. It runs on epi's own
// engine and speaks its streams, TLS, WebSocket (a message of the load in each
// of its messages) and datagrams.
//
// In a closed loop each active connection has Config.Depth messages in flight:
// an answer lets the next message go. In an open loop messages are due at a
// constant rate, whatever the server does, and latency counts from the moment
// at which a message was due, not from that at which it could be sent. A server
// that stalls for a second therefore shows in the latency of every message that
// was due in that second (no coordinated omission), and messages that it never
// answers count with the time that they have waited.
//
// A message belongs to the measurement when it was due (in a closed loop: sent)
// within the measured time. Requests, bytes and CPU time are counted by the
// answers that arrive within it.
//
// A datagram may be lost. One that is not answered within Config.LostAfter is
// counted as lost, has no latency, and its place in a closed loop is free for
// the next; an answer that comes later, or twice, is counted as stray.
//
// Clients of an IRC server register and join a channel before the load begins.
// A message goes to the sender's channel, and each of its deliveries is a
// request with its own latency: the time until that member has the line. In a
// closed loop the next message goes when the last member has it, or, with
// AwaitEcho, the sender. Each sender numbers its lines: those that are not the
// next from their sender, and those that never come, are errors. A channel has
// all its members in one process.
package load

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/apps/lab/proc"
)

// Defaults of the Config's fields.
const (
	DefaultConns     = 100
	DefaultDepth     = 1
	DefaultOpenDepth = 64
	DefaultChannels  = 1
	DefaultDuration  = 10 * time.Second
	DefaultPatience  = 5 * time.Second
	// DefaultLostAfter is when TCP first takes a segment for lost (RFC 6298).
	DefaultLostAfter = time.Second
)

const (
	// maxConnFlight bounds the bytes in flight on one connection.
	maxConnFlight = 64 << 20
	// maxFlight bounds the bytes in flight on all connections: they are queued
	// in this program as long as the server reads none of them.
	maxFlight = 4 << 30
	// maxRate is far above what any machine does and has room to compute with.
	maxRate = 1e9
	// leastDatagram has room for the numbers by which answers are told apart
	// when some are lost.
	leastDatagram = headerSize
	// mostDatagram is what UDP carries over IPv4 (udp(7)).
	mostDatagram = 65535 - 20 - 8
)

// NoneActive is for Config.Active.
const NoneActive = -1

// A Config says what load to make. Of every number and duration but Warmup, 0
// chooses the default.
type Config struct {
	// Targets are the servers' addresses (see Targets). Connections take turns.
	Targets []string
	// AllowRemote lets targets be other machines.
	AllowRemote bool

	// Conns is the number of connections. Default: 100.
	Conns int
	// Active is how many of them send; the others are idle. NoneActive: they are
	// there, and that is all. Default: all.
	Active int
	// Depth is the number of messages in flight on each connection: all the
	// time in a closed loop (default 1), at most in an open one (default 64; a
	// message that finds every connection full is late).
	Depth int
	// Rate, when positive, makes an open loop: messages per second in total.
	Rate float64
	// Sizes says how large messages are. Default: 64 bytes.
	Sizes Sizes
	// Verify compares every byte that comes back.
	Verify bool

	// Warmup is the time under load before measuring.
	Warmup time.Duration
	// Duration is the measured time. Default: 10 s.
	Duration time.Duration
	// Patience is how long to wait for a connection to be established, and,
	// after Duration, for outstanding answers. Default: 5 s.
	Patience time.Duration
	// LostAfter is how long an answer to a datagram is waited for. Default: 1 s.
	LostAfter time.Duration

	// Channels is the number of channels over which the clients of IRC servers
	// are spread evenly. Default: 1.
	Channels int
	// Await says when a message to a channel is done. Default: AwaitLast.
	Await Await

	// Trust says which certificates of TLS servers are accepted. Default: those
	// that the system trusts.
	Trust Trust

	// Loops is the number of event loops in each process. Default: one per
	// CPU, divided by the processes.
	Loops int
	// Driver and Trigger are the engine's.
	Driver  epi.Driver
	Trigger epi.Trigger

	// Server, when positive, is the id of the server's process: what it uses
	// within the measured time goes into Report.Server.
	Server int

	// Child returns the command of a child process that calls RunChild with its
	// standard input and output. Children are needed where the open files of
	// one process do not suffice; nil: there are none.
	Child func() *exec.Cmd
}

// withDefaults returns c with the defaults filled in.
func (c Config) withDefaults() Config {
	set := func(to *int, value int) {
		if *to == 0 {
			*to = value
		}
	}
	set(&c.Conns, DefaultConns)
	set(&c.Active, c.Conns)
	if c.Active == NoneActive {
		c.Active = 0
	}
	depth := DefaultDepth
	if c.Rate > 0 {
		depth = DefaultOpenDepth
	}
	set(&c.Depth, depth)
	c.Sizes = c.Sizes.or(defaultSizes)
	if c.Duration == 0 {
		c.Duration = DefaultDuration
	}
	if isChat(c.Targets) {
		set(&c.Channels, DefaultChannels)
		c.Await = cmp.Or(c.Await, AwaitLast)
	}
	if c.Patience == 0 {
		c.Patience = DefaultPatience
	}
	if c.LostAfter == 0 {
		c.LostAfter = DefaultLostAfter
	}
	return c
}

// Check looks for what is wrong with c, as far as that is known beforehand: it
// looks targets up, too.
func (c Config) Check(ctx context.Context) error {
	c = c.withDefaults()
	_, err := c.check(ctx)
	return err
}

// check returns the targets looked up. c has the defaults filled in.
func (c *Config) check(ctx context.Context) ([]endpoint, error) {
	for _, f := range []struct {
		name  string
		value int
	}{{"connections", c.Conns}, {"active connections", c.Active}, {"messages in flight", c.Depth}, {"loops", c.Loops}, {"channels", c.Channels}} {
		if f.value < 0 {
			return nil, fmt.Errorf("the number of %s is %d: it cannot be negative", f.name, f.value)
		}
	}
	if c.Active == 0 && c.Rate > 0 {
		return nil, fmt.Errorf("%g messages per second need a connection that sends, and none is active: choose 1 or more", c.Rate)
	}
	if c.Active > c.Conns {
		return nil, fmt.Errorf("%d of %d connections cannot be active: choose at most %d", c.Active, c.Conns, c.Conns)
	}
	if !(c.Rate >= 0 && c.Rate <= maxRate) {
		return nil, fmt.Errorf("the rate is %g messages per second: choose one above 0 and at most %g, or 0 for a closed loop", c.Rate, maxRate)
	}
	if min(c.Warmup, c.Duration, c.Patience, c.LostAfter) < 0 {
		return nil, errors.New("a duration is negative: choose one above 0")
	}
	if err := c.checkFlight(); err != nil {
		return nil, err
	}
	if _, err := c.Trust.config(); err != nil {
		return nil, err
	}
	if err := c.checkServer(); err != nil {
		return nil, err
	}
	endpoints, err := c.resolve(ctx)
	if err != nil {
		return nil, err
	}
	if err := c.checkChat(endpoints); err != nil {
		return nil, err
	}
	return endpoints, c.checkDatagrams(endpoints)
}

// isChat reports whether the targets are IRC servers or MQTT brokers. Those that are mixed
// checkChat refuses.
func isChat(targets []string) bool {
	return slices.ContainsFunc(targets, func(target string) bool {
		name, _, _ := strings.Cut(target, "://")
		_, ok := roomSchemes[name]
		return ok
	})
}

// checkChat refuses what no IRC server or MQTT broker can be loaded with.
func (c *Config) checkChat(endpoints []endpoint) error {
	if !isChat(c.Targets) {
		if c.Channels > 0 || c.Await != "" {
			return errors.New("channels are for irc:// and mqtt:// targets only")
		}
		return nil
	}
	mqtt := endpoints[0].Kind == mqttStream
	if slices.ContainsFunc(endpoints, func(e endpoint) bool { return !e.Kind.isChat() || (e.Kind == mqttStream) != mqtt }) {
		return errors.New("IRC servers, MQTT brokers and echo servers cannot be loaded together: give targets of one kind")
	}
	if c.Await != AwaitLast && c.Await != AwaitEcho {
		return fmt.Errorf("%q cannot be waited for: choose %s or %s", c.Await, AwaitLast, AwaitEcho)
	}
	if largest := c.Sizes.Largest(); largest > mostText || c.Sizes.smallest() < leastText {
		return fmt.Errorf("messages of %s bytes are no texts for a channel: choose %d to %d bytes; the first %d are numbers", c.Sizes, leastText, mostText, headerText)
	}
	least := c.Channels
	if c.Await == AwaitLast {
		least *= 2 // somebody must get what is sent
	}
	if c.Conns < least {
		return fmt.Errorf("%d connections are too few for %d channels: choose at least %d", c.Conns, c.Channels, least)
	}
	return nil
}

// checkServer refuses a process that cannot be watched.
func (c *Config) checkServer() error {
	if c.Server <= 0 {
		return nil
	}
	if _, err := proc.Of(c.Server); err != nil {
		return fmt.Errorf("the server cannot be watched: %w: give the id of the process that serves", err)
	}
	return nil
}

// checkDatagrams refuses messages that no datagram can be.
func (c *Config) checkDatagrams(endpoints []endpoint) error {
	i := slices.IndexFunc(endpoints, func(e endpoint) bool { return e.Kind == datagrams })
	if i < 0 {
		return nil
	}
	if largest := c.Sizes.Largest(); largest > mostDatagram || c.Sizes.smallest() < leastDatagram {
		return fmt.Errorf("messages of %s do not fit %s: a datagram has %d to %d bytes; the first %d identify answers when some are lost",
			c.Sizes.Bytes(), c.Targets[i], leastDatagram, mostDatagram, headerSize)
	}
	return nil
}

// checkFlight keeps the bytes in flight within bounds.
func (c *Config) checkFlight() error {
	largest := c.Sizes.Largest()
	if most := maxConnFlight / largest; c.Depth > most {
		return fmt.Errorf("%d messages of up to %d bytes in flight are too many for one connection: choose at most %d", c.Depth, largest, most)
	}
	if most := maxFlight / (c.Depth * largest); c.Active > most {
		return fmt.Errorf("%d messages of up to %d bytes in flight are too many for %d active connections: choose at most %d", c.Depth, largest, c.Active, most)
	}
	return nil
}

// resolve looks the targets up.
func (c *Config) resolve(ctx context.Context) ([]endpoint, error) {
	if len(c.Targets) == 0 {
		return nil, fmt.Errorf("there is no target: write %s", Targets())
	}
	var endpoints []endpoint
	for _, target := range c.Targets {
		e, err := resolve(ctx, target)
		if err != nil {
			return nil, err
		}
		if !e.loopback && !c.AllowRemote {
			return nil, fmt.Errorf("target %q is not on this machine's loopback: --allow-remote permits load on others, which must be yours", target)
		}
		endpoints = append(endpoints, e)
	}
	return endpoints, nil
}

// mode names the loop.
func (c *Config) mode() string {
	if c.Rate > 0 {
		return "open"
	}
	return "closed"
}

// loopsFor returns the number of loops in each of n processes.
func (c *Config) loopsFor(n int) int {
	if c.Loops > 0 {
		return c.Loops
	}
	return max(1, runtime.GOMAXPROCS(0)/n)
}
