package cli

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/epinet/epi"
	"github.com/epinet/epi/apps/chat/gate"
	world "github.com/epinet/epi/apps/world/server"
	"github.com/epinet/epi/internal/epitest"
)

// TestCollectorsMissNoCounter: each number of the statistics changes what a collector shows.
func TestCollectorsMissNoCounter(t *testing.T) {
	chat := gate.Stats{Commands: make([]gate.Command, 1)}
	var game world.Stats
	for _, c := range []struct {
		stats     any
		collector prometheus.Collector
	}{
		{&chat, chatCollector{func() gate.Stats { return chat }}},
		{&game, worldCollector{func() world.Stats { return game }}},
	} {
		nothing := collected(t, c.collector)
		epitest.EachNumber(c.stats, func(path string, set func(int64)) {
			if set(1e9); collected(t, c.collector) == nothing {
				t.Errorf("no metric shows %T%s", c.stats, path)
			}
			set(0)
		})
	}
}

// collected returns all that a collector shows.
func collected(t *testing.T, c prometheus.Collector) (text string) {
	t.Helper()
	to := make(chan prometheus.Metric, 1000)
	c.Collect(to)
	close(to)
	for m := range to {
		var value dto.Metric
		if err := m.Write(&value); err != nil {
			t.Fatal(err)
		}
		text += fmt.Sprintln(m.Desc(), value.String())
	}
	return text
}

func TestWaitPolicyRoundTrip(t *testing.T) {
	for text, want := range map[string]epi.WaitPolicy{
		"block":    epi.Block(),
		"spin":     epi.Spin(),
		"spin:50s": epi.SpinFor(50 * time.Second),
		"20ms":     epi.WaitEvery(20 * time.Millisecond),
	} {
		got, err := parseWait(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("%q is %v, %v", text, got, err)
		}
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[float64]string{
		0: "0 B", 999: "999 B", 1000: "1.0 KiB", 1 << 20: "1.0 MiB", 1.5 * (1 << 30): "1.5 GiB", 1 << 50: "1048576.0 GiB",
	} {
		if got := size(n); got != want {
			t.Errorf("size(%v) is %q, want %q", n, got, want)
		}
	}
}

func TestLiveLineFitsOnATerminal(t *testing.T) {
	e := statsEvent{Connections: 999_999, BytesInPerSecond: 999 << 20, BytesOutPerSecond: 999 << 20, EventsPerWait: 256, CPUPercent: 6400}
	if line := strings.TrimSuffix(e.text(), "\n"); len(line) > 79 {
		t.Errorf("%q has %d columns", line, len(line))
	}
}

// On a terminal a live line is replaced by what comes after it, log lines included.
func TestLiveLine(t *testing.T) {
	var screen strings.Builder
	r := &report{terminal: true, out: &screen}
	live := statsEvent{Connections: 1}
	line := strings.TrimSuffix(live.text(), "\n")
	const erase = "\r\x1b[K"

	r.printLive(live)
	r.printLive(live)
	fmt.Fprintln(r.logTo(&screen), "log")
	fmt.Fprintln(r.logTo(&screen), "log")
	r.printLive(live)
	r.print(drainingEvent{Connections: 2})
	want := line + erase + line + erase + "log\nlog\n" + line + erase + "draining 2 connections, interrupt again to abort\n"
	if screen.String() != want {
		t.Errorf("the screen gets %q, want %q", screen.String(), want)
	}
}
