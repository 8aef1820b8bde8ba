// Package metrics shows an engine's counters to Prometheus.
package metrics

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/epinet/epi"
)

// New returns a collector of what e.Stats reports, to be registered with a
// prometheus.Registerer. It keeps nothing itself and costs something only when
// it is asked, which opens the engine's loops if nothing has done so yet.
//
// What belongs to a loop has the label loop, counted from 0, and is to be
// summed where the loops do not matter. NewNamed is for programs with several
// engines.
func New(e *epi.Engine) prometheus.Collector { return collector{e} }

// NewNamed is New with one label more, engine, for programs with several engines:
// collectors with different names can be registered together.
func NewNamed(e *epi.Engine, name string) prometheus.Collector {
	return prometheus.WrapCollectorWith(prometheus.Labels{"engine": name}, New(e))
}

type collector struct{ engine *epi.Engine }

// A family is a metric of each loop, whose further labels are those after loop.
type family struct {
	desc *prometheus.Desc
	show func(show func(value float64, labels ...string), s *epi.LoopStats)
	kind prometheus.ValueType
}

func newDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("epi_"+name, help, labels, nil)
}

// counter and gauge are families of one number.
func counter(name, help string, of func(*epi.LoopStats) uint64) family {
	return single(name, help, prometheus.CounterValue, func(s *epi.LoopStats) float64 { return float64(of(s)) })
}

func gauge(name, help string, of func(*epi.LoopStats) float64) family {
	return single(name, help, prometheus.GaugeValue, of)
}

func single(name, help string, kind prometheus.ValueType, of func(*epi.LoopStats) float64) family {
	return family{
		desc: newDesc(name, help, "loop"),
		kind: kind,
		show: func(show func(float64, ...string), s *epi.LoopStats) { show(of(s)) },
	}
}

var families = []family{
	gauge("connections", "Connections now, from acceptance or Dial to the end of OnClose.",
		func(s *epi.LoopStats) float64 { return float64(s.Conns) }),
	gauge("held_bytes", "Bytes that connections hold now, queued or unread: see MaxMemory.",
		func(s *epi.LoopStats) float64 { return float64(s.Held) }),
	counter("connections_accepted_total", "Connections accepted.",
		func(s *epi.LoopStats) uint64 { return s.Accepted }),
	{
		desc: newDesc("connections_closed_total", "Connections closed, by cause.", "loop", "cause"),
		kind: prometheus.CounterValue,
		show: func(show func(float64, ...string), s *epi.LoopStats) {
			for cause, n := range s.Causes {
				show(float64(n), epi.Cause(cause).String())
			}
		},
	},
	counter("connections_shed_total", "Connections accepted and closed at once: MaxConns, no descriptors, or no address.",
		func(s *epi.LoopStats) uint64 { return s.Shed }),
	counter("connections_shed_unknown_total", "Those of connections_shed_total whose address the system did not give.",
		func(s *epi.LoopStats) uint64 { return s.ShedUnknown }),
	counter("connections_shed_per_ip_total", "Connections accepted and closed at once, or refused: MaxConnsPerIP.",
		func(s *epi.LoopStats) uint64 { return s.ShedPerIP }),
	counter("accept_pauses_total", "Pauses of accepting, because the system refused it.",
		func(s *epi.LoopStats) uint64 { return s.AcceptErrors }),

	counter("received_bytes_total", "Bytes received.",
		func(s *epi.LoopStats) uint64 { return s.BytesIn }),
	counter("sent_bytes_total", "Bytes that the kernel took.",
		func(s *epi.LoopStats) uint64 { return s.BytesOut }),
	counter("writes_refused_total", "Writes refused, because the queue was full.",
		func(s *epi.LoopStats) uint64 { return s.QueueFull }),
	counter("write_stalls_total", "Connections reset, because the peer had stopped reading.",
		func(s *epi.LoopStats) uint64 { return s.Stalls }),

	counter("handshakes_total", "TLS handshakes that succeeded.",
		func(s *epi.LoopStats) uint64 { return s.Handshakes }),
	counter("handshakes_cut_total", "TLS handshakes ended for their silence while others waited.",
		func(s *epi.LoopStats) uint64 { return s.HandshakesCut }),
	counter("connections_refused_total", "Connections closed for their TLS handshake or their PROXY header.",
		func(s *epi.LoopStats) uint64 { return s.Refused }),
	counter("connections_detached_total", "Connections given away, to net/http for instance.",
		func(s *epi.LoopStats) uint64 { return s.Detached }),

	counter("datagrams_received_total", "Datagrams received.",
		func(s *epi.LoopStats) uint64 { return s.PacketsIn }),
	counter("datagrams_sent_total", "Datagrams that the kernel took.",
		func(s *epi.LoopStats) uint64 { return s.PacketsOut }),
	counter("datagrams_dropped_total", "Datagrams lost here: too long, refused by a full queue, or impossible to send.",
		func(s *epi.LoopStats) uint64 { return s.PacketsDropped }),
	counter("datagram_errors_total", "Errors of packet sockets that ended nothing.",
		func(s *epi.LoopStats) uint64 { return s.PacketErrors }),
	counter("datagrams_crowded_total", "Times that a datagram was held back because peers that do not read fill the send buffer (Unix).",
		func(s *epi.LoopStats) uint64 { return s.PacketsCrowded }),

	counter("loop_turns_total", "Iterations of the loop.",
		func(s *epi.LoopStats) uint64 { return s.Turns }),
	counter("loop_sleeps_total", "Times that the loop slept.",
		func(s *epi.LoopStats) uint64 { return s.Sleeps }),
	counter("loop_wakes_total", "Times that another goroutine had to wake the loop.",
		func(s *epi.LoopStats) uint64 { return s.Wakes }),
	counter("loop_waits_total", "System calls that waited or looked for events.",
		func(s *epi.LoopStats) uint64 { return s.Waits }),
	counter("loop_events_total", "Events that they brought.",
		func(s *epi.LoopStats) uint64 { return s.Events }),
	counter("loop_stale_events_total", "Events dropped, because their connection was gone.",
		func(s *epi.LoopStats) uint64 { return s.Stale }),
	{
		desc: newDesc("loop_io_calls_total", "System calls and operations by which the loop did its work, by kind: read, write, control (what the poller watches) and submit (to io_uring).", "loop", "kind"),
		kind: prometheus.CounterValue,
		show: func(show func(float64, ...string), s *epi.LoopStats) {
			show(float64(s.Reads), "read")
			show(float64(s.Writes), "write")
			show(float64(s.Controls), "control")
			show(float64(s.Submits), "submit")
		},
	},
	counter("loop_starved_receives_total", "Receives that found the buffer pool empty and were begun again.",
		func(s *epi.LoopStats) uint64 { return s.Starved }),

	counter("tasks_total", "Tasks run.",
		func(s *epi.LoopStats) uint64 { return s.Tasks }),
	counter("tasks_refused_total", "Tasks refused, because too many were waiting.",
		func(s *epi.LoopStats) uint64 { return s.TasksRefused }),
	gauge("timers_waiting", "Timers that wait now, of connections or not.",
		func(s *epi.LoopStats) float64 { return float64(s.TimersWaiting) }),
	gauge("tasks_waiting", "Tasks that wait for the loop now.",
		func(s *epi.LoopStats) float64 { return float64(s.TasksWaiting) }),
	counter("timers_total", "Timers run.",
		func(s *epi.LoopStats) uint64 { return s.Timers }),
	counter("panics_total", "Panics in callbacks.",
		func(s *epi.LoopStats) uint64 { return s.Panics }),
}

var (
	lag = newDesc("loop_lag_seconds",
		"How long the loop's turns took, which is what new events, tasks and timers may have to wait.", "loop")
	info = newDesc("engine_info",
		"Always 1: the driver, and why it was chosen.", "driver", "reason")
	workers = newDesc("workers",
		"Goroutines that run handlers; 0: the loops do.")
	waiting = newDesc("connections_waiting",
		"Connections that wait for a worker now.")
)

func (c collector) Describe(to chan<- *prometheus.Desc) {
	for _, f := range families {
		to <- f.desc
	}
	for _, desc := range []*prometheus.Desc{lag, info, workers, waiting} {
		to <- desc
	}
}

func (c collector) Collect(to chan<- prometheus.Metric) {
	stats := c.engine.Stats()
	show := func(desc *prometheus.Desc, kind prometheus.ValueType, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(desc, kind, value, labels...)
	}
	for i, s := range stats.Loops {
		loop := strconv.Itoa(i)
		for _, f := range families {
			f.show(func(value float64, labels ...string) {
				show(f.desc, f.kind, value, append([]string{loop}, labels...)...)
			}, &s)
		}
		to <- lagMetric(s.Lag, loop)
	}
	show(info, prometheus.GaugeValue, 1, stats.Driver, stats.Reason)
	show(workers, prometheus.GaugeValue, float64(stats.Workers))
	show(waiting, prometheus.GaugeValue, float64(stats.Waiting))
}

// lagMetric makes the buckets cumulative, as Prometheus has them.
func lagMetric(g epi.Lag, loop string) prometheus.Metric {
	buckets := make(map[float64]uint64, len(epi.LagBounds))
	total := uint64(0)
	for i, bound := range epi.LagBounds {
		total += g.Turns[i]
		buckets[bound.Seconds()] = total
	}
	total += g.Turns[len(epi.LagBounds)]
	return prometheus.MustNewConstHistogram(lag, total, g.Sum.Seconds(), buckets, loop)
}
