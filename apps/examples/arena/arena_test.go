package main

import (
	"context"
	"fmt"
	"testing"

	"github.com/epinet/epi"
	"github.com/epinet/epi/apps/world/bots"
	"github.com/epinet/epi/apps/world/bots/botstest"
	"github.com/epinet/epi/apps/world/server"
	"github.com/epinet/epi/apps/world/sim"
	"github.com/epinet/epi/internal/epitest"
)

func TestMain(m *testing.M) { epitest.Main(m, nil) }

// A stage is a world without a server.
type stage struct {
	t      *testing.T
	w      *sim.World
	game   *game
	events map[sim.ID][]string
}

func (s *stage) World() *sim.World { return s.w }

func (s *stage) Tell(id sim.ID, kind uint8, data []byte) {
	s.events[id] = append(s.events[id], fmt.Sprint(kind, data))
}

func (s *stage) Notice(sim.ID, string) {}

func newStage(t *testing.T) *stage {
	t.Helper()
	w, err := sim.New(config().World)
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{t: t, w: w, game: newGame(), events: map[sim.ID][]string{}}
	s.game.begin(s)
	return s
}

func (s *stage) join(n int) (all []sim.ID) {
	s.t.Helper()
	for i := range n {
		id, err := s.w.Join(fmt.Sprint("p", i))
		if err != nil {
			s.t.Fatal(err)
		}
		s.game.Joined(id, "")
		all = append(all, id)
	}
	return all
}

func (s *stage) tick(n int) {
	for range n {
		s.w.Step(sim.Alone)
		s.game.Tick()
	}
}

// score puts a player behind the ball, in the west or in the east, until there is a
// goal.
func (s *stage) score(m *match, id sim.ID, side int32) {
	s.t.Helper()
	goals := m.goals
	for n := 0; m.goals == goals && m.ball != 0; n++ {
		if n > 1000 {
			s.t.Fatal("there is no goal")
		}
		x, y, _ := s.w.At(m.ball)
		if err := s.w.Place(id, x+side*touch/2, y); err != nil {
			s.t.Fatal(err)
		}
		s.tick(1)
	}
}

// TestMatch: eight play, the others wait; goals count; five end it, and all may play
// again.
func TestMatch(t *testing.T) {
	s := newStage(t)
	players := s.join(matchSize + 1)
	s.tick(1)
	m := s.game.at[players[0]]
	if m == nil || len(m.players) != matchSize || len(s.game.waiting) != 1 || s.game.at[players[matchSize]] != nil {
		t.Fatalf("match %+v, and %v wait", m, s.game.waiting)
	}
	for i, id := range m.players {
		if x, _, _ := s.w.At(id); (x < m.middle.X) != (i%2 == 0) {
			t.Errorf("player %d begins at %d, and the middle is %d", i, x, m.middle.X)
		}
	}
	s.score(m, players[0], -1)
	if m.goals != [2]uint8{1, 0} {
		t.Errorf("after a goal in the east: %v", m.goals)
	}
	s.score(m, players[1], 1)
	if m.goals != [2]uint8{1, 1} {
		t.Errorf("after a goal in the west: %v", m.goals)
	}
	if x, y, _ := s.w.At(m.ball); x != m.middle.X || y != m.middle.Y {
		t.Errorf("the ball is at %d, %d", x, y)
	}
	for range goalsToWin - 1 {
		s.score(m, players[0], -1)
	}
	if m.ball != 0 || len(s.game.waiting) != matchSize+1 || s.w.Entities() != matchSize+1 {
		t.Errorf("after the end: %+v, %v wait, %d entities", m, s.game.waiting, s.w.Entities())
	}
	if last := s.events[players[0]][len(s.events[players[0]])-1]; last != fmt.Sprint(eventLobby, []byte{matchSize + 1}) {
		t.Errorf("the last that was told is %s", last)
	}
}

// TestLobby: two begin after a while; those who leave end it when one is left; time
// ends it, too.
func TestLobby(t *testing.T) {
	s := newStage(t)
	players := s.join(3)
	s.tick(patience*20 - 1)
	if len(s.game.at) != 0 {
		t.Fatal("it began too soon")
	}
	s.tick(2)
	m := s.game.at[players[0]]
	if m == nil || len(m.players) != 3 {
		t.Fatalf("match %+v", m)
	}
	s.game.Left(players[1])
	if m.ball == 0 {
		t.Error("it ended although two are left")
	}
	s.game.Left(players[2])
	if m.ball != 0 || len(s.game.waiting) != 1 {
		t.Errorf("with one player it goes on: %v wait", s.game.waiting)
	}
	s.join(2)
	s.tick(patience*20 + 1)
	if m.ball == 0 {
		t.Fatal("it does not begin again")
	}
	s.tick(matchTime*20 + 1)
	if m.ball != 0 {
		t.Error("time is over, and it goes on")
	}
}

// TestKick: who is at the ball shoots it farther than a push; what is no act is an
// error.
func TestKick(t *testing.T) {
	s := newStage(t)
	players := s.join(matchSize)
	s.tick(1)
	m := s.game.at[players[0]]
	if err := s.w.Place(players[0], m.middle.X-touch/2, m.middle.Y); err != nil {
		t.Fatal(err)
	}
	if err := s.game.Act(players[0], actKick, nil); err != nil || m.rolls != shotTicks {
		t.Errorf("%v, it rolls for %d ticks", err, m.rolls)
	}
	if err := s.game.Act(players[1], actKick, nil); err != nil || m.heading != 3 {
		t.Errorf("%v, who is far away moves it to %d", err, m.heading)
	}
	for _, bad := range []struct {
		kind uint8
		data []byte
	}{{0, nil}, {2, nil}, {actKick, []byte{1}}} {
		if s.game.Act(players[0], bad.kind, bad.data) == nil {
			t.Errorf("act %v is none", bad)
		}
	}
}

// TestOverTheNetwork lets bots play, who check each frame.
func TestOverTheNetwork(t *testing.T) {
	engine := &epi.Engine{Loops: 1, Logger: epitest.NoLog()}
	c := config()
	c.Log, c.Grace = epitest.NoLog(), 0
	s, err := server.New(engine, c)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := engine.Listen("tcp://127.0.0.1:0", s.Accept)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- engine.Run(ctx) }()
	botstest.Play(t, s, 20*matchSize, bots.Config{Target: "tcp://" + ln.Addr().String(), Players: 2 * matchSize, Moving: 100})
	stop()
	if err := epitest.Receive(t, ran); err != nil {
		t.Error(err)
	}
}

// TestCommand serves until it is told to end.
func TestCommand(t *testing.T) {
	ctx, stop := context.WithCancel(context.Background())
	stop()
	if err := run(ctx, "tcp://127.0.0.1:0"); err != nil {
		t.Error(err)
	}
}
