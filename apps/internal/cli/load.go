package cli

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/epinet/epi/apps/internal/plaintext"
	"github.com/epinet/epi/apps/lab/load"
)

const loadHelp = `Make load for servers and measure what comes back. Targets are
tcp://, tls://, ws://, wss://, udp://, unix:// and unixgram:// addresses; irc://,
ircs://, irc+ws:// and irc+wss:// are IRC servers, mqtt:// and mqtts:// MQTT brokers.

In a closed loop each connection has --depth messages in flight: an answer lets
the next one go. With --rate the loop is open: messages are due at a constant
rate and latency counts from the moment at which a message was due, so that a
server that stalls cannot hide it.

A datagram that is not answered within --lost-after is counted as lost, and
another takes its place; that is no error unless none was answered. Certificates
are checked: --ca, --fingerprint and --insecure say what to accept.

Clients of an IRC server register and are spread over --channels. What they say
goes to their channel; each line that a member gets is a delivery, the unit of
all figures, and latency is the time until that member has it. In a closed loop
the next message goes when the last member has the one before (--await last), or
the sender its own copy (--await echo). Each sender numbers its lines: those that
are lost or out of order are errors. Clients of an MQTT broker do the same, with a
topic for a channel and QoS 0.

The targets must be on this machine's loopback, unless --allow-remote is given.
An interrupt ends the run early; what was measured so far is printed and marked as partial.

Exit codes: 0 done, 1 errors were met, 2 called wrongly.`

const loadExample = `  epi load tcp://127.0.0.1:7000
  epi load --conns 1000 --depth 16 --size 1KiB --verify tcp://127.0.0.1:7000
  epi load --conns 10000 --active 100 unix:///tmp/echo.sock
  epi load --fingerprint 9f:86:...:08 tls://127.0.0.1:7443
  epi load --ca ca.pem wss://localhost:8443/chat
  epi load --depth 4 udp://127.0.0.1:7000
  epi load --conns 1000 --channels 10 irc://127.0.0.1:6667
  epi load --conns 1000 --channels 10 mqtt://127.0.0.1:1883
  epi load --rate 20000 --duration 30s --hdr echo.hgrm tcp://127.0.0.1:7000`

// A loader is the load command.
type loader struct {
	config load.Config
	way    way
	json   bool
	hdr    string
	child  bool
}

func loadCommand() *cobra.Command {
	l := loader{config: load.Config{Warmup: time.Second}}
	cmd := &cobra.Command{
		Use:     "load [flags] TARGET...",
		Short:   "Make load for echo, chat and MQTT servers, and measure",
		Long:    loadHelp,
		Example: loadExample,
		RunE: func(cmd *cobra.Command, targets []string) error {
			if l.child {
				return l.beChild(cmd.InOrStdin(), cmd.OutOrStdout())
			}
			l.config.Targets = targets
			return l.run(cmd.OutOrStdout())
		},
	}
	l.addFlags(cmd.Flags())
	return cmd
}

func (l *loader) addFlags(flags *pflag.FlagSet) {
	c := &l.config
	flags.SortFlags = false
	flags.Var(countFrom1(&c.Conns), "conns", fmt.Sprintf("`number` of connections (default %d)", load.DefaultConns))
	flags.Var(activeValue(&c.Active), "active", "`number` of connections that send; the others are idle (default all)")
	flags.Var(countFrom1(&c.Depth), "depth", fmt.Sprintf("`number` of messages in flight on a connection (default %d; with --rate at most so many, default %d)", load.DefaultDepth, load.DefaultOpenDepth))
	flags.Var(rateValue(&c.Rate), "rate", "`number` of messages per second in total: an open loop (default a closed one)")
	flags.Var(sizesValue(&c.Sizes), "size", "`bytes` of a message: "+load.SizesHelp+" (default 64)")
	flags.Var(limit(&c.Duration), "duration", fmt.Sprintf("`duration` of measuring (default %v)", load.DefaultDuration))
	flags.Var(timeout(&c.Warmup), "warmup", "`duration` of load before measuring (default 1s)")
	flags.Var(limit(&c.Patience), "patience", fmt.Sprintf("`duration` of waiting for a connection, and for answers at the end (default %v)", load.DefaultPatience))
	flags.Var(limit(&c.LostAfter), "lost-after", fmt.Sprintf("`duration` after which a datagram without an answer is lost (default %v)", load.DefaultLostAfter))
	flags.Var(count(&c.Channels), "channels", fmt.Sprintf("`number` of channels for the clients of an IRC server (default %d)", load.DefaultChannels))
	flags.Var(awaitValue(&c.Await), "await", "`what` ends the wait for a message to a channel: last (all members have it) or echo (the sender has its copy) (default last)")
	flags.BoolVar(&c.Trust.Insecure, "insecure", false, "accept every certificate of tls:// and wss:// servers")
	flags.Var(fileValue(&c.Trust.CA), "ca", "PEM `file` with the issuers to trust (default those of the system)")
	flags.StringVar(&c.Trust.Fingerprint, "fingerprint", "", "`SHA-256` of the only certificate to accept, in hexadecimal digits")
	flags.BoolVar(&c.Verify, "verify", false, "compare every byte that comes back, and the order")
	flags.Var(countFrom1(&c.Loops), "loops", "`number` of event loops (default one per CPU)")
	flags.Var(wayValue(&l.way), "driver", "`name`: "+wayNames)
	flags.Var(countFrom1(&c.Server), "server", "`process` id of the server: report its CPU time and context switches per request, too")
	flags.BoolVar(&l.json, "json", false, "print a JSON object")
	flags.Var(fileValue(&l.hdr), "hdr", "`file` for the latencies' percentiles, in ms, as HdrHistogram plotters read it")
	flags.BoolVar(&c.AllowRemote, "allow-remote", false, "permit targets on other machines, which must be yours")
	flags.BoolVar(&l.child, "child", false, "be a child process of another epi load")
	_ = flags.MarkHidden("child") // it fails only for a flag that is not there
}

// activeValue is a number of connections; 0 is none.
func activeValue(to *int) *value[int] {
	v := count(to)
	parse := v.parse
	v.parse = func(text string) (int, error) {
		n, err := parse(text)
		if n == 0 && err == nil {
			n = load.NoneActive
		}
		return n, err
	}
	return v
}

// rateValue is a number of messages per second.
func rateValue(to *float64) *value[float64] {
	return &value[float64]{to: to, parse: func(text string) (float64, error) {
		r, err := strconv.ParseFloat(text, 64)
		if err != nil || !(r > 0) || math.IsInf(r, 0) {
			return 0, errors.New("write a number above 0, such as 20000")
		}
		return r, nil
	}}
}

func awaitValue(to *load.Await) *value[load.Await] {
	return &value[load.Await]{to: to, parse: func(text string) (load.Await, error) {
		if a := load.Await(text); a == load.AwaitLast || a == load.AwaitEcho {
			return a, nil
		}
		return "", fmt.Errorf("write %s or %s", load.AwaitLast, load.AwaitEcho)
	}}
}

func sizesValue(to *load.Sizes) *value[load.Sizes] {
	return &value[load.Sizes]{to: to, parse: load.ParseSizes}
}

// beChild makes the share that a parent process has for this one.
func (l *loader) beChild(in io.Reader, out io.Writer) error {
	if err := raiseOpenFiles(); err != nil {
		return failure{err}
	}
	if err := load.RunChild(in, out); err != nil {
		return failure{err}
	}
	return nil
}

func (l *loader) run(stdout io.Writer) error {
	l.config.Driver, l.config.Trigger = l.way.driver, l.way.trigger
	l.config.Child = childCommand
	ctx, end := interruptibleOnce()
	defer end()

	if err := l.config.Check(ctx); err != nil {
		var dns *net.DNSError
		if errors.As(err, &dns) {
			return failure{err}
		}
		return err
	}
	if err := raiseOpenFiles(); err != nil {
		return failure{err}
	}
	keep, err := l.openHdr()
	if err != nil {
		return failure{err}
	}
	out := newReport(stdout, l.json)
	result, err := load.Run(ctx, l.config, liveProgress(out))
	if err != nil {
		return failure{errors.Join(err, keep(nil))}
	}
	out.print(loadEvent{Event: "load", Report: result})
	if err := keep(result.Histogram); err != nil {
		return failure{err}
	}
	return loadError(result)
}

// childCommand starts this program once more.
func childCommand() *exec.Cmd {
	program, err := os.Executable()
	if err != nil {
		program = os.Args[0]
	}
	cmd := exec.Command(program, "load", "--child")
	cmd.Stderr = os.Stderr
	return cmd
}

// openHdr makes the percentile file before there is something for it, so that
// a wrong name is reported before a long run. keep writes it, or removes it
// where nothing came of the run.
func (l *loader) openHdr() (keep func(*load.Histogram) error, err error) {
	if l.hdr == "" {
		return func(*load.Histogram) error { return nil }, nil
	}
	file, err := os.Create(l.hdr)
	if err != nil {
		return nil, fmt.Errorf("--hdr: %w", err)
	}
	return func(h *load.Histogram) error {
		if h == nil {
			return errors.Join(file.Close(), os.Remove(l.hdr))
		}
		if err := errors.Join(h.WritePercentiles(file), file.Close()); err != nil {
			return fmt.Errorf("--hdr: %w", err)
		}
		return nil
	}, nil
}

// loadError says that errors were met.
func loadError(r *load.Report) error {
	if !r.Failed() {
		return nil
	}
	worst := r.Errors[0]
	text := fmt.Sprintf("load: errors were met, most often: %s (%d)", worst.Cause, worst.Count)
	if r.Mismatch != "" {
		text = "load: wrong bytes came back: " + r.Mismatch
	}
	return failure{errors.New(text)}
}

// liveProgress shows people at a terminal how far the run is.
func liveProgress(out *report) func(load.Progress) {
	if !out.terminal {
		return nil
	}
	last, when := load.Progress{}, time.Now()
	return func(p load.Progress) {
		now := time.Now()
		out.printLive(progressEvent{last: last, now: p, seconds: now.Sub(when).Seconds()})
		last, when = p, now
	}
}

// A progressEvent is what happened between two calls.
type progressEvent struct {
	last, now load.Progress
	seconds   float64
}

// text fits into 80 columns, as a live line must not wrap.
func (e progressEvent) text() string {
	since := func(a, b uint64) float64 { return ratio(float64(b-min(a, b)), e.seconds) }
	return fmt.Sprintf("%-10s %6d conns  %9.0f req/s  %10s/s  %4d errors  cpu %3.0f%%\n",
		e.now.Phase, e.now.Open, since(e.last.Requests, e.now.Requests), size(since(e.last.Bytes, e.now.Bytes)),
		e.now.Errors, ratio(100*(e.now.CPU-e.last.CPU).Seconds(), e.seconds))
}

// A loadEvent is the result.
type loadEvent struct {
	Event string `json:"event"`
	*load.Report
}

func (e loadEvent) text() string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-12s %s\n", name, plaintext.Line(fmt.Sprintf(format, args...)))
	}
	if e.Partial != "" {
		line("partial", "%s after %.1f s of measuring", e.Partial, e.Seconds)
	}
	line("target", "%s", strings.Join(e.Targets, " "))
	line("load", "%s", e.describe())
	line("driver", "%s, %s", e.Driver, e.workforce())
	for _, note := range e.Notes {
		line("spread", "%s", note)
	}
	s := e.Setup
	line("connections", "%d open, %d failed, %.0f/s", s.Opened, s.Failed, s.PerSecond)
	line("set-up", "p50 %s  p99 %s  max %s", micro(s.Time.P50), micro(s.Time.P99), micro(s.Time.Max))
	unit := "request"
	if e.Chat == nil {
		line("requests", "%d in %.1f s: %.0f/s, %.2f MB/s each way", e.Requests, e.Seconds, e.RequestsPerSecond, e.BytesPerSecond/1e6)
	} else {
		unit = "delivery"
		line("messages", "%d in %.1f s: %.0f/s", e.Chat.Messages, e.Seconds, e.Chat.MessagesPerSecond)
		line("deliveries", "%d in %.1f s: %.0f/s, %.2f MB/s of text; %d lost, %d out of order",
			e.Requests, e.Seconds, e.RequestsPerSecond, e.BytesPerSecond/1e6, e.Chat.Lost, e.Chat.OutOfOrder)
	}
	line("latency", "%s", distribution(e.Latency))
	if e.Mode == "open" {
		line("late", "%s (of the latency, before sending)", distribution(e.Late))
	}
	line("cpu", "%.2f µs per %s, %.0f%% of one CPU", e.CPUPerRequest, unit, e.CPUPercent)
	if e.Server != nil {
		line("server", "%.2f µs of CPU and %.3f context switches per %s", e.Server.CPUPerRequest, e.Server.SwitchesPerRequest, unit)
		line("memory", "%.0f bytes of the server's for each connection before the load", e.Server.ResidentPerConn)
	}
	if e.Server != nil && e.Server.CPUPerJoin > 0 {
		line("joins", "%d lines announced who joined, before the load; %.2f µs of the server's CPU for each, all else that it did included", e.Chat.Joins, e.Server.CPUPerJoin)
	}
	if e.Lost > 0 || e.Stray > 0 {
		line("datagrams", "%d lost, %d answers late or doubled", e.Lost, e.Stray)
	}
	if len(e.Errors) == 0 {
		line("errors", "none")
	}
	for _, f := range e.Errors {
		line("errors", "%d × %s", f.Count, f.Cause)
	}
	if e.Mismatch != "" {
		line("mismatch", "%s", e.Mismatch)
	}
	return b.String()
}

// describe says what load was asked for.
func (e loadEvent) describe() string {
	var b strings.Builder
	if e.Mode == "open" {
		fmt.Fprintf(&b, "open loop, %g messages/s, ", e.Rate)
	} else {
		b.WriteString("closed loop, ")
	}
	b.WriteString(plural(int64(e.Conns), "connection"))
	if e.Active != e.Conns {
		fmt.Fprintf(&b, ", %d active", e.Active)
	}
	if e.Chat != nil {
		fmt.Fprintf(&b, ", %s, waiting for the %s", plural(int64(e.Chat.Channels), "channel"), e.Chat.Await)
	}
	fmt.Fprintf(&b, ", %s%d in flight on each, %s", map[string]string{"open": "at most "}[e.Mode], e.Depth, e.Sizes.Bytes())
	if e.Verify {
		b.WriteString(", verified")
	}
	return b.String()
}

func (e loadEvent) workforce() string {
	loops := plural(int64(e.Loops), "loop")
	if e.Processes > 1 {
		return fmt.Sprintf("%s in each of %d processes", loops, e.Processes)
	}
	return loops
}

func distribution(p load.Percentiles) string {
	return fmt.Sprintf("p50 %s  p90 %s  p99 %s  p99.9 %s  max %s", micro(p.P50), micro(p.P90), micro(p.P99), micro(p.P999), micro(p.Max))
}

// micro writes a time given in microseconds to three digits or more.
func micro(us float64) string {
	switch {
	case us >= 1e6:
		return fmt.Sprintf("%.2fs", us/1e6)
	case us >= 1e4:
		return fmt.Sprintf("%.1fms", us/1e3)
	case us >= 1e3:
		return fmt.Sprintf("%.2fms", us/1e3)
	case us >= 100:
		return fmt.Sprintf("%.0fµs", us)
	}
	return fmt.Sprintf("%.1fµs", us)
}
