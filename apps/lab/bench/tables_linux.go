package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/apps/lab"
	"github.com/epinet/epi/apps/lab/load"
	"github.com/epinet/epi/apps/lab/proc"
)

// A figure is a column with the way to get it from a report.
type figure struct {
	column     lab.Column
	of         func(*load.Report) float64
	everywhere bool // the load generators of others have it, too
}

var figures = []figure{
	{lab.Column{Name: "server CPU", Unit: "µs/request", Ratio: true}, func(r *load.Report) float64 { return r.Server.CPUPerRequest }, true},
	{lab.Column{Name: "requests", Unit: "/s", Ratio: true, Higher: true}, func(r *load.Report) float64 { return r.RequestsPerSecond }, true},
	{lab.Column{Name: "throughput", Unit: "MB/s", Higher: true}, func(r *load.Report) float64 { return r.BytesPerSecond / 1e6 }, false},
	{lab.Column{Name: "p50", Unit: "µs"}, func(r *load.Report) float64 { return r.Latency.P50 }, true},
	{lab.Column{Name: "p99", Unit: "µs"}, func(r *load.Report) float64 { return r.Latency.P99 }, true},
	{lab.Column{Name: "p99.9", Unit: "µs"}, func(r *load.Report) float64 { return r.Latency.P999 }, false},
	{lab.Column{Name: "switches", Unit: "/request"}, func(r *load.Report) float64 { return r.Server.SwitchesPerRequest }, true},
}

// figures returns those that the load generator has.
func (w Workload) figures() (list []figure) {
	_, others := clients[w.speaks()]
	for _, f := range figures {
		if !others || f.everywhere {
			list = append(list, f)
		}
	}
	return list
}

// tables makes a table for each workload.
func (b *bench) tables() {
	for _, w := range b.workloads {
		t := lab.Table{
			Name: w.Name, Title: w.Title, Reference: references[w.speaks()],
			About: fmt.Sprintf("%s; server and client on a CPU each; medians of %d interleaved rounds of %v.", w.loop(), b.Rounds, b.Duration),
		}
		for _, f := range w.figures() {
			t.Columns = append(t.Columns, w.column(f))
		}
		for _, s := range b.speaking(w.speaks()) {
			t.Rows = append(t.Rows, b.row(s, w))
		}
		b.result.Tables = append(b.result.Tables, t)
	}
}

// loop says how the load comes.
func (w Workload) loop() string {
	switch {
	case w.Rate > 0:
		return fmt.Sprintf("Open loop, %d messages/s", w.Rate)
	case w.speaks() == schemeIRC:
		return fmt.Sprintf("Closed loop, %d in flight for each client until the last member of the channel has it", w.Depth)
	case w.speaks() == schemeMQTT:
		return fmt.Sprintf("Closed loop, %d in flight for each publisher until the last subscriber has it", w.Depth)
	case w.speaks() == schemeRedis:
		return fmt.Sprintf("redis-benchmark, %d in the pipeline of each connection", w.Depth)
	case w.speaks() == schemeHTTP:
		return "wrk, 1 request in flight on each connection"
	case w.speaks() == schemeProxy:
		return fmt.Sprintf("Closed loop, %d in flight on each connection through to an echo server, which shares the client's CPU", w.Depth)
	}
	return fmt.Sprintf("Closed loop, %d in flight on each connection", w.Depth)
}

// column returns the column of a figure: what is a request elsewhere is in IRC and MQTT
// a delivery, a line or packet that one member of a channel gets.
func (w Workload) column(f figure) lab.Column {
	c := f.column
	if w.passesOn() {
		c.Name = strings.ReplaceAll(c.Name, "requests", "deliveries")
		c.Unit = strings.ReplaceAll(c.Unit, "request", "delivery")
	}
	return c
}

func (b *bench) row(s Server, w Workload) lab.Row {
	reports := b.samples[w.Name][s.Name]
	if len(reports) == 0 {
		return lab.Row{Name: s.Name, Absent: b.whyNot(s, w.Conns)}
	}
	row := lab.Row{Name: s.Name}
	for _, f := range w.figures() {
		var samples []float64
		for _, r := range reports {
			samples = append(samples, f.of(r))
		}
		row.Cells = append(row.Cells, lab.NewPoint(0, samples))
	}
	return row
}

// whyNot says why there is nothing measured of s.
func (b *bench) whyNot(s Server, conns int) string {
	if why := b.failures[s.Name]; why != "" {
		return why
	}
	if why := tooMany(s, conns); why != "" {
		return why
	}
	return "not measured before the end"
}

// speaking returns the servers of a scheme.
func (b *bench) speaking(scheme string) []Server {
	var list []Server
	for _, s := range b.servers {
		if s.speaks() == scheme {
			list = append(list, s)
		}
	}
	return list
}

// measureMemory makes the tables of resident memory for each idle connection.
func (b *bench) measureMemory(ctx context.Context) {
	for _, m := range []struct{ scheme, name, of, has string }{
		{schemeTCP, "memory", "connections", "has echoed one byte"},
		{schemeTLS, "memory-tls", "TLS connections", "has echoed one byte"},
		{schemeWS, "memory-ws", "WebSockets", "has echoed one byte"},
		{schemeIRC, "memory-irc", "IRC clients", "has registered, and is in no channel"},
	} {
		if !b.measures(m.scheme) {
			continue
		}
		t := lab.Table{
			Name: m.name, Title: fmt.Sprintf("Memory at %d idle %s", b.Conns, m.of), Reference: references[m.scheme],
			About:   "Growth of the server's resident set, divided by the connections (each " + m.has + "), after 5 s of rest.",
			Columns: []lab.Column{{Name: "resident", Unit: "bytes/connection", Ratio: true}},
		}
		b.measureEach(ctx, t, Workload{Conns: b.Conns, Scheme: m.scheme}, b.memory)
	}
}

// measures reports whether there is a workload of a scheme.
func (b *bench) measures(scheme string) bool {
	return slices.ContainsFunc(b.workloads, func(w Workload) bool { return w.speaks() == scheme }) && len(b.speaking(scheme)) > 0
}

// measureEach fills a table of one column with one figure for each server of
// the scheme that can hold the connections.
func (b *bench) measureEach(ctx context.Context, t lab.Table, w Workload, of func(context.Context, Server) (float64, error)) {
	for _, s := range b.speaking(w.speaks()) {
		if !b.takesPart(ctx, s, w) {
			t.Rows = append(t.Rows, lab.Row{Name: s.Name, Absent: b.whyNot(s, w.Conns)})
			continue
		}
		b.Progress(t.Name + ": " + s.Name)
		v, err := of(ctx, s)
		if err != nil {
			t.Rows = append(t.Rows, lab.Row{Name: s.Name, Absent: err.Error()})
			continue
		}
		t.Rows = append(t.Rows, lab.Row{Name: s.Name, Cells: []lab.Point{lab.NewPoint(0, []float64{v})}})
	}
	b.result.Tables = append(b.result.Tables, t)
}

// restTime is how long the connections have been idle when memory is looked at.
const restTime = 5 * time.Second

func (b *bench) memory(ctx context.Context, s Server) (float64, error) {
	p, address, err := startServer(ctx, s, b.serverCPU)
	if err != nil {
		return 0, err
	}
	defer p.end()
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	// The first connections show what the server needs for itself.
	const first = 10
	if err := openIdle(ctx, s.speaks(), address, 0, first, &conns); err != nil {
		return 0, err
	}
	before, err := proc.Of(p.pid())
	if err != nil {
		return 0, err
	}
	if err := openIdle(ctx, s.speaks(), address, first, b.Conns, &conns); err != nil {
		return 0, err
	}
	// Some servers give back what connecting has taken when nobody comes any more.
	select {
	case <-time.After(restTime):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	after, err := proc.Of(p.pid())
	return float64(after.Sub(before).Resident) / float64(b.Conns), err
}

// openIdle opens n connections, and appends them to conns, those of an error
// included.
func openIdle(ctx context.Context, scheme, address string, first, n int, conns *[]net.Conn) error {
	from := len(*conns)
	for i := first; i < first+n; i++ {
		c, err := echoOnce(ctx, scheme, address, i)
		if c != nil {
			*conns = append(*conns, c)
		}
		if err != nil {
			return fmt.Errorf("connection %d: %w", i+1, err)
		}
	}
	for _, c := range (*conns)[from:] {
		if err := settle(c, scheme); err != nil {
			return err
		}
	}
	return nil
}

// connsOfSource is how many connections come from one source address: far
// fewer than it has ports.
const connsOfSource = 5000

// echoOnce opens connection i and lets it echo one byte.
func echoOnce(ctx context.Context, scheme, address string, i int) (net.Conn, error) {
	d := net.Dialer{
		Timeout:   patience,
		LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+i/connsOfSource))},
		Control:   bindLate,
	}
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	_ = c.(*net.TCPConn).SetLinger(0)           // no port is left in TIME_WAIT
	_ = c.SetDeadline(time.Now().Add(patience)) // these fail only when it is closed
	on, ask, answer, err := greet(ctx, c, scheme, i)
	if err != nil {
		return c, err
	}
	if _, err := on.Write(ask); err != nil {
		return on, err
	}
	if _, err := io.ReadFull(on, make([]byte, answer)); err != nil {
		return on, err
	}
	return on, nil
}

// bindLate lets connect choose the port, for which only the whole pair of
// addresses must be free (IP_BIND_ADDRESS_NO_PORT, ip(7)).
func bindLate(_, _ string, raw syscall.RawConn) error {
	var err error
	controlled := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	})
	return errors.Join(controlled, err)
}

// callsWorkload is light: strace makes each call of the server a hundred times
// as expensive.
var callsWorkload = Workload{Name: "calls", Conns: 100, Active: 100, Depth: 1, Size: 64}

// measureCalls makes the table of system calls per request, as strace counts them.
func (b *bench) measureCalls(ctx context.Context) {
	if !b.measures(schemeTCP) {
		return
	}
	if _, err := exec.LookPath("strace"); err != nil {
		b.note("system calls were not counted: strace is not installed; apt-get install strace")
		return
	}
	t := lab.Table{
		Name: "calls", Title: "System calls per request, 64 bytes, 100 connections", Reference: Reference,
		About:   "All calls of the server's life under strace, by which it is slowed down, divided by the requests.",
		Columns: []lab.Column{{Name: "calls", Unit: "/request", Ratio: true}},
	}
	b.measureEach(ctx, t, callsWorkload, b.calls)
}

func (b *bench) calls(ctx context.Context, s Server) (float64, error) {
	dir, err := os.MkdirTemp("", "epi-calls-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	p, address, err := startServer(ctx, s, b.serverCPU)
	if err != nil {
		return 0, err
	}
	defer p.end()
	summary := filepath.Join(dir, "calls")
	trace := exec.CommandContext(ctx, "strace", "-f", "-c", "-o", summary, "-p", strconv.Itoa(p.pid()))
	said, err := trace.StderrPipe()
	if err != nil {
		return 0, err
	}
	if err := trace.Start(); err != nil {
		return 0, err
	}
	// It says that it is attached; from then on calls are counted.
	_, attached := said.Read(make([]byte, 1))
	report, err := b.load(ctx, address, p.pid(), callsWorkload, 300*time.Millisecond)
	_ = trace.Process.Signal(os.Interrupt) // it then writes the summary
	_, _ = io.Copy(io.Discard, said)
	waited := trace.Wait()
	if err != nil {
		return 0, err
	}
	if attached != nil {
		return 0, fmt.Errorf("strace did not attach: %v", waited)
	}
	text, err := os.ReadFile(summary)
	if err != nil {
		return 0, err
	}
	total, err := totalCalls(string(text))
	if err != nil {
		return 0, err
	}
	// The warm-up is traced as well: requests are taken to come evenly.
	requests := float64(report.Requests) * (warmup + 300*time.Millisecond).Seconds() / report.Seconds
	return total / requests, nil
}

// totalLine is the last line of strace -c: percentage, seconds, µs per call,
// calls, errors, "total".
var totalLine = regexp.MustCompile(`(?m)^100\.00.*\btotal$`)

func totalCalls(summary string) (float64, error) {
	line := totalLine.FindString(summary)
	fields := strings.Fields(line)
	if len(fields) < 4 {
		return 0, fmt.Errorf("strace counted nothing")
	}
	return strconv.ParseFloat(fields[3], 64)
}
