package report

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/epinet/epi/apps/lab"
)

// sample is a result with everything that a result can have, in the size of a
// real one. Its figures are invented.
func sample(seed uint64, faster float64) *lab.Result {
	random := rand.New(rand.NewPCG(seed, 1))
	point := func(x, y float64) lab.Point {
		var samples []float64
		for range 5 {
			samples = append(samples, y*faster*(0.93+0.14*random.Float64()))
		}
		return lab.NewPoint(x, samples)
	}
	series := func(name string, xs []float64, y func(x float64) float64) lab.Series {
		s := lab.Series{Name: name}
		for _, x := range xs {
			s.Points = append(s.Points, point(x, y(x)))
		}
		return s
	}
	row := func(name string, values ...float64) lab.Row {
		r := lab.Row{Name: name}
		for _, v := range values {
			r.Cells = append(r.Cells, point(0, v))
		}
		return r
	}

	idle := []float64{0, 10, 100, 1000, 10000, 18000}
	iterations := []float64{100, 500, 1000}
	var every []float64 // one sample at each, as in the deck
	for x := range 2000 {
		every = append(every, float64(x))
	}
	single := func(name string, y func(x float64) float64) lab.Series {
		s := lab.Series{Name: name}
		for _, x := range every {
			v := y(x) * faster * (0.8 + 0.4*random.Float64())
			if random.IntN(600) == 0 {
				v *= 40 // somebody else had the CPU
			}
			s.Points = append(s.Points, lab.NewPoint(x, []float64{v}))
		}
		return s
	}
	line := func(a, b float64) func(float64) float64 { return func(x float64) float64 { return a + b*x } }

	peers := lab.Table{
		Name: "table-64x100", Title: "64 B × 100 connections", About: "Closed loop, one message in flight for each connection. Server on CPU 0, client on CPU 1; five interleaved rounds.",
		Reference: "C, epoll level",
		Columns: []lab.Column{
			{Name: "server CPU per request", Unit: "µs", Ratio: true},
			{Name: "requests", Unit: "1/s", Ratio: true, Higher: true},
			{Name: "p50", Unit: "s", Ratio: true},
			{Name: "p99.9", Unit: "s", Ratio: true},
			{Name: "resident memory per idle connection", Unit: "B", Ratio: true},
			{Name: "context switches per request"},
			{Name: "system calls per request"},
		},
		Rows: []lab.Row{
			row("C, epoll level", 5.4, 168000, 580e-6, 1.2e-3, 96, 0.021, 2.01),
			row("epi, epoll edge, callbacks on the loop", 5.31, 171000, 560e-6, 1.1e-3, 318, 0.018, 2.02),
			row("epi, io_uring, callbacks on workers", 6.9, 139000, 711e-6, 3.4e-3, 377, 0.52, 0.97),
			row("Go net", 6.42, 148000, 640e-6, 2.9e-3, 7912, 0.11, 2.4),
			{Name: "libuv", Absent: "libuv is not installed: apt-get install libuv1-dev"},
			row("cloudwego/netpoll", 6.3, 151000, 655e-6, 2.2e-3, 20309, 0.14, 2.3),
		},
		Notes: []string{"System calls were counted in a run of their own, as counting them takes time."},
	}
	peers.Rows[5].Cells[6] = lab.Point{Absent: "strace is not installed: apt-get install strace"}

	return &lab.Result{
		Command: "epi lab study --quick",
		Title:   "select, poll and epoll",
		Started: time.Date(2025, 3, 4, 15, 6, 7, 0, time.UTC),
		Seconds: 97.3,
		Partial: "interrupted in experiment threads; run it again without interrupting it",
		Machine: lab.Machine{Kernel: "6.18.2", CPU: "AMD EPYC 7763 64-Core Processor", CPUs: 2, Memory: 8 << 30, Go: "go1.26.0", OpenFiles: 20000, Ports: 28232},
		Notes:   []string{"select stops at 1,015 connections: its sets hold descriptors below 1,024 only.", "CPU frequency is not fixed on this machine."},
		Experiments: []lab.Experiment{
			{
				Name: "conn", Title: "Accepting, while many connections are open",
				About:    "One client connects 2,000 times and stays. The server waits with the poller and accepts; the time is from the client's connect until the server has accepted.",
				Finding:  "poll rises gently with the connections that are already open; epoll stays flat near 0.",
				Observed: "from 0 to 2,000 connections the time rises from 4 µs to 34 µs with poll and stays at 5 µs with epoll (1.0×).",
				X:        lab.Axis{Label: "connections already open"}, Y: lab.Axis{Label: "time from connect to accepted", Unit: "s"},
				Series: []lab.Series{
					single("poll", line(4e-6, 15e-9)),
					single("epoll level", line(5e-6, 0)),
					single("epoll edge", line(4.8e-6, 0)),
				},
			},
			{
				Name: "performance-10000x1024", Title: "Sending and receiving, with the record looked up",
				About:    "Each of 10,000 connections sends and gets back 1 KiB in every iteration. For each ready event the server finds the connection's record by a linear scan, in a map, or by its slot.",
				Finding:  "epoll loses against poll, because the record is found by a linear scan.",
				Observed: "with the linear scan epoll takes 2.1× as long as poll as meant; with the slot it takes 0.52×.",
				X:        lab.Axis{Label: "iterations"}, Y: lab.Axis{Label: "time for all iterations", Unit: "s", Log: true},
				Series: []lab.Series{
					series("poll as printed, index", iterations, line(0, 0.021)),
					series("poll as meant, index", iterations, line(0, 0.016)),
					series("epoll level, linear scan", iterations, line(0, 0.034)),
					series("epoll edge, linear scan", iterations, line(0, 0.033)),
					series("epoll level, map", iterations, line(0, 0.0097)),
					series("epoll edge, map", iterations, line(0, 0.0095)),
					series("epoll level, slot", iterations, line(0, 0.0083)),
					series("epoll edge, slot", iterations, line(0, 0.0081)),
					series("epoll one-shot, slot, re-armed with epoll_ctl after every single event that was handled", iterations, line(0, 0.0104)),
				},
			},
			{
				Name: "idle", Title: "One active connection among idle ones",
				About:    "One connection sends 64 B and waits for it; the others say nothing.",
				Finding:  "poll's cost grows with idle connections and epoll's does not.",
				Observed: "18,000 idle connections cost poll 312× and epoll level 1.02×.",
				X:        lab.Axis{Label: "idle connections", Log: true}, Y: lab.Axis{Label: "time per event", Unit: "s", Log: true},
				Series: []lab.Series{
					series("select", idle[:4], line(1.7e-6, 9e-9)),
					series("poll", idle, line(1.6e-6, 28e-9)),
					series("epoll level", idle, line(1.9e-6, 0)),
					series("epoll edge", idle, line(1.8e-6, 0)),
					{Name: "io_uring"},
					{Name: "epoll one-shot", Points: []lab.Point{point(18000, 2.9e-6)}},
				},
				Notes: []string{"select was measured up to 1,000 connections, which is what its sets hold."},
			},
			{
				Name: "bytes", Title: "Throughput by message size", About: "One connection echoes messages of one size for a second.",
				Observed: "above 64 KiB more bytes per message bring nothing.",
				X:        lab.Axis{Label: "message size", Unit: "B", Log: true}, Y: lab.Axis{Label: "throughput", Unit: "B/s"},
				Series: []lab.Series{series("epoll level", []float64{64, 1024, 16384, 65536, 1 << 20}, func(x float64) float64 { return 3.1e9 * x / (x + 30000) })},
			},
			{
				Name: "threads", Title: "Boss and workers", About: "As many workers as given take ready connections from a queue.",
				Finding: "a few more workers than cores is best.", Observed: "",
				X: lab.Axis{Label: "workers"}, Y: lab.Axis{Label: "requests", Unit: "1/s"},
				Series: []lab.Series{{Name: "handler of 10 µs"}, {Name: "handler of 1 ms"}},
			},
			{
				Name: "alone", Title: "One point alone", X: lab.Axis{Label: "connections"}, Y: lab.Axis{Label: "time", Unit: "s"},
				Observed: "one run was made.",
				Series:   []lab.Series{{Name: "poll", Points: []lab.Point{point(10000, 0.123)}}},
			},
		},
		Tables: []lab.Table{peers},
		Claims: []lab.Claim{
			{Text: "select < poll < epoll", By: "idle, performance, table", Figures: "at 1,000 idle connections select takes 10.7 µs, poll 29.6 µs, epoll 1.9 µs", Threshold: "each at least 1.1× the next, at the most connections that all three have", Verdict: lab.Depends, Reason: "on the number of connections: select is faster than poll up to its limit"},
			{Text: "poll's cost grows with idle connections and epoll's does not", By: "idle", Figures: "poll 312×, epoll level 1.02×, from 0 to 18,000 idle connections", Threshold: "poll at least 2×, epoll at most 1.1×", Verdict: lab.Confirmed, Reason: "poll scans every descriptor in every call"},
			{Text: "edge wakes one of several waiting threads", By: "threads", Figures: "3.9 of 4 waiters woke", Threshold: "at most 1.1", Verdict: lab.Refuted, Reason: "all waiters of one descriptor were woken"},
		},
	}
}

// broken is a result in which measuring went wrong.
func broken() *lab.Result {
	nan, inf := math.NaN(), math.Inf(1)
	return &lab.Result{
		Command: "epi lab peers", Title: `<script>alert("1")</script> & "quotes"`,
		Notes: []string{`</style><img src=x onerror=alert(1)>`},
		Experiments: []lab.Experiment{{
			Name: "../../x", Title: "<b>bold</b>", X: lab.Axis{Label: `<i>&"x"`}, Y: lab.Axis{Label: "y", Unit: "s", Log: true},
			Series: []lab.Series{
				{Name: `a" onload="x`, Points: []lab.Point{
					{X: 1, Median: nan, Min: 1, Max: 2}, {X: 2, Median: 1, Min: 1, Max: inf}, {X: nan, Median: 1, Min: 1, Max: 1},
					{X: 3, Median: 0, Min: 0, Max: 0, Samples: []float64{0, nan}}, {X: 4, Median: -1, Min: -2, Max: 1},
					{X: 5, Absent: "the server died; run it again"},
				}},
				{Name: "<text>", Points: []lab.Point{{X: 1, Median: 5, Min: 5, Max: 5}}},
			},
		}, {Name: "../../x", Title: "the same name"}},
		Tables: []lab.Table{{
			Name: "t", Title: "t", Reference: "gone",
			Columns: []lab.Column{{Name: "c", Unit: "s", Ratio: true}, {Name: "d"}},
			Rows:    []lab.Row{{Name: "short", Cells: []lab.Point{{Median: nan}}}, {Name: "none"}, {Name: "full", Cells: []lab.Point{{}, {Median: 1, Min: 1, Max: 1}}}},
		}, {Name: "empty", Title: "empty"}},
		Claims: []lab.Claim{{Text: "<u>", Verdict: "unheard of"}},
	}
}
