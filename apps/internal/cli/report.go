package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/apps/internal/plaintext"
	"github.com/epinet/epi/apps/lab/proc"
)

// An event is something to print: as text for people, or as a JSON object.
type event interface{ text() string }

// A report writes events to one output. It may be used from any goroutine.
type report struct {
	json     bool
	terminal bool

	mu   sync.Mutex
	out  io.Writer // guarded by mu
	live bool      // guarded by mu; the terminal shows a line that the next one replaces
}

func newReport(out io.Writer, json bool) *report {
	return &report{json: json, terminal: !json && isTerminal(out), out: out}
}

func isTerminal(w io.Writer) bool {
	f, ok := below(w).(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// print prints an event.
func (r *report) print(e event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clear()
	if !r.json {
		// If stdout is gone nobody reads it.
		_, _ = io.WriteString(r.out, plaintext.Lines(e.text()))
		return
	}
	_ = json.NewEncoder(r.out).Encode(e)
}

// printLive prints an event of one line that on a terminal replaces the last.
func (r *report) printLive(e event) {
	if !r.terminal {
		r.print(e)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clear()
	_, _ = io.WriteString(r.out, plaintext.Line(strings.TrimSuffix(e.text(), "\n")))
	r.live = true
}

// clear takes the live line away. The caller holds mu.
func (r *report) clear() {
	if r.live {
		_, _ = io.WriteString(r.out, "\r\x1b[K") // erase to the end of the line
		r.live = false
	}
}

// logTo returns w for log lines, which are not to stand behind the live line.
func (r *report) logTo(w io.Writer) io.Writer { return &logWriter{report: r, to: w} }

type logWriter struct {
	report *report
	to     io.Writer
}

func (l *logWriter) Write(p []byte) (int, error) {
	l.report.mu.Lock()
	defer l.report.mu.Unlock()
	l.report.clear()
	return l.to.Write(p)
}

// A startEvent reports that the server is ready.
type startEvent struct {
	Event    string   `json:"event"`
	Listen   []string `json:"listen"`
	Links    []string `json:"links,omitempty"` // for a browser
	Driver   string   `json:"driver"`
	Reason   string   `json:"reason"`
	Loops    int      `json:"loops"`
	Workers  int      `json:"workers"`
	Wait     string   `json:"wait"`
	MaxConns int      `json:"max_conns"` // what --max-conns says, else the room
	Room     int      `json:"room"`      // connections that fit
	Limit    int      `json:"limit"`     // descriptors that the process can have
	LimitOf  string   `json:"limit_of"`  // what limits them
	InUse    int      `json:"in_use"`    // descriptors in use at the start
	Admin    string   `json:"admin,omitempty"`

	MaxMemory       int `json:"max_memory"`       // 0: no limit
	ConnsPerIP      int `json:"max_conns_per_ip"` // likewise
	HandshakesPerIP int `json:"max_handshakes_per_ip"`

	Certificate *certificateEvent `json:"certificate,omitempty"`

	memoryGiven bool // MaxMemory is not the default
}

func newStart(addresses []string, stats epi.Stats, wait epi.WaitPolicy, maxConns int, r room) startEvent {
	if maxConns == 0 {
		maxConns = r.conns()
	}
	return startEvent{
		Event:    "start",
		Listen:   addresses,
		Driver:   stats.Driver,
		Reason:   stats.Reason,
		Loops:    len(stats.Loops),
		Workers:  stats.Workers,
		Wait:     wait.String(),
		MaxConns: maxConns,
		Room:     r.conns(),
		Limit:    r.limit,
		LimitOf:  r.of,
		InUse:    r.open,
	}
}

func (e startEvent) text() string {
	var b strings.Builder
	for _, address := range e.Listen {
		fmt.Fprintf(&b, "listening on %s\n", address)
	}
	for _, link := range e.Links {
		fmt.Fprintf(&b, "open         %s\n", link)
	}
	if e.Certificate != nil {
		b.WriteString(e.Certificate.text())
	}
	fmt.Fprintf(&b, "driver       %s (%s)\n", e.Driver, e.Reason)
	fmt.Fprintf(&b, "loops        %d\n", e.Loops)
	if e.Workers == 0 {
		fmt.Fprintf(&b, "workers      0 (callbacks on the loops)\n")
	} else {
		fmt.Fprintf(&b, "workers      %d\n", e.Workers)
	}
	fmt.Fprintf(&b, "wait         %s\n", e.Wait)
	room := fmt.Sprintf("%s: limit %d, %d in use", e.LimitOf, e.Limit, e.InUse)
	if e.MaxConns < e.Room {
		room = fmt.Sprintf("room for %d; %s", e.Room, room)
	}
	fmt.Fprintf(&b, "connections  at most %d (%s)\n", e.MaxConns, room)
	if e.memoryGiven && e.MaxMemory > 0 {
		fmt.Fprintf(&b, "memory       at most %s queued and unread\n", size(float64(e.MaxMemory)))
	}
	if e.ConnsPerIP+e.HandshakesPerIP > 0 {
		fmt.Fprintf(&b, "each client  at most %s, %s (of one address, of IPv6 one /64)\n",
			atMost(e.ConnsPerIP, "connection"), atMost(e.HandshakesPerIP, "handshake"))
	}
	if e.Admin != "" {
		fmt.Fprintf(&b, "admin        %s (%s)\n", e.Admin, adminPaths)
	}
	return b.String()
}

// atMost writes a limit; 0 is none.
func atMost(n int, thing string) string {
	if n == 0 {
		return "any number of " + thing + "s"
	}
	return plural(int64(n), thing)
}

// A measurement is the server's counters at one moment.
type measurement struct {
	when  time.Time
	cpu   time.Duration // of the process, user and system
	stats epi.Stats

	sockets int64 // for datagrams; Stats.Conns counts them, too
}

func (s *server) measure() measurement {
	m := measurement{when: time.Now(), cpu: proc.Own(), stats: s.engine.Stats(), sockets: s.packets.sockets.Load()}
	m.stats.PacketsDropped += s.packets.dropped.Load()
	return m
}

// conns are those with a peer.
func (m measurement) conns() int64 { return max(m.stats.Conns-m.sockets, 0) }

// A statsEvent is what happened between two measurements.
type statsEvent struct {
	Event             string  `json:"event"`
	Connections       int64   `json:"connections"`
	BytesIn           uint64  `json:"bytes_in"` // since the start
	BytesOut          uint64  `json:"bytes_out"`
	BytesInPerSecond  float64 `json:"bytes_in_per_second"`
	BytesOutPerSecond float64 `json:"bytes_out_per_second"`
	EventsPerWait     float64 `json:"events_per_wait"`
	CPUPercent        float64 `json:"cpu_percent"` // 100 is one CPU
	PacketsIn         uint64  `json:"packets_in"`  // since the start
	PacketsOut        uint64  `json:"packets_out"`
	PacketsDropped    uint64  `json:"packets_dropped"`

	droppedNow uint64 // between the measurements
}

func newStats(from, to measurement) statsEvent {
	seconds := to.when.Sub(from.when).Seconds()
	since := func(a, b uint64) float64 { return float64(b - a) }
	return statsEvent{
		Event:             "stats",
		Connections:       to.conns(),
		BytesIn:           to.stats.BytesIn,
		BytesOut:          to.stats.BytesOut,
		BytesInPerSecond:  ratio(since(from.stats.BytesIn, to.stats.BytesIn), seconds),
		BytesOutPerSecond: ratio(since(from.stats.BytesOut, to.stats.BytesOut), seconds),
		EventsPerWait:     ratio(since(from.stats.Events, to.stats.Events), since(from.stats.Waits, to.stats.Waits)),
		CPUPercent:        ratio(100*(to.cpu-from.cpu).Seconds(), seconds),
		PacketsIn:         to.stats.PacketsIn,
		PacketsOut:        to.stats.PacketsOut,
		PacketsDropped:    to.stats.PacketsDropped,
		droppedNow:        to.stats.PacketsDropped - from.stats.PacketsDropped,
	}
}

// ratio is a/b to two decimals, and 0 of nothing.
func ratio(a, b float64) float64 {
	if b <= 0 {
		return 0
	}
	return math.Round(a/b*100) / 100
}

// text fits into 80 columns, as a live line must not wrap. So datagrams that were
// dropped take the place of what matters less then.
func (e statsEvent) text() string {
	loop := fmt.Sprintf("%5.1f events/wait", e.EventsPerWait)
	if e.droppedNow > 0 {
		loop = fmt.Sprintf("%9d dropped", e.droppedNow)
	}
	return fmt.Sprintf("%6d conns  in %10s/s  out %10s/s  %s  cpu %3.0f%%\n",
		e.Connections, size(e.BytesInPerSecond), size(e.BytesOutPerSecond), loop, e.CPUPercent)
}

// size writes a number of bytes for people.
func size(n float64) string {
	units := []string{"B", "KiB", "MiB", "GiB"}
	i := 0
	for n >= 1000 && i < len(units)-1 {
		n /= 1024
		i++
	}
	if i == 0 {
		return fmt.Sprintf("%.0f %s", n, units[i])
	}
	return fmt.Sprintf("%.1f %s", n, units[i])
}

// A drainingEvent reports the first signal.
type drainingEvent struct {
	Event       string `json:"event"`
	Connections int64  `json:"connections"`
}

func newDraining(now measurement) drainingEvent {
	return drainingEvent{Event: "draining", Connections: now.conns()}
}

func (e drainingEvent) text() string {
	return fmt.Sprintf("draining %s, interrupt again to abort\n", plural(e.Connections, "connection"))
}

// A totalsEvent is the last one.
type totalsEvent struct {
	Event    string  `json:"event"`
	Accepted uint64  `json:"accepted"`
	Closed   uint64  `json:"closed"`
	Shed     uint64  `json:"shed"`
	BytesIn  uint64  `json:"bytes_in"`
	BytesOut uint64  `json:"bytes_out"`
	Seconds  float64 `json:"seconds"`

	Handshakes     uint64 `json:"handshakes"`
	Refused        uint64 `json:"refused"` // for their handshake or PROXY header
	PacketsIn      uint64 `json:"packets_in"`
	PacketsOut     uint64 `json:"packets_out"`
	PacketsDropped uint64 `json:"packets_dropped"`
}

func newTotals(first, last measurement) totalsEvent {
	return totalsEvent{
		Event:    "totals",
		Accepted: last.stats.Accepted,
		Closed:   last.stats.Closed,
		Shed:     last.stats.Shed,
		BytesIn:  last.stats.BytesIn,
		BytesOut: last.stats.BytesOut,
		Seconds:  math.Round(last.when.Sub(first.when).Seconds()*1000) / 1000,

		Handshakes:     last.stats.Handshakes,
		Refused:        last.stats.Refused,
		PacketsIn:      last.stats.PacketsIn,
		PacketsOut:     last.stats.PacketsOut,
		PacketsDropped: last.stats.PacketsDropped,
	}
}

func (e totalsEvent) text() string {
	var b strings.Builder
	if e.Handshakes+e.Refused > 0 {
		fmt.Fprintf(&b, "handshakes   %d\nrefused      %d\n", e.Handshakes, e.Refused)
	}
	if e.PacketsIn+e.PacketsDropped > 0 {
		fmt.Fprintf(&b, "packets in   %d\npackets out  %d\ndropped      %d\n", e.PacketsIn, e.PacketsOut, e.PacketsDropped)
	}
	return fmt.Sprintf("accepted     %d\nclosed       %d\nshed         %d\nbytes in     %d\nbytes out    %d\n%sduration     %v\n",
		e.Accepted, e.Closed, e.Shed, e.BytesIn, e.BytesOut, &b, time.Duration(e.Seconds*float64(time.Second)).Round(time.Millisecond))
}

// plural writes a number of things.
func plural(n int64, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
