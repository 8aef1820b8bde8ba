package load

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// echoServer starts an echo server and returns its address.
func echoServer(t *testing.T, address string) string {
	t.Helper()
	e := &epi.Engine{Loops: 1, Logger: epitest.NoLog()}
	return epitest.StartOn(t, e, address, epitest.EchoHandler).Listener.String()
}

const local = "tcp://127.0.0.1:0"

// serve answers each connection by a function; it closes the connection after.
func serve(t *testing.T, answer func(net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_ = c.SetDeadline(time.Now().Add(epitest.Patience))
			go func() { defer c.Close(); answer(c) }()
		}
	}()
	return "tcp://" + ln.Addr().String()
}

func sizes(t *testing.T, text string) Sizes {
	t.Helper()
	s, err := ParseSizes(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// short is a duration within which everything happens many times.
const short = 50 * time.Millisecond

// longer calls run with longer and longer durations until it has measured something: a
// machine that is busy with other things may have given a short run no time at all.
func longer(run func(d time.Duration) (measured bool)) {
	for d := short; !run(d) && d < epitest.Patience; d *= 4 {
	}
}

// mustRun runs for longer where nothing was measured, and waits for answers as long as
// tests do.
func mustRun(t *testing.T, c Config) *Report {
	t.Helper()
	c.Patience = cmp.Or(c.Patience, epitest.Patience)
	for {
		r, err := Run(t.Context(), c, nil)
		if err != nil {
			t.Fatal(err)
		}
		if r.Latency.Count > 0 || r.Failed() || c.Active == NoneActive || c.Duration > epitest.Patience {
			return r
		}
		c.Duration *= 4
	}
}

func count(r *Report, cause string) uint64 {
	for _, f := range r.Errors {
		if f.Cause == cause {
			return f.Count
		}
	}
	return 0
}

// counted starts an echo server that calls enough when so many bytes have come.
func counted(t *testing.T, address string, limit int64, enough func()) string {
	t.Helper()
	var got atomic.Int64
	e := &epi.Engine{Loops: 1, Logger: epitest.NoLog()}
	return epitest.StartOn(t, e, address, func(*epi.Conn) epi.Handler {
		return &epitest.Funcs{Data: func(c *epi.Conn) error {
			if got.Add(int64(len(c.Unread()))) > limit {
				enough()
			}
			return epitest.Echo(c)
		}}
	}).Listener.String()
}

func checkReport(t *testing.T, r *Report, want Config) {
	t.Helper()
	if r.Failed() || r.Mismatch != "" {
		t.Errorf("errors %v, mismatch %q", r.Errors, r.Mismatch)
	}
	if r.Setup.Opened != want.Conns || r.Setup.Time.Count != int64(want.Conns) || r.Setup.PerSecond <= 0 || r.Setup.Time.Max <= 0 {
		t.Errorf("the set-up is %+v", r.Setup)
	}
	if l := r.Latency; l.Count == 0 || l.P50 <= 0 || l.P50 > l.P90 || l.P90 > l.P99 || l.P99 > l.P999 || l.P999 > l.Max {
		t.Errorf("the latencies are %+v", l)
	}
}

func TestClosedLoop(t *testing.T) {
	for _, c := range []struct {
		name   string
		config Config
	}{
		{"plain", Config{Conns: 8}},
		{"deep", Config{Conns: 3, Depth: 20}},
		{"tiny", Config{Conns: 2, Depth: 3, Sizes: sizes(t, "1")}},
		{"large", Config{Conns: 2, Depth: 2, Sizes: sizes(t, "300KiB")}},
		{"mixed", Config{Conns: 4, Depth: 5, Sizes: sizes(t, "choice:1@5,200@5,9000@1,100KiB@1")}},
		{"exponential", Config{Conns: 4, Depth: 5, Sizes: sizes(t, "exp:1KiB")}},
		{"many idle", Config{Conns: 300, Active: 5}},
		{"select", Config{Conns: 8, Driver: epi.DriverSelect}},
		{"epoll-level", Config{Conns: 8, Driver: epi.DriverEpoll, Trigger: epi.TriggerLevel}},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, enough := context.WithCancel(t.Context())
			want := c.config.withDefaults()
			rounds := 10 * int64(want.Active*want.Depth*want.Sizes.Largest())
			c.config.Targets = []string{
				counted(t, local, rounds, enough),
				counted(t, "unix://"+filepath.Join(t.TempDir(), "s"), rounds, enough),
			}
			c.config.Verify, c.config.Duration, c.config.Patience = true, epitest.Patience, epitest.Patience
			r, err := Run(ctx, c.config, nil)
			if err != nil {
				t.Fatal(err)
			}
			checkReport(t, r, want)
			if r.Partial != interrupted || r.Requests == 0 || r.Bytes < r.Requests || r.RequestsPerSecond <= 0 {
				t.Errorf("partial %q, %d requests of %d bytes, %g/s", r.Partial, r.Requests, r.Bytes, r.RequestsPerSecond)
			}
		})
	}
}

func TestOpenLoop(t *testing.T) {
	targets := []string{echoServer(t, local), echoServer(t, "unix://"+filepath.Join(t.TempDir(), "s"))}
	for _, c := range []struct {
		name   string
		config Config
	}{
		{"plain", Config{Conns: 8, Rate: 2000}},
		{"faster than the server", Config{Conns: 8, Rate: 200_000, Depth: 2}},
		{"mixed", Config{Conns: 8, Rate: 2000, Sizes: sizes(t, "uniform:1-20KiB")}},
		{"one connection for two loops", Config{Conns: 1, Rate: 500, Loops: 2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.config.Targets, c.config.Verify = targets, true
			c.config.Duration, c.config.Warmup = short, short/10
			c.config.Patience = epitest.Patience // a slow machine has the time that it needs
			r := mustRun(t, c.config)
			checkReport(t, r, c.config.withDefaults())
			due := int64(c.config.Rate * short.Seconds())
			if r.Latency.Count < due-2 || r.Latency.Count > due+2 || r.Late.Count != r.Latency.Count || r.Partial != "" || r.Seconds != short.Seconds() {
				t.Errorf("%d latencies and %d late, want one for each of %d messages; partial %q, %g s", r.Latency.Count, r.Late.Count, due, r.Partial, r.Seconds)
			}
		})
	}
}

func TestReportAsJSON(t *testing.T) {
	r := mustRun(t, Config{Targets: []string{echoServer(t, local)}, Conns: 2, Rate: 1000, Duration: short})
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if back.Latency != r.Latency || back.Histogram.Count() != r.Latency.Count || back.LateHistogram == nil || back.Errors == nil || back.Mode != "open" {
		t.Errorf("it came back as %+v", back)
	}
}

// flipping echoes with one byte changed.
func flipping(c net.Conn) {
	buf := make([]byte, 1000)
	n, err := io.ReadFull(c, buf)
	if err != nil {
		return
	}
	buf[777]++
	_, _ = c.Write(buf[:n])
	_, _ = io.Copy(io.Discard, c)
}

// swapping answers the second message before the first.
func swapping(c net.Conn) {
	buf := make([]byte, 200)
	if _, err := io.ReadFull(c, buf); err != nil {
		return
	}
	_, _ = c.Write(slices.Concat(buf[100:], buf[:100]))
	_, _ = io.Copy(io.Discard, c)
}

func TestWrongAnswers(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer func(net.Conn)
		config Config
		cause  string
		words  string // of the mismatch
	}{
		{"a wrong byte", flipping, Config{Sizes: sizes(t, "1000")}, "wrong bytes came back", "message 0, byte 777"},
		{"wrong order", swapping, Config{Sizes: sizes(t, "100"), Depth: 2}, "wrong bytes came back", "message 1 of connection 0 came where message 0 was due"},
		{"too much", func(c net.Conn) {
			_, _ = c.Write(make([]byte, 65))
			_, _ = io.Copy(io.Discard, c)
		}, Config{}, "bytes came that were not sent", ""},
		{"an end", func(c net.Conn) { _, _ = io.ReadFull(c, make([]byte, 64)) }, Config{}, "closed by the server", ""},
		{"a reset", func(c net.Conn) {
			_, _ = io.ReadFull(c, make([]byte, 64))
			_ = c.(*net.TCPConn).SetLinger(0)
		}, Config{}, "connection reset by peer", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.config.Targets = []string{serve(t, c.answer)}
			c.config.Conns = 1
			c.config.Verify = c.words != ""
			c.config.Duration = epitest.Patience // it ends by itself
			r := mustRun(t, c.config)
			if count(r, c.cause) != 1 || r.Partial != deserted || !r.Failed() {
				t.Errorf("errors %v, partial %q", r.Errors, r.Partial)
			}
			if !strings.Contains(r.Mismatch, c.words) || (r.Mismatch != "") != (c.words != "") {
				t.Errorf("the mismatch is %q", r.Mismatch)
			}
		})
	}
}

// The server answers nothing before it has 100 messages; one is due
// each millisecond:
//
//	due       0  1  2  3 …  99
//	answered                 99 99 99 …
//
// A closed loop would have seen a single slow message.
func TestOpenLoopCountsFromWhenMessagesAreDue(t *testing.T) {
	const stalled, size = 100, 64
	target := serve(t, func(c net.Conn) {
		buf := make([]byte, stalled*size)
		if _, err := io.ReadFull(c, buf); err != nil {
			return
		}
		_, _ = c.Write(buf)
		_, _ = io.Copy(c, c)
	})
	r := mustRun(t, Config{Targets: []string{target}, Conns: 1, Rate: 1000, Depth: 8 * stalled, Duration: 2 * stalled * time.Millisecond, Patience: epitest.Patience})
	slow := r.Histogram.h.TotalCount() - countBelow(r.Histogram, stalled/2*time.Millisecond)
	if r.Failed() || r.Latency.Max < (stalled-1)*1000 || slow < stalled/2 {
		t.Errorf("errors %v, %d messages waited for 50 ms or more, the longest for %.0f µs", r.Errors, slow, r.Latency.Max)
	}
}

func countBelow(h *Histogram, d time.Duration) int64 {
	n := int64(0)
	for _, bar := range h.h.Distribution() {
		if bar.To < int64(d) {
			n += bar.Count
		}
	}
	return n
}

// A server that never answers: what was due counts with the time that it has
// waited, also what could not even be sent.
func TestMessagesWithoutAnswerCount(t *testing.T) {
	target := serve(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	c := Config{Targets: []string{target}, Conns: 2, Depth: 3, Rate: 1000, Duration: 2 * short}
	r := runImpatiently(t, &c)
	if n := r.Latency.Count; n < 98 || n > 102 || count(r, noAnswer) != uint64(n) || r.Requests != 0 {
		t.Errorf("%d latencies, errors %v, %d requests", n, r.Errors, r.Requests)
	}
	if waited := float64((c.Duration + c.Patience).Microseconds()); r.Latency.Max < 0.99*waited || r.Partial != "" {
		t.Errorf("the first waited for %.0f µs, want %.0f at least; partial %q", r.Latency.Max, waited, r.Partial)
	}
	c.Rate, c.Depth = 0, 3
	if r := runImpatiently(t, &c); count(r, noAnswer) != 6 || r.Latency.Count != 6 {
		t.Errorf("closed loop: errors %v, %d latencies", r.Errors, r.Latency.Count)
	}
}

// runImpatiently waits for answers that do not come, but long enough to connect, which
// the same patience bounds.
func runImpatiently(t *testing.T, c *Config) (r *Report) {
	t.Helper()
	longer(func(d time.Duration) bool {
		c.Patience = d
		var err error
		r, err = Run(t.Context(), *c, nil)
		if err != nil && !errors.Is(err, errNoConnection) {
			t.Fatal(err)
		}
		return err == nil && r.Setup.Failed == 0
	})
	if r == nil {
		t.Fatal("no connection was established")
	}
	return r
}

func TestNobodyThere(t *testing.T) {
	held := epitest.Bound(t) // a port that is free could be another's
	defer held.Close()
	target := "tcp://" + held.Addr().String()
	for target, word := range map[string]string{
		target: "connection refused",
		"unix://" + filepath.Join(t.TempDir(), "none"): "no such socket",
	} {
		_, err := Run(t.Context(), Config{Targets: []string{target}, Conns: 1000}, nil)
		if !errors.Is(err, errNoConnection) || !strings.Contains(err.Error(), word) || !strings.Contains(err.Error(), target) {
			t.Errorf("%s: %v", target, err)
		}
	}
}

// Some connections cannot be established: the others are measured.
func TestSomeConnectionsFail(t *testing.T) {
	good := echoServer(t, local)
	bad := "unix://" + filepath.Join(t.TempDir(), "none")
	r := mustRun(t, Config{Targets: []string{good, bad}, Conns: 10, Duration: short})
	if r.Setup.Opened != 5 || r.Setup.Failed != 5 || count(r, "connect: there is no such socket: start the server, or name where it listens") != 5 || r.Partial != "" {
		t.Errorf("set-up %+v, errors %v, %d requests, partial %q", r.Setup, r.Errors, r.Requests, r.Partial)
	}
}

// interrupting echoes and calls interrupt at the n-th piece.
func interrupting(n int64, interrupt func()) func(net.Conn) {
	var pieces atomic.Int64
	return func(c net.Conn) {
		buf := make([]byte, 64)
		for {
			if _, err := io.ReadFull(c, buf); err != nil {
				return
			}
			if pieces.Add(1) == n {
				interrupt()
			}
			if _, err := c.Write(buf); err != nil {
				return
			}
		}
	}
}

// failedOtherwise reports whether there were other errors than answers that an interrupted
// run has not waited for.
func failedOtherwise(r *Report) bool {
	return slices.ContainsFunc(r.Errors, func(f Failure) bool { return f.Cause != noAnswer })
}

func TestInterruptKeepsWhatWasMeasured(t *testing.T) {
	t.Parallel()
	for _, rate := range []float64{0, 5000} {
		ctx, interrupt := context.WithCancel(t.Context())
		c := Config{Targets: []string{echoServer(t, local)}, Conns: 5, Rate: rate, Duration: epitest.Patience, Patience: epitest.Patience}
		r, err := Run(ctx, c, func(p Progress) {
			if p.Requests > 0 { // at a rate, many requests can be sent before the first answer is read
				interrupt()
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if r.Partial != interrupted || r.Requests == 0 || r.Seconds <= 0 || r.Seconds > epitest.Patience.Seconds() || failedOtherwise(r) {
			t.Errorf("partial %q, %d requests in %g s, errors %v", r.Partial, r.Requests, r.Seconds, r.Errors)
		}
	}
}

func TestInterruptWhileWarmingUp(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	target := serve(t, interrupting(10, interrupt))
	r, err := Run(ctx, Config{Targets: []string{target}, Conns: 2, Warmup: epitest.Patience, Patience: epitest.Patience}, nil)
	if err != nil || r.Partial != interrupted || r.Requests != 0 || r.Seconds != 0 || r.Setup.Opened != 2 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestInterruptBeforeConnecting(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	interrupt()
	r, err := Run(ctx, Config{Targets: []string{echoServer(t, local)}}, nil)
	if err != nil || r.Partial != interrupted || r.Failed() {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestSourceAddressesAreUsed(t *testing.T) {
	addresses := make(chan string, 6)
	target := serve(t, func(c net.Conn) {
		addresses <- c.RemoteAddr().(*net.TCPAddr).IP.String()
		_, _ = io.Copy(c, c)
	})
	c := Config{Targets: []string{target}, Conns: 6, Duration: short, Patience: epitest.Patience}.withDefaults()
	endpoints, err := c.check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r, err := run(t.Context(), c, endpoints, machine{files: 1000, ports: 4}, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for range c.Conns {
		got[epitest.Receive(t, addresses)]++
	}
	if got["127.0.0.1"] != 2 || got["127.0.0.2"] != 2 || got["127.0.0.3"] != 2 || r.Sources != 3 || len(r.Notes) != 1 {
		t.Errorf("connections came from %v; %d sources, notes %q", got, r.Sources, r.Notes)
	}
}

// as returns the command of a child that plays a role.
func as(role string) *exec.Cmd {
	cmd := epitest.Command(role)
	cmd.Stderr = os.Stderr
	return cmd
}

// runChildren is Run on a machine on which a process may have 10 connections.
func runChildren(ctx context.Context, t *testing.T, c Config) (*Report, error) {
	t.Helper()
	c.Loops = 1
	c = c.withDefaults()
	endpoints, err := c.check(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return run(ctx, c, endpoints, machine{files: 10 + ownFiles + loopFiles, ports: 1000}, nil)
}

func TestChildrenShareTheLoad(t *testing.T) {
	target := echoServer(t, local)
	child := func() *exec.Cmd { return as("child") }
	for _, rate := range []float64{0, 3000} {
		c := Config{Targets: []string{target}, Conns: 25, Active: 20, Rate: rate, Verify: true, Child: child, Duration: short, Patience: epitest.Patience}
		r, err := runChildren(t.Context(), t, c)
		if err != nil {
			t.Fatal(err)
		}
		if r.Failed() || r.Partial != "" || r.Processes != 3 || r.Setup.Opened != 25 || r.Setup.Time.Count != 25 || r.Histogram.Count() != r.Latency.Count {
			t.Errorf("%+v", r)
		}
		if due := int64(rate * short.Seconds()); rate > 0 && (r.Latency.Count < due-6 || r.Latency.Count > due+6) {
			t.Errorf("%d latencies for %d messages", r.Latency.Count, due)
		}
	}
}

func TestInterruptedChildrenTellWhatTheyHave(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	target := serve(t, interrupting(500, interrupt))
	c := Config{Targets: []string{target}, Conns: 20, Child: func() *exec.Cmd { return as("child") }, Duration: epitest.Patience, Patience: epitest.Patience}
	r, err := runChildren(ctx, t, c)
	if err != nil || r.Partial != interrupted || r.Requests == 0 || failedOtherwise(r) {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestChildrenThatDie(t *testing.T) {
	target := echoServer(t, local)
	for _, role := range []string{"dying child", "no role"} {
		first := true
		r, err := runChildren(t.Context(), t, Config{Targets: []string{target}, Conns: 20, Duration: epitest.Patience, Patience: epitest.Patience, Child: func() *exec.Cmd {
			if first {
				first = false
				cmd := as(role)
				cmd.Stderr = nil // it complains of having no role
				return cmd
			}
			return as("child")
		}})
		if err != nil || !strings.Contains(r.Partial, "before its time") || count(r, "a child process ended before its time") != 1 || r.Setup.Opened > 10 {
			t.Errorf("%s: %+v, %v", role, r, err)
		}
	}
}

func TestChildThatNeverAnswersIsKilled(t *testing.T) {
	const grace = 10 * time.Millisecond
	f := newFamily(share{Patience: grace}, grace)
	if err := f.start(as("deaf child"), share{}); err != nil {
		t.Fatal(err)
	}
	f.listen(t.Context(), func(Progress) {})
	f.end()
	if !strings.Contains(f.partial, "did not end in time") || f.lost != 1 || f.children[0].cmd.ProcessState.Success() {
		t.Errorf("partial %q, %d lost, %v", f.partial, f.lost, f.children[0].cmd.ProcessState)
	}
}

func TestChildrenThatCannotStart(t *testing.T) {
	c := Config{Targets: []string{echoServer(t, local)}, Conns: 20, Child: func() *exec.Cmd { return exec.Command("/no/such/program") }}
	if _, err := runChildren(t.Context(), t, c); err == nil || !strings.Contains(err.Error(), "/no/such/program") {
		t.Errorf("%v", err)
	}
}

func TestChildrenWithoutServer(t *testing.T) {
	c := Config{Targets: []string{"unix://" + filepath.Join(t.TempDir(), "none")}, Conns: 20, Child: func() *exec.Cmd { return as("child") }}
	if _, err := runChildren(t.Context(), t, c); err == nil || !strings.Contains(err.Error(), "no such socket") {
		t.Errorf("%v", err)
	}
}

// A child ends when its parent is gone, whatever it is about.
func TestChildEndsWithItsParent(t *testing.T) {
	s := share{Endpoints: []endpoint{{Address: echoServer(t, local)}}, Conns: 2, Active: 2, Window: 2, Depth: 1,
		Sizes: defaultSizes, Duration: epitest.Patience, Patience: epitest.Patience, Loops: 1}
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var lines []childLine
	out := writer(func(p []byte) {
		var line childLine
		if err := json.Unmarshal(p, &line); err != nil {
			t.Errorf("%q: %v", p, err)
		}
		lines = append(lines, line)
	})
	if err := RunChild(strings.NewReader(string(text)+"\n"), out); err != nil {
		t.Fatal(err)
	}
	if last := lines[len(lines)-1]; last.Tally == nil || last.Tally.Partial != interrupted {
		t.Errorf("it said %+v", lines)
	}
	for _, in := range []string{"", "nonsense\n"} {
		if err := RunChild(strings.NewReader(in), io.Discard); err == nil {
			t.Errorf("a child that was told %q did not complain", in)
		}
	}
}

type writer func(p []byte)

func (w writer) Write(p []byte) (int, error) { w(p); return len(p), nil }

func TestNothingIsAllocatedPerRequest(t *testing.T) {
	for _, rate := range []float64{0, 20_000} {
		s := share{Endpoints: []endpoint{{Address: echoServer(t, local)}}, Conns: 10, Active: 10, Window: 3, Depth: 4, Rate: rate, Verify: true,
			Sizes: sizes(t, "choice:64@9,20KiB@1"), Duration: epitest.Patience, Patience: epitest.Patience, Loops: 1}
		g, err := startGenerator(s)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		if err := g.connect(ctx); err != nil {
			t.Fatal(err)
		}
		measured := make(chan struct{})
		go func() { g.measure(ctx); close(measured) }()
		until := func(requests uint64) (uint64, uint64) {
			epitest.WaitUntil(t, "requests", func() bool { return g.progress().Requests >= requests })
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return m.Mallocs, g.progress().Requests
		}
		const enough = 10_000
		before, warm := until(enough)
		after, done := until(warm + enough)
		stop()
		<-measured
		if _, err := g.close(); err != nil {
			t.Fatal(err)
		}
		// The test itself and the runtime allocate, too, but not per request.
		if n := after - before; n > (done-warm)/10 {
			t.Errorf("rate %g: %d allocations for %d requests", rate, n, done-warm)
		}
	}
}

func TestProgress(t *testing.T) {
	s := share{Endpoints: []endpoint{{Address: echoServer(t, local)}}, Conns: 5, Active: 5, Window: 5, Depth: 1, Sizes: defaultSizes,
		Patience: epitest.Patience, Loops: 2}
	var p Progress
	longer(func(d time.Duration) bool {
		s.Duration = d
		p = progressOf(t, s)
		return p.Requests > 0
	})
	if p.Phase != "finishing" || p.Open != 5 || p.Requests == 0 || p.Bytes != 64*p.Requests || p.Errors != 0 || p.CPU == 0 {
		t.Errorf("at last %+v", p)
	}
	var sum Progress
	sum.add(p)
	sum.add(p)
	if sum.Open != 10 || sum.Requests != 2*p.Requests || sum.Phase != p.Phase {
		t.Errorf("twice that is %+v", sum)
	}
}

// progressOf returns what a run of a share shows at its end.
func progressOf(t *testing.T, s share) Progress {
	t.Helper()
	g, err := startGenerator(s)
	if err != nil {
		t.Fatal(err)
	}
	if p := g.progress(); p.Phase != "connecting" || p.Conns != 5 || p.Open != 0 {
		t.Errorf("at first %+v", p)
	}
	if err := g.connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	g.measure(t.Context())
	p := g.progress()
	if _, err := g.close(); err != nil {
		t.Fatal(err)
	}
	return p
}
