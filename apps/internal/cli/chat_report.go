package cli

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/epinet/epi/apps/chat/gate"
)

// A reloadEvent says what has become of reading the configuration again.
type reloadEvent struct {
	Event string `json:"event"`
	Error string `json:"error,omitempty"`
}

func newReload(err error) reloadEvent {
	e := reloadEvent{Event: "reload"}
	if err != nil {
		e.Error = oneLine(err)
	}
	return e
}

func (e reloadEvent) text() string {
	if e.Error != "" {
		return "the configuration stays as it was: " + e.Error + "\n"
	}
	return "the configuration was read again\n"
}

// A chatStatsEvent is what --stats prints of a chat.
type chatStatsEvent struct {
	statsEvent
	Users      int64   `json:"users"`
	Channels   int64   `json:"channels"`
	Lines      uint64  `json:"lines"`      // received since the start
	Deliveries uint64  `json:"deliveries"` // since the start
	Sheds      uint64  `json:"sheds"`      // clients that did not read, since the start
	PerSecond  float64 `json:"deliveries_per_second"`
}

func newChatStats(now gate.Stats, before uint64, from, to measurement) chatStatsEvent {
	return chatStatsEvent{
		statsEvent: newStats(from, to),
		Users:      now.Users,
		Channels:   now.Channels,
		Lines:      now.Lines,
		Deliveries: now.Deliveries,
		Sheds:      now.Sheds,
		PerSecond:  float64(now.Deliveries-before) / to.when.Sub(from.when).Seconds(),
	}
}

func (e chatStatsEvent) text() string {
	return fmt.Sprintf("%s, %s, %s, %.0f deliveries/s, cpu %.0f%%\n",
		plural(e.Connections, "connection"), plural(e.Users, "user"), plural(e.Channels, "channel"), e.PerSecond, e.CPUPercent)
}

// A chatCollector shows a chat's counters to Prometheus.
type chatCollector struct{ stats func() gate.Stats }

var (
	chatSessions = prometheus.NewDesc("epi_chat_sessions", "Connections of clients.", nil, nil)
	chatUsers    = prometheus.NewDesc("epi_chat_users", "Users that others can see.", nil, nil)
	chatChannels = prometheus.NewDesc("epi_chat_channels", "Channels.", nil, nil)
	chatLines    = prometheus.NewDesc("epi_chat_lines_total", "Lines received.", nil, nil)
	chatDeliver  = prometheus.NewDesc("epi_chat_deliveries_total", "Lines given to receivers of messages and events.", nil, nil)
	chatSheds    = prometheus.NewDesc("epi_chat_sheds_total", "Sessions ended because they did not read what they were sent.", nil, nil)
	chatPanics   = prometheus.NewDesc("epi_chat_panics_total", "Panics in the state machine.", nil, nil)
	chatFaults   = prometheus.NewDesc("epi_chat_faults_total", "Lines that could not be written, and other faults of the state machine; the log has each.", nil, nil)
	chatCommands = prometheus.NewDesc("epi_chat_commands_total", "Commands of clients by what became of them: done, or refused with an error.", []string{"command", "result"}, nil)
	chatRefused  = prometheus.NewDesc("epi_chat_work_refused_total", "Password checks and the like that were refused because too many waited.", nil, nil)
	chatUnkept   = prometheus.NewDesc("epi_chat_unkept_total", "Messages that could not be kept, and were shown to nobody; their senders know.", nil, nil)
	chatLag      = prometheus.NewDesc("epi_chat_hall_seconds", "How long the state machine was busy with the lines of one turn.", nil, nil)
)

// Describe is a method of prometheus.Collector.
func (c chatCollector) Describe(to chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, to) }

// Collect is a method of prometheus.Collector.
func (c chatCollector) Collect(to chan<- prometheus.Metric) {
	s := c.stats()
	gauge := func(d *prometheus.Desc, n int64) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n))
	}
	counter := func(d *prometheus.Desc, n uint64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	gauge(chatSessions, s.Sessions)
	gauge(chatUsers, s.Users)
	gauge(chatChannels, s.Channels)
	counter(chatLines, s.Lines)
	counter(chatDeliver, s.Deliveries)
	counter(chatSheds, s.Sheds)
	counter(chatPanics, s.Panics)
	counter(chatFaults, s.Faults)
	for _, command := range s.Commands {
		counter(chatCommands, command.Done, command.Name, "done")
		counter(chatCommands, command.Refused, command.Name, "refused")
	}
	counter(chatRefused, s.WorkRefused)
	counter(chatUnkept, s.Unkept)
	buckets, total := map[float64]uint64{}, uint64(0)
	for i, n := range s.Lag.Turns {
		total += n
		if i < len(gate.LagBounds) {
			buckets[gate.LagBounds[i].Seconds()] = total
		}
	}
	to <- prometheus.MustNewConstHistogram(chatLag, total, s.Lag.Sum.Seconds(), buckets)
}
