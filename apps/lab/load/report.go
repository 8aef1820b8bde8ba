package load

import (
	"cmp"
	"slices"
	"time"
)

// A Report is what a run has measured. Times are in microseconds where the name
// does not say otherwise.
type Report struct {
	Targets   []string `json:"targets"`
	Mode      string   `json:"mode"` // closed or open
	Conns     int      `json:"conns"`
	Active    int      `json:"active"`
	Depth     int      `json:"depth"`
	Rate      float64  `json:"rate,omitempty"` // messages per second asked for; open loop
	Sizes     Sizes    `json:"sizes"`
	Verify    bool     `json:"verify"`
	Driver    string   `json:"driver"`
	Loops     int      `json:"loops"` // of each process
	Processes int      `json:"processes"`
	Sources   int      `json:"sources"` // source addresses; 1: the system chose
	Notes     []string `json:"notes,omitempty"`

	Started time.Time `json:"started"`
	Partial string    `json:"partial,omitempty"` // why it ended early; empty when it is complete

	Setup Setup `json:"setup"`

	Seconds           float64     `json:"seconds"` // measured
	Requests          uint64      `json:"requests"`
	RequestsPerSecond float64     `json:"requests_per_second"`
	Bytes             uint64      `json:"bytes"` // of messages, in each direction
	BytesPerSecond    float64     `json:"bytes_per_second"`
	Latency           Percentiles `json:"latency_us"`
	Late              Percentiles `json:"late_us"` // open loop: from due to sent, part of the latency
	Errors            []Failure   `json:"errors"`
	Lost              uint64      `json:"lost,omitempty"`     // datagrams without an answer in time
	Stray             uint64      `json:"stray,omitempty"`    // answers to datagrams that came late or twice
	Mismatch          string      `json:"mismatch,omitempty"` // the first wrong byte that Verify has seen
	CPUPerRequest     float64     `json:"cpu_us_per_request"` // of the generator itself
	CPUPercent        float64     `json:"cpu_percent"`        // of one CPU
	Server            *Server     `json:"server,omitempty"`   // where Config.Server was given
	Chat              *Chat       `json:"chat,omitempty"`     // where targets are IRC servers or MQTT brokers
	Histogram         *Histogram  `json:"histogram"`          // of the latencies, in nanoseconds
	SetupHistogram    *Histogram  `json:"setup_histogram"`    // of the time to connect
	LateHistogram     *Histogram  `json:"late_histogram,omitzero"`
}

// Server is what the server's process used within the measured time, and how
// much memory the connections cost before it.
type Server struct {
	CPUPerRequest      float64 `json:"cpu_us_per_request"`
	SwitchesPerRequest float64 `json:"context_switches_per_request"`
	ResidentPerConn    float64 `json:"resident_bytes_per_connection"`
	CPUPerJoin         float64 `json:"cpu_us_per_join,omitempty"` // of IRC: all that it used before the load, for each of Chat.Joins
}

// Chat is what is special to IRC servers and MQTT brokers. Requests are deliveries:
// lines, or packets, that members of a channel got.
type Chat struct {
	Channels          int     `json:"channels"`
	Await             Await   `json:"await"`
	Messages          uint64  `json:"messages"` // that were done
	MessagesPerSecond float64 `json:"messages_per_second"`
	Lost              uint64  `json:"lost"`         // deliveries that never came
	OutOfOrder        uint64  `json:"out_of_order"` // that were not the sender's next
	Joins             uint64  `json:"joins"`        // lines by which members learned who came, before the load
}

func newChat(c *Config, t *tally) *Chat {
	return &Chat{
		Channels: c.Channels, Await: c.Await,
		Messages: t.Messages, MessagesPerSecond: per(float64(t.Messages), t.Seconds),
		Lost: t.Errors[lostLines], OutOfOrder: t.Errors[outOfOrder], Joins: t.Joins,
	}
}

func newServer(t *tally) *Server {
	requests := float64(t.Requests)
	return &Server{
		CPUPerRequest:      per(float64(t.Server.CPU.Nanoseconds())/1e3, requests),
		SwitchesPerRequest: per(float64(t.Server.Voluntary+t.Server.Involuntary), requests),
		ResidentPerConn:    per(float64(t.Before.Resident), float64(t.Opened)),
		CPUPerJoin:         per(float64(t.Before.CPU.Nanoseconds())/1e3, float64(t.Joins)),
	}
}

// Setup is how connections came to be.
type Setup struct {
	Opened    int         `json:"opened"`
	Failed    int         `json:"failed"`
	Seconds   float64     `json:"seconds"` // from the first Dial to the last connection open
	PerSecond float64     `json:"per_second"`
	Time      Percentiles `json:"time_us"` // from Dial to open, which the server need not have accepted yet
}

// A Failure is a kind of error and how often it was met.
type Failure struct {
	Cause string `json:"cause"`
	Count uint64 `json:"count"`
}

// Failed reports whether errors were met.
func (r *Report) Failed() bool { return len(r.Errors) > 0 }

func newReport(c *Config, p *plan, started time.Time, t *tally) *Report {
	r := &Report{
		Targets: c.Targets, Mode: c.mode(), Conns: c.Conns, Active: c.Active, Depth: c.Depth, Rate: c.Rate,
		Sizes: c.Sizes, Verify: c.Verify, Driver: t.Driver,
		Loops: p.shares[0].Loops, Processes: len(p.shares), Sources: max(1, len(p.sources)), Notes: p.notes,
		Started: started, Partial: t.Partial,
		Setup:   newSetup(t),
		Seconds: t.Seconds, Requests: t.Requests, Bytes: t.Bytes,
		RequestsPerSecond: per(float64(t.Requests), t.Seconds),
		BytesPerSecond:    per(float64(t.Bytes), t.Seconds),
		Latency:           t.Latency.Percentiles(),
		Late:              t.Late.Percentiles(),
		Lost:              t.Lost,
		Stray:             t.Stray,
		Mismatch:          t.Mismatch,
		CPUPerRequest:     per(float64(t.CPU.Nanoseconds())/1e3, float64(t.Requests)),
		CPUPercent:        per(100*t.CPU.Seconds(), t.Seconds),
		Histogram:         t.Latency,
		SetupHistogram:    t.Setup,
		Errors:            []Failure{},
	}
	if c.Server > 0 {
		r.Server = newServer(t)
	}
	if c.Channels > 0 {
		r.Chat = newChat(c, t)
	}
	if c.Rate > 0 {
		r.LateHistogram = t.Late
	}
	for cause, n := range t.Errors {
		r.Errors = append(r.Errors, Failure{cause, n})
	}
	slices.SortFunc(r.Errors, func(a, b Failure) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Cause, b.Cause))
	})
	return r
}

func newSetup(t *tally) Setup {
	s := Setup{Opened: t.Opened, Failed: t.Failed, Time: t.Setup.Percentiles()}
	if t.Opened > 0 {
		s.Seconds = time.Duration(t.Settled - t.Dialled).Seconds()
		s.PerSecond = per(float64(t.Opened), s.Seconds)
	}
	return s
}

// per is a/b, and 0 where there is nothing to divide by.
func per(a, b float64) float64 {
	if b <= 0 {
		return 0
	}
	return a / b
}
