package metrics

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

func TestNamesFollowTheConventions(t *testing.T) {
	e := &epi.Engine{Logger: epitest.NoLog()}
	epitest.Start(t, e, epitest.EchoHandler)
	problems, err := testutil.CollectAndLint(New(e))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// TestNoCounterIsMissing: each number of a loop's statistics is shown by something. Closed is
// the sum of Causes.
func TestNoCounterIsMissing(t *testing.T) {
	var stats epi.LoopStats
	shown := func() (text string) {
		for _, f := range families {
			f.show(func(value float64, _ ...string) { text += fmt.Sprint(value, " ") }, &stats)
		}
		var lag dto.Metric
		if err := lagMetric(stats.Lag, "0").Write(&lag); err != nil {
			t.Fatal(err)
		}
		return text + lag.String()
	}
	nothing := shown()
	epitest.EachNumber(&stats, func(path string, set func(int64)) {
		if set(1e9); shown() == nothing && path != ".Closed" {
			t.Errorf("no metric shows LoopStats%s", path)
		}
		set(0)
	})
}

// A pedantic registry compares what is collected with what is described.
func gather(t *testing.T, e *epi.Engine) map[string]*dto.MetricFamily {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(New(e)); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]*dto.MetricFamily{}
	for _, f := range families {
		byName[f.GetName()] = f
	}
	return byName
}

// sum adds up the metrics of a family that have all of the labels, written as
// name=value.
func sum(f *dto.MetricFamily, labels ...string) float64 {
	total := 0.0
	for _, m := range f.GetMetric() {
		has := ""
		for _, l := range m.GetLabel() {
			has += fmt.Sprintf(" %s=%s ", l.GetName(), l.GetValue())
		}
		all := true
		for _, label := range labels {
			all = all && strings.Contains(has, " "+label+" ")
		}
		if all {
			total += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return total
}

func TestLiveEngine(t *testing.T) {
	const clients, size = 5, 100
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		s := epitest.Start(t, e, epitest.EchoHandler)
		text := string(epitest.Pattern(size))
		for range clients {
			epitest.RoundTrip(t, s.Dial(), text)
		}
		leaving := s.Dial()
		epitest.CloseWrite(t, leaving)
		epitest.ExpectEOF(t, leaving)
		epitest.WaitUntil(t, "it has left and all is counted", func() bool {
			st := e.Stats()
			return st.Conns == clients && st.BytesOut == clients*size
		})

		got := gather(t, e)
		for _, want := range []struct {
			name   string
			labels []string
			value  float64
		}{
			{"epi_connections", nil, clients},
			{"epi_connections_accepted_total", nil, clients + 1},
			{"epi_connections_closed_total", nil, 1},
			{"epi_connections_closed_total", []string{"cause=eof"}, 1},
			{"epi_received_bytes_total", nil, clients * size},
			{"epi_sent_bytes_total", nil, clients * size},
			{"epi_workers", nil, float64(m.Workers)},
			{"epi_engine_info", []string{"driver=" + e.Stats().Driver}, 1},
		} {
			if got := sum(got[want.name], want.labels...); got != want.value {
				t.Errorf("%s%v is %v, want %v", want.name, want.labels, got, want.value)
			}
		}
		if n := len(got["epi_connections"].GetMetric()); n != 2 {
			t.Errorf("epi_connections is there for %d loops, want 2", n)
		}
	})
}

// A loop that is blocked by a task shows in the histogram, and those that wait
// behind it in the depth of the queue.
func TestLagAndQueueDepth(t *testing.T) {
	const blocked = 20 * time.Millisecond
	e := &epi.Engine{Loops: 1, Logger: epitest.NoLog()}
	epitest.Start(t, e, epitest.EchoHandler)
	l, err := e.Loop(0)
	if err != nil {
		t.Fatal(err)
	}
	release := epitest.Hold(t, l)
	before := e.Stats().Lag.Sum // of turns that the machine has made long, perhaps
	for range 3 {
		if err := l.Do(func() {}); err != nil {
			t.Fatal(err)
		}
	}
	if n := sum(gather(t, e)["epi_tasks_waiting"]); n != 3 {
		t.Errorf("%v tasks wait, want 3", n)
	}
	time.Sleep(blocked) // what is measured, not what is waited for
	release()
	epitest.WaitUntil(t, "the turn has ended", func() bool { return e.Stats().Lag.Sum-before >= blocked })

	h := gather(t, e)["epi_loop_lag_seconds"].GetMetric()[0].GetHistogram()
	short := uint64(0)
	last := uint64(0)
	for _, b := range h.GetBucket() {
		if b.GetCumulativeCount() < last {
			t.Errorf("the buckets are not cumulative: %v", h.GetBucket())
		}
		last = b.GetCumulativeCount()
		if b.GetUpperBound() < blocked.Seconds() {
			short = last
		}
	}
	if h.GetSampleCount() <= short || h.GetSampleSum() < blocked.Seconds() {
		t.Errorf("%d turns of %d are short, in total %v s: the long one is missing", short, h.GetSampleCount(), h.GetSampleSum())
	}
}

// The engines of a program are told apart in one registry.
func TestHunt23_TwoEngines(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	names := []string{"front", "back"}
	for i, name := range names {
		e := &epi.Engine{Loops: 1, Logger: epitest.NoLog()}
		s := epitest.Start(t, e, epitest.EchoHandler)
		for range i {
			epitest.RoundTrip(t, s.Dial(), "x")
		}
		if err := registry.Register(NewNamed(e, name)); err != nil {
			t.Fatal(err)
		}
		if err := registry.Register(NewNamed(e, name)); err == nil {
			t.Error("two collectors have one name")
		}
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "epi_connections_accepted_total" {
			continue
		}
		for i, name := range names {
			if n := sum(f, "engine="+name); n != float64(i) {
				t.Errorf("the engine %s has accepted %v connections, want %d", name, n, i)
			}
		}
		return
	}
	t.Error("epi_connections_accepted_total is missing")
}
