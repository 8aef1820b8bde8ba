package cli

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	world "github.com/epinet/epi/apps/world/server"
)

// A worldStatsEvent is what --stats prints of a world.
type worldStatsEvent struct {
	statsEvent
	Players        int64   `json:"players"`
	Entities       int64   `json:"entities"`
	Ticks          uint64  `json:"ticks"`         // since the start
	TicksDropped   uint64  `json:"ticks_dropped"` // since the start
	WorkMS         float64 `json:"work_ms"`       // of a tick, on the average since the last line
	LateMS         float64 `json:"late_ms"`       // likewise
	BytesPerPlayer float64 `json:"bytes_per_player_per_second"`
	Conflated      uint64  `json:"conflated"` // since the start
	Corrected      uint64  `json:"corrected"` // since the start
}

func newWorldStats(before, now world.Stats, from, to measurement) worldStatsEvent {
	e := worldStatsEvent{
		statsEvent: newStats(from, to),
		Players:    now.Players, Entities: now.Entities, Ticks: now.Ticks, TicksDropped: now.Dropped,
		Conflated: now.Conflated, Corrected: now.Corrected,
	}
	if ticks := float64(now.Ticks - before.Ticks); ticks > 0 {
		milliseconds := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) / ticks }
		e.WorkMS, e.LateMS = milliseconds(now.Work.Sum-before.Work.Sum), milliseconds(now.Lateness.Sum-before.Lateness.Sum)
	}
	if now.Players > 0 {
		e.BytesPerPlayer = float64(now.Bytes-before.Bytes) / float64(now.Players) / to.when.Sub(from.when).Seconds()
	}
	return e
}

func (e worldStatsEvent) text() string {
	return fmt.Sprintf("%s, %d entities, tick %d: work %.1f ms, late %.1f ms, %.0f B/s a player, cpu %.0f%%\n",
		plural(e.Players, "player"), e.Entities, e.Ticks, e.WorkMS, e.LateMS, e.BytesPerPlayer, e.CPUPercent)
}

// A worldCollector shows a world's counters to Prometheus.
type worldCollector struct{ stats func() world.Stats }

func worldDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("epi_world_"+name, help, labels, nil)
}

var (
	worldSessions  = worldDesc("sessions", "Connections of clients.")
	worldPlayers   = worldDesc("players", "Players in the world, with a connection or without.")
	worldEntities  = worldDesc("entities", "Entities in the world.")
	worldThings    = worldDesc("things", "Chests, and items that lie on the ground.")
	worldJoins     = worldDesc("joins_total", "Players that came in.")
	worldWhispers  = worldDesc("whispers_total", "Lines that players said to one another alone.")
	worldTrades    = worldDesc("trades_total", "Trades between players that have come to pass.")
	worldTicks     = worldDesc("ticks_total", "Ticks.")
	worldDropped   = worldDesc("ticks_dropped_total", "Ticks that were too late to be made up for.")
	worldDilated   = worldDesc("dilation_seconds_total", "How far game time is behind, because ticks cost too much.")
	worldCoarse    = worldDesc("coarse", "By how much the outer rings of views are shown more seldom: 0 is usual, 2 the most.")
	worldPhases    = worldDesc("phase_seconds_total", "Time spent in the phases of ticks.", "phase")
	worldBytes     = worldDesc("frame_bytes_total", "Bytes of frames.")
	worldConflated = worldDesc("conflated_total", "Frames without state, for clients that read slowly.")
	worldMoves     = worldDesc("moves_total", "Moves by what became of them.", "result")
	worldTalk      = worldDesc("talk_total", "Lines that players wanted to say, by what became of them.", "result")
	worldBlows     = worldDesc("blows_total", "Blows of players, by whether they hit.", "result")
	worldOrders    = worldDesc("orders_total", "Orders of moderators.")
	worldEnds      = worldDesc("sessions_ended_total", "Sessions that the world ended, by the reason.", "reason")
	worldWork      = worldDesc("tick_work_seconds", "Work of ticks.")
	worldWaiting   = worldDesc("store_waiting", "What waits to be written to the store.", "kind")
	worldCommits   = worldDesc("store_commits_total", "Commits of the store.", "result")
	worldCommit    = worldDesc("store_commit_seconds_total", "Time spent in commits of the store.")
	worldLongest   = worldDesc("store_longest_commit_seconds", "The longest commit of the store since the start.")
	worldWritten   = worldDesc("store_written_total", "Writes that last.")
	worldBusy      = worldDesc("store_busy_total", "Writes refused because too many waited.")
	worldLateness  = worldDesc("tick_lateness_seconds", "How late ticks began.")
)

// Describe is a method of prometheus.Collector.
func (c worldCollector) Describe(to chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, to) }

// Collect is a method of prometheus.Collector.
func (c worldCollector) Collect(to chan<- prometheus.Metric) {
	s := c.stats()
	gauge := func(d *prometheus.Desc, n int64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), labels...)
	}
	counter := func(d *prometheus.Desc, n float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, n, labels...)
	}
	histogram := func(d *prometheus.Desc, h world.Histogram) {
		buckets, total := map[float64]uint64{}, uint64(0)
		for i, n := range h.Counts {
			total += n
			if i < len(world.Bounds) {
				buckets[world.Bounds[i].Seconds()] = total
			}
		}
		to <- prometheus.MustNewConstHistogram(d, total, h.Sum.Seconds(), buckets)
	}
	gauge(worldSessions, s.Sessions)
	gauge(worldPlayers, s.Players)
	gauge(worldEntities, s.Entities)
	gauge(worldThings, s.Things)
	counter(worldJoins, float64(s.Joins))
	counter(worldWhispers, float64(s.Whispers))
	counter(worldTrades, float64(s.Trades))
	gauge(worldCoarse, s.Coarse)
	counter(worldTicks, float64(s.Ticks))
	counter(worldDropped, float64(s.Dropped))
	counter(worldDilated, s.Dilated.Seconds())
	counter(worldPhases, s.Simulated.Seconds(), "simulate")
	counter(worldPhases, s.Shown.Seconds(), "show")
	counter(worldBytes, float64(s.Bytes))
	counter(worldConflated, float64(s.Conflated))
	counter(worldMoves, float64(s.Moves), "taken")
	counter(worldMoves, float64(s.Old), "ignored")
	counter(worldMoves, float64(s.Corrected), "corrected")
	counter(worldTalk, float64(s.Said), "said")
	counter(worldTalk, float64(s.Unsaid), "refused")
	counter(worldBlows, float64(s.Struck), "struck")
	counter(worldBlows, float64(s.Missed), "missed")
	counter(worldOrders, float64(s.Orders))
	counter(worldEnds, float64(s.Bad), "bad message")
	counter(worldEnds, float64(s.Slow), "slow")
	counter(worldEnds, float64(s.Refused-s.Bad), "other")
	gauge(worldWaiting, int64(s.Store.Waiting), "write")
	gauge(worldWaiting, int64(s.Store.Saves), "snapshot")
	counter(worldCommits, float64(s.Store.Commits), "done")
	counter(worldCommits, float64(s.Store.Failed), "failed")
	counter(worldCommit, s.Store.Committed.Seconds())
	to <- prometheus.MustNewConstMetric(worldLongest, prometheus.GaugeValue, s.Store.Longest.Seconds())
	counter(worldWritten, float64(s.Store.Written))
	counter(worldBusy, float64(s.Store.Busy))
	histogram(worldWork, s.Work)
	histogram(worldLateness, s.Lateness)
}
