// Package bench runs servers side by side under the same loads: epi's echo with
// each driver and both models, and its peers, whose programs are in apps/lab/peers,
// a module of its own; epi's chat, and IRC servers that the system has. Each server is a process on one CPU, the load generator
// one on another; the servers take turns in every round.
package bench

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/epinet/epi/apps/lab"
	"github.com/epinet/epi/apps/lab/load"
)

// A Config says what to compare. The zero value of a field chooses the default.
type Config struct {
	Self      string        // the epi binary, which is server and load generator
	Sources   string        // directory of the peers' sources
	Only      []string      // names of workloads; default all
	Servers   []string      // names of servers; default all
	Rounds    int           // default 5
	Duration  time.Duration // measured in each run; default 1 s
	Conns     int           // of the table of memory; default 10,000
	Progress  func(string)  // is called with what is being done
	workloads []Workload    // for tests
}

// A Workload is a load under which the servers are compared.
type Workload struct {
	Name   string
	Title  string
	Conns  int
	Active int
	Depth  int
	Size   int
	Scheme string // what the servers speak; empty: TCP

	Channels int    // of IRC; topics of MQTT
	Rate     int    // messages per second; 0: a closed loop
	Command  string // of Redis
}

// speaks returns the scheme of w.
func (w Workload) speaks() string { return cmp.Or(w.Scheme, schemeTCP) }

// loaded returns the scheme by which epi load loads it: behind a balancer is an echo
// server.
func (w Workload) loaded() string {
	if w.Scheme == schemeProxy {
		return schemeTCP
	}
	return w.speaks()
}

// passesOn reports whether the servers pass messages on to many.
func (w Workload) passesOn() bool { return w.Scheme == schemeIRC || w.Scheme == schemeMQTT }

// Workloads are all workloads.
var Workloads = []Workload{
	{Name: "small", Title: "64 bytes, 100 connections", Conns: 100, Active: 100, Depth: 1, Size: 64},
	{Name: "medium", Title: "1 KiB, 1,000 connections", Conns: 1000, Active: 1000, Depth: 1, Size: 1 << 10},
	{Name: "pipelined", Title: "64 bytes, 1,000 connections, 16 in flight", Conns: 1000, Active: 1000, Depth: 16, Size: 64},
	{Name: "bulk", Title: "64 KiB, 10 connections", Conns: 10, Active: 10, Depth: 1, Size: 64 << 10},
	{Name: "sparse", Title: "64 bytes, 200 connections, 20,000 messages/s", Conns: 200, Active: 200, Depth: 64, Size: 64, Rate: 20000},
	{Name: "idle", Title: "1 KiB, 100 active of 10,000 connections", Conns: 10000, Active: 100, Depth: 1, Size: 1 << 10},
	{Name: "tls", Title: "TLS, 1 KiB, 1,000 connections", Conns: 1000, Active: 1000, Depth: 1, Size: 1 << 10, Scheme: schemeTLS},
	{Name: "ws", Title: "WebSocket, 1 KiB, 1,000 connections", Conns: 1000, Active: 1000, Depth: 1, Size: 1 << 10, Scheme: schemeWS},
	{Name: "udp", Title: "UDP, 64 bytes, 100 sockets, 2 in flight", Conns: 100, Active: 100, Depth: 2, Size: 64, Scheme: schemeUDP},
	{Name: "chat", Title: "IRC, 100 clients, 1 channel", Conns: 100, Active: 100, Depth: 1, Size: 64, Scheme: schemeIRC, Channels: 1},
	{Name: "chat-busy", Title: "IRC, 1,000 clients, 1 channel", Conns: 1000, Active: 1000, Depth: 1, Size: 64, Scheme: schemeIRC, Channels: 1},
	{Name: "chat-rooms", Title: "IRC, 5,000 clients, 100 channels, 1,000 messages/s", Conns: 5000, Active: 5000, Depth: 1, Size: 64, Scheme: schemeIRC, Channels: 100, Rate: 1000},
	{Name: "redis-get", Title: "Redis, GET of 64 bytes, 50 connections", Conns: 50, Depth: 1, Size: 64, Scheme: schemeRedis, Command: "get"},
	{Name: "redis-set", Title: "Redis, SET of 64 bytes, 50 connections", Conns: 50, Depth: 1, Size: 64, Scheme: schemeRedis, Command: "set"},
	{Name: "redis-16", Title: "Redis, SET of 64 bytes, 50 connections, 16 in a pipeline", Conns: 50, Depth: 16, Size: 64, Scheme: schemeRedis, Command: "set"},
	{Name: "redis-64", Title: "Redis, SET of 64 bytes, 50 connections, 64 in a pipeline", Conns: 50, Depth: 64, Size: 64, Scheme: schemeRedis, Command: "set"},
	{Name: "redis-get-16", Title: "Redis, GET of 64 bytes, 50 connections, 16 in a pipeline", Conns: 50, Depth: 16, Size: 64, Scheme: schemeRedis, Command: "get"},
	{Name: "redis-get-64", Title: "Redis, GET of 64 bytes, 50 connections, 64 in a pipeline", Conns: 50, Depth: 64, Size: 64, Scheme: schemeRedis, Command: "get"},
	{Name: "redis-get-16k", Title: "Redis, GET of 16 KiB, 50 connections", Conns: 50, Depth: 1, Size: 16 << 10, Scheme: schemeRedis, Command: "get"},
	{Name: "redis-set-16k", Title: "Redis, SET of 16 KiB, 50 connections", Conns: 50, Depth: 1, Size: 16 << 10, Scheme: schemeRedis, Command: "set"},
	{Name: "redis-get-128k", Title: "Redis, GET of 128 KiB, 10 connections", Conns: 10, Depth: 1, Size: 128 << 10, Scheme: schemeRedis, Command: "get"},
	{Name: "redis-set-128k", Title: "Redis, SET of 128 KiB, 10 connections", Conns: 10, Depth: 1, Size: 128 << 10, Scheme: schemeRedis, Command: "set"},
	{Name: "mqtt", Title: "MQTT, QoS 0, 100 clients, 1 topic", Conns: 100, Active: 100, Depth: 1, Size: 64, Scheme: schemeMQTT, Channels: 1},
	{Name: "mqtt-fan", Title: "MQTT, QoS 0, 1,000 clients, 10 publish, 1 topic", Conns: 1000, Active: 10, Depth: 1, Size: 64, Scheme: schemeMQTT, Channels: 1},
	{Name: "http", Title: "HTTP, 100 connections", Conns: 100, Depth: 1, Scheme: schemeHTTP},
	{Name: "http-busy", Title: "HTTP, 1,000 connections", Conns: 1000, Depth: 1, Scheme: schemeHTTP},
	{Name: "proxy", Title: "Balancers, 1 KiB, 100 connections", Conns: 100, Active: 100, Depth: 1, Size: 1 << 10, Scheme: schemeProxy},
	{Name: "proxy-bulk", Title: "Balancers, 64 KiB, 10 connections", Conns: 10, Active: 10, Depth: 1, Size: 64 << 10, Scheme: schemeProxy},
}

const (
	defaultRounds   = 5
	defaultDuration = time.Second
	defaultConns    = 10000
	warmup          = 300 * time.Millisecond
	// selectConns is what a server on select can hold beside its own descriptors.
	selectConns = 1000
)

// A bench is a comparison under way.
type bench struct {
	Config
	servers              []Server
	serverCPU, clientCPU int
	samples              samples
	failures             map[string]string // by server: why it takes no further part
	result               *lab.Result
}

// samples are the reports by workload and by server.
type samples map[string]map[string][]*load.Report

func newSamples() samples { return samples{} }

// Check says what is wrong with the names in c.
func (c Config) Check() error {
	for _, name := range c.Only {
		if !slices.ContainsFunc(Workloads, func(w Workload) bool { return w.Name == name }) {
			return fmt.Errorf("unknown workload %q: choose %s", name, strings.Join(workloadNames(), ", "))
		}
	}
	return nil
}

func workloadNames() []string {
	var names []string
	for _, w := range Workloads {
		names = append(names, w.Name)
	}
	return names
}

// Run compares the servers. When ctx ends, the result is what was measured so
// far, marked as partial.
func Run(ctx context.Context, c Config) (*lab.Result, error) {
	b := &bench{Config: c.withDefaults(), samples: newSamples(), failures: map[string]string{}}
	b.result = &lab.Result{Title: "Servers side by side", Started: time.Now(), Machine: lab.ThisMachine()}
	out, err := os.MkdirTemp("", "epi-peers-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(out)
	b.Progress("building the peers")
	if err := b.choose(Servers(ctx, b.Self, b.Sources, out)); err != nil {
		return nil, err
	}
	b.pin()
	endBackend, err := b.startBackend(ctx)
	if err != nil {
		return nil, err
	}
	defer endBackend()
	b.checkEcho(ctx)
	for round := range b.Rounds {
		for _, w := range b.workloads {
			b.round(ctx, round, w)
		}
	}
	b.tables()
	b.measureMemory(ctx)
	b.measureCalls(ctx)
	if ctx.Err() != nil {
		b.result.Partial = "interrupted"
	}
	b.result.Seconds = time.Since(b.result.Started).Seconds()
	return b.result, nil
}

func (c Config) withDefaults() Config {
	if c.Rounds == 0 {
		c.Rounds = defaultRounds
	}
	if c.Duration == 0 {
		c.Duration = defaultDuration
	}
	if c.Conns == 0 {
		c.Conns = defaultConns
	}
	if c.Progress == nil {
		c.Progress = func(string) {}
	}
	if c.workloads != nil {
		return c
	}
	for _, w := range Workloads {
		if len(c.Only) == 0 || slices.Contains(c.Only, w.Name) {
			c.workloads = append(c.workloads, w)
		}
	}
	return c
}

// choose keeps the servers that were asked for.
func (b *bench) choose(all []Server) error {
	for _, name := range b.Servers {
		if !slices.ContainsFunc(all, func(s Server) bool { return s.Name == name }) {
			var names []string
			for _, s := range all {
				names = append(names, s.Name)
			}
			return fmt.Errorf("unknown server %q: choose %s", name, strings.Join(names, ", "))
		}
	}
	for _, s := range all {
		if len(b.Servers) > 0 && !slices.Contains(b.Servers, s.Name) {
			continue
		}
		if why := cmp.Or(s.Absent, clients[s.speaks()].missing()); why != "" {
			b.failures[s.Name] = why
		}
		b.servers = append(b.servers, s)
	}
	return nil
}

func (b *bench) pin() {
	b.serverCPU, b.clientCPU = twoCPUs()
	if b.serverCPU < 0 {
		b.note("server and client could not be pinned to a CPU each: the figures say less")
	}
}

func (b *bench) note(format string, args ...any) {
	b.result.Notes = append(b.result.Notes, fmt.Sprintf(format, args...))
}

// checkEcho leaves out servers that do not give back what they get, or do not
// pass it on. The load generators of others look at answers by themselves.
func (b *bench) checkEcho(ctx context.Context) {
	for _, s := range b.servers {
		w := Workload{Conns: 10, Active: 10, Depth: 4, Size: 10000, Scheme: s.scheme}
		if w.passesOn() {
			w.Size, w.Channels = 200, 2
		}
		if _, others := clients[s.speaks()]; others || !b.measures(s.speaks()) || !b.takesPart(ctx, s, w) {
			continue
		}
		b.Progress("checking " + s.Name)
		if _, err := b.run(ctx, s, w, 200*time.Millisecond, "--verify"); err != nil && ctx.Err() == nil {
			b.failures[s.Name] = err.Error()
		}
	}
}

// takesPart reports whether s is to be run with w.
func (b *bench) takesPart(ctx context.Context, s Server, w Workload) bool {
	return ctx.Err() == nil && s.speaks() == w.speaks() && b.failures[s.Name] == "" && tooMany(s, w.Conns) == ""
}

// tooMany says why s cannot hold so many connections.
func tooMany(s Server, conns int) string {
	if s.Name == "epi select" && conns > selectConns {
		return "select holds at most 1,024 descriptors"
	}
	return ""
}

// round runs every server once with w. The order changes from round to round,
// so that nobody always follows the same neighbour.
func (b *bench) round(ctx context.Context, round int, w Workload) {
	for i := range b.servers {
		s := b.servers[(i+round)%len(b.servers)]
		if !b.takesPart(ctx, s, w) {
			continue
		}
		b.Progress(fmt.Sprintf("%d/%d rounds, %s: %s", round+1, b.Rounds, w.Title, s.Name))
		report, err := b.run(ctx, s, w, b.Duration)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			b.note("%s, %s: %s; it takes no further part", s.Name, w.Title, err)
			b.failures[s.Name] = err.Error()
			continue
		}
		if b.samples[w.Name] == nil {
			b.samples[w.Name] = map[string][]*load.Report{}
		}
		b.samples[w.Name][s.Name] = append(b.samples[w.Name][s.Name], report)
	}
}

// errNoRequest is why a run has no figures.
var errNoRequest = errors.New("no request was answered")

// patience is how long the load generator waits for what is outstanding. It is long
// enough for a machine that is busy with other things.
const patience = 30 * time.Second

// run measures the server under a load. Where no request was answered it measures
// for longer: a machine that is busy with other things may have given a short run no
// time at all.
func (b *bench) run(ctx context.Context, s Server, w Workload, d time.Duration, flags ...string) (*load.Report, error) {
	const longest = 16 // times d
	for times := time.Duration(1); ; times *= 4 {
		report, err := b.runOnce(ctx, s, w, times*d, flags...)
		if !errors.Is(err, errNoRequest) || times == longest {
			return report, err
		}
	}
}

// runOnce starts the server, puts it under load and ends it.
func (b *bench) runOnce(ctx context.Context, s Server, w Workload, d time.Duration, flags ...string) (*load.Report, error) {
	p, address, err := startServer(ctx, s, b.serverCPU)
	if err != nil {
		return nil, err
	}
	report, err := b.put(ctx, address, p.pid(), w, d, flags...)
	if said := p.end(); err != nil && p.died {
		err = fmt.Errorf("the server ended in mid-run: %s", said)
	}
	return report, err
}

// more returns the flags that not all workloads have.
func (w Workload) more() (flags []string) {
	if w.Channels > 0 {
		flags = append(flags, "--channels", strconv.Itoa(w.Channels))
	}
	if w.Rate > 0 {
		flags = append(flags, "--rate", strconv.Itoa(w.Rate))
	}
	return flags
}

// put puts a server under load, by the load generator that speaks to it.
func (b *bench) put(ctx context.Context, address string, server int, w Workload, d time.Duration, flags ...string) (*load.Report, error) {
	if c, others := clients[w.speaks()]; others {
		return c.run(b, ctx, address, server, w, d)
	}
	return b.load(ctx, address, server, w, d, flags...)
}

// client runs a load generator on its CPU and returns what it prints.
func (b *bench) client(ctx context.Context, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	var out strings.Builder
	errorText := &beginning{}
	cmd.Stdout, cmd.Stderr = &out, errorText
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := startPinned(cmd, b.clientCPU); err != nil {
		return "", fmt.Errorf("start the load generator: %w", err)
	}
	if err := cmd.Wait(); err != nil {
		if text := firstLine(errorText.String()); text != "" {
			err = errors.New(strings.TrimPrefix(text, "epi: "))
		}
		return "", err
	}
	return out.String(), nil
}

// load runs epi load.
func (b *bench) load(ctx context.Context, address string, server int, w Workload, d time.Duration, flags ...string) (*load.Report, error) {
	args := append([]string{"load", w.loaded() + "://" + address, "--json", "--loops", "1", "--insecure",
		"--conns", strconv.Itoa(w.Conns), "--active", strconv.Itoa(w.Active), "--depth", strconv.Itoa(w.Depth),
		"--size", strconv.Itoa(w.Size), "--warmup", warmup.String(), "--duration", d.String(), "--patience", patience.String(),
		"--server", strconv.Itoa(server)}, append(w.more(), flags...)...)
	out, err := b.client(ctx, b.Self, args...)
	if err != nil {
		return nil, err
	}
	report := &load.Report{}
	if err := json.Unmarshal([]byte(out), report); err != nil {
		return nil, fmt.Errorf("read what the load generator says: %w", err)
	}
	if report.Requests == 0 || report.Server == nil {
		return nil, errNoRequest
	}
	return report, nil
}
