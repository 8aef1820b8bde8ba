package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/epinet/epi/apps/world/bots"
)

const worldLoadHelp = `Let players play in a world that is served at TARGET: they walk, rest, talk,
and check every frame against the rules of docs/world-protocol.md. A frame that
breaks them is an error.

Lateness is that of frames after the beat of the ticks, as players see it; the
longest turn of the bots' own loop stands beside it, so that a slow bot is not taken
for a slow server.

Exit codes: 0 done, 1 something was wrong, 2 called wrongly.`

const worldLoadExample = `  epi world load ws://127.0.0.1:8068/world
  epi world load --players 2000 --duration 10m --server "$(pgrep -f 'epi world$')" ws://127.0.0.1:8068/world`

// Defaults of epi world load.
const (
	defaultBots       = 100
	defaultMoving     = 30
	defaultTalk       = time.Minute
	defaultBotsTime   = 10 * time.Second
	defaultBotsWarmup = 2 * time.Second
)

func worldLoadCommand() *cobra.Command {
	c := bots.Config{Players: defaultBots, Moving: defaultMoving, Talk: defaultTalk, Duration: defaultBotsTime, Warmup: defaultBotsWarmup}
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "load TARGET",
		Short:   "Let players play, and check what they see",
		Long:    worldLoadHelp,
		Example: worldLoadExample,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c.Target = args[0]
			if !strings.Contains(c.Target, "://") {
				return fmt.Errorf("%s: write a target such as ws://127.0.0.1:8068%s", c.Target, worldPath)
			}
			if err := raiseOpenFiles(); err != nil {
				return failure{err}
			}
			ctx, end := interruptible()
			defer end()
			r, err := bots.Run(ctx, c)
			if err != nil {
				return failure{err}
			}
			newReport(cmd.OutOrStdout(), asJSON).print(botsEvent{"bots", r})
			if r.Wrong > 0 || r.Lost > 0 {
				return failure{fmt.Errorf("%s and %s", plural(int64(r.Wrong), "wrong frame"), plural(int64(r.Lost), "lost session"))}
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.Var(countFrom1(&c.Players), "players", fmt.Sprintf("`number` of players (default %d)", defaultBots))
	flags.IntVar(&c.Moving, "moving", defaultMoving, "`per cent` of the players that walk at any time")
	flags.IntVar(&c.Fighting, "fighting", 0, "`per cent` of the players that strike what is near")
	flags.IntVar(&c.Looting, "looting", 0, "`per cent` of the players that pick up, put down and trade")
	flags.DurationVar(&c.Talk, "talk", defaultTalk, "`duration` between two lines of one player, on the average; 0: nobody talks")
	flags.Var(limit(&c.Duration), "duration", fmt.Sprintf("`duration` of measuring (default %v)", defaultBotsTime))
	flags.DurationVar(&c.Warmup, "warmup", defaultBotsWarmup, "`duration` of play before measuring")
	flags.Uint64Var(&c.Seed, "seed", 1, "`number` from which all that the players decide follows")
	flags.IntVar(&c.Server, "server", 0, "`process` id of the server: report its CPU time per frame, too")
	flags.BoolVar(&c.Insecure, "insecure", false, "accept every certificate of wss:// and tls:// servers")
	flags.BoolVar(&asJSON, "json", false, "print a JSON object")
	return cmd
}

// A botsEvent is what players saw.
type botsEvent struct {
	Event string `json:"event"`
	*bots.Result
}

func (e botsEvent) text() string {
	var b strings.Builder
	p := e.Late.Percentiles()
	fmt.Fprintf(&b, "%s for %.1f s at %d Hz, each seeing %.0f entities\n", plural(int64(e.Players), "player"), e.Seconds, e.Hz, e.Visible)
	fmt.Fprintf(&b, "frames       %d, %.1f kB/s a player\n", e.Frames, e.BytesPerPlayer/1000)
	fmt.Fprintf(&b, "lateness     p50 %.1f ms, p99 %.1f ms, p99.9 %.1f ms; the bots' longest turn %v\n", p.P50/1000, p.P99/1000, p.P999/1000, e.Own)
	if e.CPUPerFrame > 0 {
		fmt.Fprintf(&b, "server       %.2f us of CPU a frame, %.0f%% of a CPU\n", e.CPUPerFrame, e.CPUPercent)
	}
	fmt.Fprintf(&b, "corrections  %d\n", e.Corrected)
	if e.Picked+e.Dropped+e.Trades > 0 {
		fmt.Fprintf(&b, "things       %d picked up, %d put down, %d trades\n", e.Picked, e.Dropped, e.Trades/2)
	}
	fmt.Fprintf(&b, "wrong frames %d, lost sessions %d\n", e.Wrong, e.Lost)
	for _, fault := range e.Faults {
		fmt.Fprintf(&b, "  %s\n", fault)
	}
	return b.String()
}
