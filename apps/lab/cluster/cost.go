package cluster

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/epinet/epi/apps/lab/proc"
)

// A Load is what is measured: clients in channels, and lines that they say at a fixed rate,
// whatever becomes of them.
type Load struct {
	Clients  int           // of all nodes together
	Channels int           // of all clients together
	In       int           // the channels that each client is in; 0: all
	Rate     int           // lines a second, of all clients together
	For      time.Duration // that is measured
}

// Members is the number of clients in a channel.
func (l *Load) Members() int {
	if l.In == 0 {
		return l.Clients
	}
	return l.Clients * l.In / l.Channels
}

// A Cost is what a load took.
type Cost struct {
	CPU        time.Duration   // of all nodes
	Lines      int             // that were said
	Deliveries int             // lines that came to clients
	Near       []time.Duration // how long they took to clients of the sender's node, in rising order
	Far        []time.Duration // to those of other nodes
}

// PerDelivery is the CPU time for one line to one client.
func (c *Cost) PerDelivery() time.Duration { return c.CPU / time.Duration(max(c.Deliveries, 1)) }

// PerLine is the CPU time for one line to all its clients.
func (c *Cost) PerLine() time.Duration { return c.CPU / time.Duration(max(c.Lines, 1)) }

// Quantile returns a time that the share q of rising times does not exceed.
func Quantile(times []time.Duration, q float64) time.Duration {
	if len(times) == 0 {
		return 0
	}
	return times[min(int(q*float64(len(times))), len(times)-1)]
}

// warmUp is how long there is a load before it is measured.
const warmUp = 2 * time.Second

// entering is how many clients connect at a time.
const entering = 32

// A Site is nodes, without anything between them, and clients that wait for what is said.
type Site struct {
	run     run
	load    Load
	clients []*listener
	reading sync.WaitGroup
}

// Open starts the nodes of a site, and connects its clients.
func Open(ctx context.Context, c Config, l Load) (*Site, error) {
	s := &Site{run: run{Config: c, wires: loopback{}}, load: l}
	if err := s.start(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Site) start(ctx context.Context) error {
	r := &s.run
	if err := r.start(); err != nil {
		return err
	}
	if err := r.ready(ctx); err != nil {
		return err
	}
	return s.connectAll(ctx)
}

// Close ends the clients and the nodes.
func (s *Site) Close() {
	for _, c := range s.clients {
		if c.conn != nil {
			_ = c.conn.Close()
		}
	}
	s.reading.Wait()
	s.run.end()
}

func (s *Site) connectAll(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var connecting sync.WaitGroup
	room := make(chan struct{}, entering)
	for i := range s.load.Clients {
		c := &listener{node: i % len(s.run.nodes), number: i, channels: s.load.channelsOf(i / len(s.run.nodes))}
		s.clients = append(s.clients, c)
		room <- struct{}{}
		connecting.Go(func() {
			defer func() { <-room }()
			if err := c.connect(ctx, s.run.nodes[c.node].IRC); err != nil {
				cancel(err)
				return
			}
			s.reading.Go(c.read)
		})
	}
	connecting.Wait()
	return context.Cause(ctx)
}

// channelsOf are those of a client, by its number at its node.
func (l *Load) channelsOf(client int) (names []string) {
	n := l.In
	if n == 0 {
		n = l.Channels
	}
	for i := range n {
		names = append(names, channelOf((client*n+i)%l.Channels))
	}
	return names
}

// Measure lays the load on the site. It may be called several times.
func (s *Site) Measure(ctx context.Context) (*Cost, error) {
	if _, err := s.say(ctx, warmUp); err != nil {
		return nil, err
	}
	for _, c := range s.clients {
		c.begin()
	}
	before, err := s.usage()
	if err != nil {
		return nil, err
	}
	lines, err := s.say(ctx, s.load.For)
	if err != nil {
		return nil, err
	}
	wait(ctx, time.Second) // what is under way
	after, err := s.usage()
	if err != nil {
		return nil, err
	}
	cost := &Cost{CPU: after - before, Lines: lines}
	for _, c := range s.clients {
		near, far := c.times()
		cost.Near, cost.Far = append(cost.Near, near...), append(cost.Far, far...)
	}
	slices.Sort(cost.Near)
	slices.Sort(cost.Far)
	cost.Deliveries = len(cost.Near) + len(cost.Far)
	return cost, nil
}

// Idle returns what share of a CPU the nodes use while nobody says anything.
func (s *Site) Idle(ctx context.Context) (float64, error) {
	before, err := s.usage()
	if err != nil {
		return 0, err
	}
	begin := time.Now()
	wait(ctx, s.load.For)
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	after, err := s.usage()
	return float64(after-before) / float64(time.Since(begin)), err
}

// usage is the CPU time of all nodes.
func (s *Site) usage() (sum time.Duration, err error) {
	for _, n := range s.run.nodes {
		u, err := proc.Of(n.cmd.Process.Pid)
		if err != nil {
			return 0, err
		}
		sum += u.CPU
	}
	return sum, nil
}

// say has the clients talk for a time: one after the other, each in its next channel.
func (s *Site) say(ctx context.Context, d time.Duration) (lines int, err error) {
	begin, every := time.Now(), time.Second/time.Duration(s.load.Rate)
	for i := range int(d / every) {
		wait(ctx, time.Until(begin.Add(time.Duration(i)*every)))
		if err := ctx.Err(); err != nil {
			return lines, err
		}
		c := s.clients[i%len(s.clients)]
		channel := c.channels[c.said%len(c.channels)]
		c.said++
		if _, err := fmt.Fprintf(c.conn, "PRIVMSG %s :%s%d %d\r\n", channel, marker, c.node, time.Now().UnixNano()); err != nil {
			return lines, err
		}
		lines++
	}
	return lines, nil
}

func channelOf(i int) string { return fmt.Sprintf("#load%d", i) }

// marker is before the sender's node and the time in a line.
const marker = "sent at "

// A listener is a client that notes when lines come.
type listener struct {
	node     int // by index
	number   int // of all clients
	channels []string
	said     int // lines
	conn     net.Conn
	in       *bufio.Scanner

	mu   sync.Mutex
	near []time.Duration // guarded by mu
	far  []time.Duration // guarded by mu
}

// connect tries until the client is in all channels: a node that has no lease now lets
// nobody in.
func (c *listener) connect(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, settle)
	defer cancel()
	for {
		err := c.enter(ctx, address)
		if err == nil {
			return nil
		}
		if c.conn != nil {
			_ = c.conn.Close()
		}
		if ctx.Err() != nil {
			return err
		}
		wait(ctx, 200*time.Millisecond)
	}
}

func (c *listener) enter(ctx context.Context, address string) (err error) {
	var d net.Dialer
	if c.conn, err = d.DialContext(ctx, "tcp", address); err != nil {
		c.conn = nil
		return err
	}
	if err := c.conn.SetDeadline(time.Now().Add(answerWithin)); err != nil {
		return err
	}
	c.in = bufio.NewScanner(c.conn)
	if err := c.ask(fmt.Sprintf("NICK load%d\r\nUSER load 0 * :load", c.number), "001"); err != nil {
		return err
	}
	for _, channel := range c.channels {
		if err := c.ask("JOIN "+channel, "366"); err != nil {
			return err
		}
	}
	return c.conn.SetDeadline(time.Time{})
}

// ask says something and reads up to its answer.
func (c *listener) ask(line, answer string) error {
	if _, err := fmt.Fprintf(c.conn, "%s\r\n", line); err != nil {
		return err
	}
	for c.in.Scan() {
		text := c.in.Text()
		if strings.HasPrefix(text, ":") {
			_, text, _ = strings.Cut(text, " ")
		}
		command, _, _ := strings.Cut(text, " ")
		switch {
		case command == answer:
			return nil
		case command == "FAIL", isError(command):
			return fmt.Errorf("%q is answered with %q", line, c.in.Text())
		}
	}
	return fmt.Errorf("the connection ended after %q: %w", line, cmp.Or(c.in.Err(), io.EOF))
}

// read notes what comes until the connection ends.
func (c *listener) read() {
	for c.in.Scan() {
		line := c.in.Bytes()
		if bytes.HasPrefix(line, []byte("PING")) {
			_, _ = fmt.Fprintf(c.conn, "PONG%s\r\n", line[len("PING"):])
			continue
		}
		_, said, ok := bytes.Cut(line, []byte(marker))
		from, sent, more := bytes.Cut(said, []byte(" "))
		if !ok || !more {
			continue
		}
		ns, err := strconv.ParseInt(string(sent), 10, 64)
		if err != nil {
			continue
		}
		c.note(string(from) == strconv.Itoa(c.node), time.Since(time.Unix(0, ns)))
	}
}

func (c *listener) note(near bool, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if near {
		c.near = append(c.near, took)
	} else {
		c.far = append(c.far, took)
	}
}

// begin forgets what has come so far.
func (c *listener) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.near, c.far = nil, nil
}

func (c *listener) times() (near, far []time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.near, c.far
}
