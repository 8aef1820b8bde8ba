package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/epinet/epi/apps/lab"
	"github.com/epinet/epi/apps/lab/bench"
)

const labPeersWorldHelp = `Run epi world beside Colyseus, with its schema and views, and beside the ws package
with JSON. The same players, who walk and rest, play on all of them; server and players
run on a CPU each, and the servers take turns. It needs Node.js 20, and "npm install"
in apps/lab/peers/world.

Exit codes: 0 done, 1 failed or interrupted, 2 called wrongly.`

// A worldPeersRun is the flags of epi lab peers world.
type worldPeersRun struct {
	players, rounds int
	duration        time.Duration
	sources, out    string
}

// Defaults of epi lab peers world.
const (
	worldPeersPlayers  = 200
	worldPeersRounds   = 3
	worldPeersDuration = 8 * time.Second
)

func labPeersWorldCommand() *cobra.Command {
	w := worldPeersRun{players: worldPeersPlayers, rounds: worldPeersRounds, duration: worldPeersDuration}
	cmd := &cobra.Command{
		Use:     "world",
		Short:   "Compare epi world with Colyseus, and with ws and JSON",
		Long:    labPeersWorldHelp,
		Example: "  epi lab peers world --players 400",
		Args:    unexpectedArgument,
		RunE:    func(cmd *cobra.Command, _ []string) error { return w.run(cmd.OutOrStdout(), cmd.ErrOrStderr()) },
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.Var(countFrom1(&w.players), "players", fmt.Sprintf("`number` of players (default %d)", worldPeersPlayers))
	flags.Var(countFrom1(&w.rounds), "rounds", fmt.Sprintf("`number` of rounds (default %d)", worldPeersRounds))
	flags.Var(limit(&w.duration), "duration", fmt.Sprintf("`duration` measured in each run (default %v)", worldPeersDuration))
	flags.StringVar(&w.sources, "sources", "", "`directory` of a clone of epi, or of its apps/lab/peers (default: looked for upwards)")
	flags.StringVar(&w.out, "out", "epi-lab-world", "`directory` for the results")
	return cmd
}

func (w *worldPeersRun) run(stdout, stderr io.Writer) (err error) {
	if w.sources, err = bench.FindSources(w.sources); err != nil {
		return failure{err}
	}
	if err := os.MkdirAll(w.out, 0o755); err != nil {
		return failure{fmt.Errorf("--out %s: %w; choose a directory that can be written", w.out, err)}
	}
	self, err := os.Executable()
	if err != nil {
		return failure{fmt.Errorf("find this program, to run it as another process: %w", err)}
	}
	ctx, end := interruptible()
	defer end()
	began := time.Now()
	cmd := exec.CommandContext(ctx, "node", "run.mjs", self, strconv.Itoa(w.players),
		strconv.FormatFloat(w.duration.Seconds(), 'f', -1, 64), strconv.Itoa(w.rounds))
	cmd.Dir = filepath.Join(w.sources, "world")
	cmd.Stderr = stderr
	lines, err := cmd.Output()
	if err != nil {
		return failure{fmt.Errorf("run.mjs: %w; it needs Node.js, and npm install in %s", err, cmd.Dir)}
	}
	runs, err := readWorldRuns(lines)
	if err != nil {
		return failure{fmt.Errorf("run.mjs: %w", err)}
	}
	result := &lab.Result{
		Command: fmt.Sprintf("epi lab peers world --players %d --rounds %d --duration %v", w.players, w.rounds, w.duration),
		Title:   "epi world beside others", Started: began, Seconds: time.Since(began).Seconds(),
		Machine: lab.ThisMachine(), Tables: []lab.Table{w.table(runs)},
	}
	return (&peersRun{out: w.out}).keep(stdout, result)
}

// A worldRun is what load.mjs prints.
type worldRun struct {
	Kind        string  `json:"kind"`
	Frames      float64 `json:"frames_per_second"`
	Visible     float64 `json:"visible"`
	CPUPerFrame float64 `json:"cpu_us_per_frame"`
	CPU         float64 `json:"cpu_percent"`
	Bytes       float64 `json:"bytes_per_second"`
	P50         float64 `json:"late_p50_ms"`
	P99         float64 `json:"late_p99_ms"`
	OwnLag      float64 `json:"own_lag_p99_ms"`
}

func readWorldRuns(lines []byte) (runs []worldRun, err error) {
	for in := json.NewDecoder(bytes.NewReader(lines)); ; {
		var r worldRun
		if err := in.Decode(&r); errors.Is(err, io.EOF) {
			return runs, nil
		} else if err != nil {
			return nil, fmt.Errorf("a line is no JSON: %w", err)
		}
		runs = append(runs, r)
	}
}

var worldFigures = []struct {
	column lab.Column
	of     func(worldRun) float64
}{
	{lab.Column{Name: "server CPU", Unit: "µs/frame", Ratio: true}, func(r worldRun) float64 { return r.CPUPerFrame }},
	{lab.Column{Name: "server CPU", Unit: "%"}, func(r worldRun) float64 { return r.CPU }},
	{lab.Column{Name: "frames", Unit: "/s a player", Higher: true}, func(r worldRun) float64 { return r.Frames }},
	{lab.Column{Name: "visible", Higher: true}, func(r worldRun) float64 { return r.Visible }},
	{lab.Column{Name: "payload", Unit: "B/s a player", Ratio: true}, func(r worldRun) float64 { return r.Bytes }},
	{lab.Column{Name: "late p50", Unit: "ms"}, func(r worldRun) float64 { return r.P50 }},
	{lab.Column{Name: "late p99", Unit: "ms"}, func(r worldRun) float64 { return r.P99 }},
	{lab.Column{Name: "players' lag p99", Unit: "ms"}, func(r worldRun) float64 { return r.OwnLag }},
}

// worldContestants are the kinds of load.mjs, as a reader knows them.
var worldContestants = []struct{ kind, name string }{{"epi", "epi world"}, {"colyseus", "Colyseus"}, {"json", "ws + JSON"}}

func (w *worldPeersRun) table(runs []worldRun) lab.Table {
	t := lab.Table{
		Name: "world", Title: "Players in towns", Reference: worldContestants[0].name,
		About: fmt.Sprintf("%d players, of whom 30%% walk, at 20 Hz; server and players on a CPU each; medians of %d interleaved rounds of %v.", w.players, w.rounds, w.duration),
	}
	for _, f := range worldFigures {
		t.Columns = append(t.Columns, f.column)
	}
	for _, c := range worldContestants {
		row := lab.Row{Name: c.name}
		for _, f := range worldFigures {
			var samples []float64
			for _, r := range runs {
				if r.Kind == c.kind {
					samples = append(samples, f.of(r))
				}
			}
			if len(samples) == 0 {
				row.Absent, row.Cells = "it was not measured", nil
				break
			}
			row.Cells = append(row.Cells, lab.NewPoint(0, samples))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}
