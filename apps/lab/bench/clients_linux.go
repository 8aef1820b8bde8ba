package bench

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"math"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/epinet/epi/apps/lab/load"
	"github.com/epinet/epi/apps/lab/proc"
)

// A client is a load generator that others wrote, in whose terms people think. It
// returns the requests that were answered, how many there were per second, and
// percentiles of the latency.
type client struct {
	program, pkg string // Debian's package
	run          func(b *bench, ctx context.Context, address string, server int, w Workload, d time.Duration) (*load.Report, error)
}

// clients are those of the schemes that epi load does not speak.
var clients = map[string]client{
	schemeRedis: {"redis-benchmark", "redis-tools", (*bench).runRedis},
	schemeHTTP:  {"wrk", "wrk", (*bench).runWrk},
}

// missing says why nobody can load a server of a scheme, with the remedy.
func (c client) missing() string {
	if c.program == "" {
		return ""
	}
	if _, err := exec.LookPath(c.program); err != nil {
		return "apt-get install " + c.pkg
	}
	return ""
}

// runRedis has redis-benchmark ask for about d. It takes a number of requests and no
// time, so it first makes few, which are the warm-up, too, and which set the value that
// is then asked for.
func (b *bench) runRedis(ctx context.Context, address string, server int, w Workload, d time.Duration) (*load.Report, error) {
	few := 2 * max(1000, w.Conns*w.Depth)
	first, err := b.askRedis(ctx, address, w, "set", w.Command, few)
	if err != nil {
		return nil, err
	}
	many := max(few, int(first.RequestsPerSecond*d.Seconds()))
	return watch(server, func() (*load.Report, error) { return b.askRedis(ctx, address, w, w.Command, w.Command, many) })
}

// askRedis asks n times for each of two commands, which may be the same, and reports
// of the second.
func (b *bench) askRedis(ctx context.Context, address string, w Workload, first, command string, n int) (*load.Report, error) {
	host, port, _ := strings.Cut(address, ":")
	out, err := b.client(ctx, "redis-benchmark", "-h", host, "-p", port, "--csv", "-t", first+","+command,
		"-c", strconv.Itoa(w.Conns), "-P", strconv.Itoa(w.Depth), "-d", strconv.Itoa(w.Size), "-n", strconv.Itoa(n))
	if err != nil {
		return nil, err
	}
	return readRedis(out, command, n)
}

// readRedis finds the line of a command in what redis-benchmark --csv prints: its
// name, requests per second, and latencies in milliseconds: the third is the median
// and the fifth the 99th percentile.
func readRedis(out, command string, n int) (*load.Report, error) {
	lines, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("read what redis-benchmark says: %w", err)
	}
	for _, fields := range lines {
		if !strings.EqualFold(fields[0], command) || len(fields) < 7 {
			continue
		}
		rate, err1 := strconv.ParseFloat(fields[1], 64)
		p50, err2 := strconv.ParseFloat(fields[4], 64)
		p99, err3 := strconv.ParseFloat(fields[6], 64)
		r := &load.Report{Requests: uint64(n), RequestsPerSecond: rate}
		r.Latency.P50, r.Latency.P99 = p50*1e3, p99*1e3
		return r, errors.Join(err1, err2, err3)
	}
	return nil, fmt.Errorf("redis-benchmark says nothing of %s: %.200q", command, out)
}

// runWrk has wrk ask for d, in whole seconds.
func (b *bench) runWrk(ctx context.Context, address string, server int, w Workload, d time.Duration) (*load.Report, error) {
	ask := func(seconds int) (*load.Report, error) {
		out, err := b.client(ctx, "wrk", "--latency", "-t", "1", "-c", strconv.Itoa(w.Conns), "-d", strconv.Itoa(seconds),
			"--timeout", patience.String(), "http://"+address+"/")
		if err != nil {
			return nil, err
		}
		return readWrk(out)
	}
	if _, err := ask(1); err != nil { // the warm-up
		return nil, err
	}
	return watch(server, func() (*load.Report, error) { return ask(int(math.Ceil(d.Seconds()))) })
}

// What wrk --latency prints.
var (
	wrkRequests = regexp.MustCompile(`(?m)^\s*(\d+) requests in `)
	wrkRate     = regexp.MustCompile(`(?m)^Requests/sec:\s+([\d.]+)`)
	wrkP50      = regexp.MustCompile(`(?m)^\s*50%\s+(\S+)`)
	wrkP99      = regexp.MustCompile(`(?m)^\s*99%\s+(\S+)`)
	wrkFailure  = regexp.MustCompile(`(?m)^\s*(Socket errors:.*|Non-2xx.*)$`)
)

func readWrk(out string) (*load.Report, error) {
	if failure := wrkFailure.FindString(out); failure != "" {
		return nil, errors.New("wrk: " + strings.TrimSpace(failure))
	}
	value := func(of *regexp.Regexp) string {
		if found := of.FindStringSubmatch(out); found != nil {
			return found[1]
		}
		return ""
	}
	requests, err1 := strconv.ParseUint(value(wrkRequests), 10, 64)
	rate, err2 := strconv.ParseFloat(value(wrkRate), 64)
	p50, err3 := time.ParseDuration(value(wrkP50))
	p99, err4 := time.ParseDuration(value(wrkP99))
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return nil, fmt.Errorf("read what wrk says: %w", err)
	}
	r := &load.Report{Requests: requests, RequestsPerSecond: rate}
	r.Latency.P50, r.Latency.P99 = micros(p50), micros(p99)
	return r, nil
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// watch adds to a report what the server used meanwhile.
func watch(server int, run func() (*load.Report, error)) (*load.Report, error) {
	before, err := proc.Of(server)
	if err != nil {
		return nil, err
	}
	r, err := run()
	if err != nil {
		return nil, err
	}
	after, err := proc.Of(server)
	if err != nil {
		return nil, err
	}
	if r.Requests == 0 {
		return nil, errNoRequest
	}
	used, requests := after.Sub(before), float64(r.Requests)
	r.Server = &load.Server{
		CPUPerRequest:      micros(used.CPU) / requests,
		SwitchesPerRequest: float64(used.Voluntary+used.Involuntary) / requests,
	}
	return r, nil
}
