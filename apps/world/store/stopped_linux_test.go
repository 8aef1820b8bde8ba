package store_test

import (
	"context"
	"flag"
	"syscall"
	"testing"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/apps/world/bots"
	"github.com/epinet/epi/apps/world/server"
	"github.com/epinet/epi/apps/world/sim"
	"github.com/epinet/epi/apps/world/store"
	"github.com/epinet/epi/apps/world/store/storetest"
	"github.com/epinet/epi/internal/epitest"
)

var stopFor = flag.Duration("stop", 300*time.Millisecond, "how long PostgreSQL is stopped under a world that is played")

// While PostgreSQL is stopped, all of it, a world goes on: its ticks come, nobody loses the
// connection, and what players want of things waits, and comes to pass afterwards.
func stoppedUnderAWorld(t *testing.T, p *postgres) {
	s := open(t, p.create(t))
	defer closeStore(t, s)
	town := sim.NewMap(1, 8, 8).Towns()[0]
	for n := range int64(60) {
		at := store.On(uint16(town.X+int32(n%9-4)*sim.Tile), uint16(town.Y+int32(n/9-3)*sim.Tile))
		storetest.Apply(t, s, store.Make{Item: store.Item{ID: n + 1, Kind: 1, Owner: at}})
	}
	e := &epi.Engine{Loops: 1, Logger: epitest.NoLog()}
	w, err := server.New(e, server.Config{
		World: sim.Config{Seed: 1, Width: 8, Height: 8, Hz: 20, MaxPlayers: 100}, Store: s, Log: epitest.NoLog(),
	})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := e.Listen("tcp://127.0.0.1:0", w.Accept)
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- e.Run(ctx) }()
	playing, stop := context.WithCancel(context.Background())
	entered, played := make(chan struct{}), make(chan *bots.Result, 1)
	go func() {
		r, err := bots.Run(playing, bots.Config{
			Target: "tcp://" + ln.Addr().String(), Players: 30, Moving: 60, Looting: 100,
			Entered: func() { close(entered) }, Duration: time.Hour,
		})
		if err != nil {
			t.Error(err)
		}
		played <- r
	}()
	epitest.Receive(t, entered)
	time.Sleep(*stopFor) // as long as it is stopped then, to compare
	begun := w.Stats()
	p.all(t, syscall.SIGSTOP)
	goOn := func() { p.all(t, syscall.SIGCONT) }
	defer goOn() // in any case
	time.Sleep(*stopFor)
	epitest.WaitUntil(t, "ticks without a database", func() bool { return w.Stats().Ticks > begun.Ticks+4 })
	stopped := w.Stats()
	goOn()
	epitest.WaitUntil(t, "changes with it", func() bool { return w.Stats().Store.Written > stopped.Store.Written+20 })
	t.Logf("%v before: %s", *stopFor, late(server.Stats{}, begun))
	t.Logf("stopped for %v: %s, %d writes waited", *stopFor, late(begun, stopped), stopped.Store.Waiting)
	stop()
	r := epitest.Receive(t, played)
	if r != nil && (r.Lost != 0 || r.Wrong != 0) {
		t.Errorf("%d sessions were lost, %d things were wrong: %v", r.Lost, r.Wrong, r.Faults)
	}
	w.Drain()
	end()
	keeping, cancel := context.WithTimeout(context.Background(), epitest.Patience)
	defer cancel()
	if err := epitest.Receive(t, ran); err != nil {
		t.Error(err)
	}
	if err := w.Keep(keeping); err != nil {
		t.Error(err)
	}
	storetest.Clean(t, s)
}

// all signals the server and all of its processes.
func (p *postgres) all(t *testing.T, sig syscall.Signal) {
	t.Helper()
	_ = p.cmd.Process.Signal(sig) // it has not ended
	p.each(t, sig)
}

// late is by how much at most 99 % of the ticks between two moments were late.
func late(from, to server.Stats) string {
	total, sum := uint64(0), uint64(0)
	for i := range to.Lateness.Counts {
		total += to.Lateness.Counts[i] - from.Lateness.Counts[i]
	}
	for i, bound := range server.Bounds {
		if sum += to.Lateness.Counts[i] - from.Lateness.Counts[i]; sum*100 >= total*99 {
			return "99 % of the ticks at most " + bound.String() + " late"
		}
	}
	return "more than 1 % of the ticks over a second late"
}
