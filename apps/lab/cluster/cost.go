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

// A Load is what is measured: clients in all channels, and lines that they say at a fixed
// rate, whatever becomes of them.
type Load struct {
	Clients  int           // of all nodes together
	Channels int           // all clients are in each
	Rate     int           // lines a second, of all clients together
	For      time.Duration // that is measured
}

// A Cost is what a load took.
type Cost struct {
	CPU        time.Duration   // of all nodes
	Deliveries int             // lines that came to clients
	Near       []time.Duration // how long they took to clients of the sender's node, in rising order
	Far        []time.Duration // to those of other nodes
}

// PerDelivery is the CPU time for one line to one client.
func (c *Cost) PerDelivery() time.Duration { return c.CPU / time.Duration(max(c.Deliveries, 1)) }

// Quantile returns a time that the share q of rising times does not exceed.
func Quantile(times []time.Duration, q float64) time.Duration {
	if len(times) == 0 {
		return 0
	}
	return times[min(int(q*float64(len(times))), len(times)-1)]
}

// warmUp is how long there is a load before it is measured.
const warmUp = 2 * time.Second

// Measure starts the nodes, without anything between them, and lays a load on them.
func Measure(ctx context.Context, c Config, l Load) (*Cost, error) {
	r := &run{Config: c, wires: loopback{}}
	defer r.end()
	if err := r.start(); err != nil {
		return nil, err
	}
	if err := r.ready(ctx); err != nil {
		return nil, err
	}
	return r.measure(ctx, l)
}

func (r *run) measure(ctx context.Context, l Load) (*Cost, error) {
	var all []*listener
	var reading sync.WaitGroup
	defer func() {
		for _, c := range all {
			_ = c.conn.Close()
		}
		reading.Wait()
	}()
	for i := range l.Clients {
		c := &listener{node: i % len(r.nodes)}
		if err := c.connect(ctx, r.nodes[c.node].IRC, i, l.Channels); err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	for _, c := range all {
		reading.Go(c.read)
	}
	if err := r.say(ctx, l, all, warmUp); err != nil {
		return nil, err
	}
	for _, c := range all {
		c.begin()
	}
	before, err := r.usage()
	if err != nil {
		return nil, err
	}
	if err := r.say(ctx, l, all, l.For); err != nil {
		return nil, err
	}
	wait(ctx, time.Second) // what is under way
	after, err := r.usage()
	if err != nil {
		return nil, err
	}
	cost := &Cost{CPU: after - before}
	for _, c := range all {
		near, far := c.times()
		cost.Near, cost.Far = append(cost.Near, near...), append(cost.Far, far...)
	}
	slices.Sort(cost.Near)
	slices.Sort(cost.Far)
	cost.Deliveries = len(cost.Near) + len(cost.Far)
	return cost, nil
}

// usage is the CPU time of all nodes.
func (r *run) usage() (sum time.Duration, err error) {
	for _, n := range r.nodes {
		u, err := proc.Of(n.cmd.Process.Pid)
		if err != nil {
			return 0, err
		}
		sum += u.CPU
	}
	return sum, nil
}

// say has the clients talk for a time: one after the other, each in the next channel.
func (r *run) say(ctx context.Context, l Load, all []*listener, d time.Duration) error {
	begin, every := time.Now(), time.Second/time.Duration(l.Rate)
	for i := range int(d / every) {
		wait(ctx, time.Until(begin.Add(time.Duration(i)*every)))
		if err := ctx.Err(); err != nil {
			return err
		}
		c := all[i%len(all)]
		_, err := fmt.Fprintf(c.conn, "PRIVMSG %s :%s%d %d\r\n", channelOf(i/len(all)%l.Channels), marker, c.node, time.Now().UnixNano())
		if err != nil {
			return err
		}
	}
	return nil
}

func channelOf(i int) string { return fmt.Sprintf("#load%d", i) }

// marker is before the sender's node and the time in a line.
const marker = "sent at "

// A listener is a client that notes when lines come.
type listener struct {
	node int
	conn net.Conn
	in   *bufio.Scanner

	mu   sync.Mutex
	near []time.Duration // guarded by mu
	far  []time.Duration // guarded by mu
}

// connect tries until the client is in all channels: a node that has no lease now lets
// nobody in.
func (c *listener) connect(ctx context.Context, address string, number, channels int) error {
	ctx, cancel := context.WithTimeout(ctx, settle)
	defer cancel()
	for {
		err := c.enter(ctx, address, number, channels)
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

func (c *listener) enter(ctx context.Context, address string, number, channels int) (err error) {
	var d net.Dialer
	if c.conn, err = d.DialContext(ctx, "tcp", address); err != nil {
		c.conn = nil
		return err
	}
	if err := c.conn.SetDeadline(time.Now().Add(answerWithin)); err != nil {
		return err
	}
	c.in = bufio.NewScanner(c.conn)
	if err := c.ask(fmt.Sprintf("NICK load%d\r\nUSER load 0 * :load", number), "001"); err != nil {
		return err
	}
	for i := range channels {
		if err := c.ask("JOIN "+channelOf(i), "366"); err != nil {
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
