package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/epinet/epi"
	"github.com/epinet/epi/apps/world/config"
	"github.com/epinet/epi/apps/world/inputs"
	world "github.com/epinet/epi/apps/world/server"
	"github.com/epinet/epi/apps/world/sim"
	"github.com/epinet/epi/apps/world/store"
	"github.com/epinet/epi/apps/world/web"
	"github.com/epinet/epi/ws"
)

const worldHelp = `Serve a world: an online game in which players walk, talk and meet monsters,
which goes on while nobody is there. The link that is printed opens it in a
browser; programs of your own speak the protocol of docs/world-protocol.md, over
WebSocket at the path /world, or over tcp:// and tls:// addresses.

Without arguments it serves on http://127.0.0.1:8068. "epi world config" prints
the configuration with every key, its default and what it means; --set changes
single keys.

A world has one loop; run several on several CPUs. SIGINT or SIGTERM drains:
every client gets a last word, and what lasts (store.address) is saved. A second signal aborts.

Exit codes: 0 drained, 1 failed or aborted, 2 called wrongly.`

const worldExample = `  epi world
  epi world --set world.seed=7 --set world.monsters=2000
  epi world --listen wss://:443 --cert chain.pem --key key.pem --listen tls://:7443
  epi world config > world.toml && epi world --config world.toml
  epi world --log-inputs world.log; epi world replay world.log`

// worldPath is where the WebSocket is, beside the page.
const worldPath = "/world"

// A worldServer is the command's server: its configuration, and the world.
type worldServer struct {
	server
	from   configuration
	config *config.Config
	world  *world.Server
	before world.Stats // at the last live
	inputs string      // the file for what changes the world; empty: none
	logTo  *os.File
	log    *inputs.Log
	store  *store.SQL // nil: nothing lasts
}

func worldCommand() *cobra.Command {
	w := &worldServer{}
	cmd := &cobra.Command{
		Use:     "world",
		Short:   "Serve a world: an online game with its page",
		Long:    worldHelp,
		Example: worldExample,
		Args:    unexpectedArgument,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return w.run(cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	w.service = service{
		prepare:   w.prepare,
		stream:    func(place) func(*epi.Conn) epi.Handler { return w.world.Accept },
		webSocket: func(_ place, path string) *ws.Server { return w.world.WebSocket(worldPath, web.Page()) },
		guarded:   true,
		links:     worldLinks,
		goodbye:   func() { w.world.Drain() },
		live:      w.live,
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	w.from.addFlags(flags, "world.seed=5", "")
	flags.StringVar(&w.inputs, "log-inputs", "", "`file` for all that changes the world, which \"epi world replay\" checks; one that is there is renamed (default none)")
	w.addFlags(flags, "")
	cmd.AddCommand(configCommand(config.Default), worldLoadCommand(), worldReplayCommand(), worldAuditCommand(), worldBackupCommand())
	return cmd
}

func (w *worldServer) run(stdout, stderr io.Writer) (err error) {
	if w.config, err = config.Read(w.from.file, w.from.sets); err != nil {
		return failure{err}
	}
	if len(w.listen) == 0 {
		w.listen = w.config.Listen.Addresses
	}
	if err := w.openStore(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.keep()) }()
	if w.inputs == "" {
		return w.serve(stdout, stderr)
	}
	file, err := createInputs(w.inputs)
	if err != nil {
		return failure{fmt.Errorf("--log-inputs: %w", err)}
	}
	w.logTo = file
	err = w.serve(stdout, stderr)
	if w.log != nil {
		err = errors.Join(err, failed(w.log.Close()))
	}
	return errors.Join(err, failed(file.Close()))
}

// createInputs makes the file for a log of inputs. One that is there already, perhaps of a
// world that crashed, is kept beside it: the time when it was last written is added to its
// name.
func createInputs(name string) (*os.File, error) {
	if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() && info.Size() > 0 {
		kept := name + info.ModTime().UTC().Format("-20060102T150405.000")
		if err := os.Rename(name, kept); err != nil {
			return nil, fmt.Errorf("keep the log of the last run: %w", err)
		}
	}
	return os.Create(name)
}

// failed makes an error of the system a failure of the command.
func failed(err error) error {
	if err == nil {
		return nil
	}
	return failure{fmt.Errorf("--log-inputs: %w", err)}
}

// prepare sets the engine up and makes the world on its loop.
func (w *worldServer) prepare(s *server) (err error) {
	e, k := &s.engine, w.config
	if e.Loops > 1 || e.Workers > 0 {
		return errors.New("a world has one loop, which runs all callbacks: leave out --loops and --workers, and run a second world for a second CPU")
	}
	e.Loops = 1
	if err := w.checkPaths(); err != nil {
		return err
	}
	moderators, err := k.Moderators()
	if err != nil {
		return failure{err}
	}
	e.MaxQueued = k.Sessions.Queue + world.MaxFrame // the world ends a session before
	if runtime.GOOS == "linux" {
		s.options.Socket.UserTimeout = time.Duration(k.Sessions.Lost) // each tick sends something
	}
	c := world.Config{
		World: sim.Config{
			Seed: uint32(k.World.Seed), Width: k.World.Width, Height: k.World.Height, Hz: k.World.Hz,
			Monsters: k.World.Monsters, MaxPlayers: k.World.Players,
		},
		Litter: litter(time.Duration(k.World.Litter)),
		Grace:  time.Duration(k.Sessions.Grace), HelloTimeout: time.Duration(k.Sessions.Hello),
		FrameBudget: k.Sessions.Frame, Conflate: k.Sessions.Conflate, MaxQueue: k.Sessions.Queue,
		TalkRate: k.Talk.Rate, TalkBurst: k.Talk.Burst,
		Moderators: moderators, Banned: k.People.Banned,
		Origins: withOwnOrigin(k.Listen.Origins), Log: e.Logger,
		Failed: func(error) { s.stop() }, // keep returns the error
	}
	if w.store != nil {
		c.Store = w.store
	}
	if slices.ContainsFunc(w.listen, isOpen) {
		c.NewAccounts = k.People.Accounts
	}
	w.world, err = world.New(e, c)
	if errors.Is(err, store.ErrTaken) {
		err = fmt.Errorf("store.address: %w", err)
	}
	if err != nil {
		return failure{err}
	}
	if w.logTo != nil {
		if w.log, err = w.world.LogInputs(w.logTo); err != nil {
			return failure{err}
		}
	}
	s.collectors = []prometheus.Collector{worldCollector{w.world.Stats}}
	return nil
}

// litter is a duration of the configuration, where 0 is never, as the world wants it.
func litter(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

// live is what --stats prints. One goroutine calls it.
func (w *worldServer) live(from, to measurement) event {
	now := w.world.Stats()
	e := newWorldStats(w.before, now, from, to)
	w.before = now
	return e
}

// checkPaths refuses addresses with another path than the world's.
func (w *worldServer) checkPaths() error {
	for _, address := range w.listen {
		scheme, place, _ := strings.Cut(address, "://")
		_, path, given := strings.Cut(place, "/")
		if given && strings.HasPrefix(scheme, "ws") && path != "" && "/"+path != worldPath {
			return fmt.Errorf("--listen %s: a world's page is at / and its WebSocket at %s: leave out the path", address, worldPath)
		}
	}
	return nil
}

// worldLinks are those of the page, whose addresses may have the WebSocket's path.
func worldLinks(addresses []string) []string {
	links := pageLinks(addresses)
	for i := range links {
		links[i] = strings.TrimSuffix(links[i], worldPath)
	}
	return links
}

// pageLinks are what a person opens in a browser.
func pageLinks(addresses []string) (links []string) {
	for _, address := range addresses {
		if rest, ok := strings.CutPrefix(address, "ws"); ok && !strings.Contains(rest, "+") {
			links = append(links, "http"+rest)
		}
	}
	return links
}
