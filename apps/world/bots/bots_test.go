package bots_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/apps/world/bots"
	"github.com/epinet/epi/apps/world/bots/botstest"
	"github.com/epinet/epi/apps/world/server"
	"github.com/epinet/epi/apps/world/sim"
	"github.com/epinet/epi/internal/epitest"
)

func TestMain(m *testing.M) { epitest.Main(m, nil) }

// TestBotsFindNothingWrong lets bots play over both transports.
func TestBotsFindNothingWrong(t *testing.T) {
	e := &epi.Engine{Loops: 1, Logger: epitest.NoLog()}
	s, err := server.New(e, server.Config{
		World: sim.Config{Seed: 3, Width: 12, Height: 12, Hz: 20, Monsters: 300, MaxPlayers: 1000},
		Grace: time.Second, HelloTimeout: time.Minute, FrameBudget: server.DefaultFrameBudget,
		Conflate: server.DefaultConflate, MaxQueue: server.DefaultMaxQueue, TalkRate: 1, TalkBurst: 5, Log: epitest.NoLog(),
	})
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := e.Listen("tcp://127.0.0.1:0", s.Accept)
	if err != nil {
		t.Fatal(err)
	}
	sockets := s.WebSocket("/world", http.NotFoundHandler())
	web, err := e.Listen("tcp://127.0.0.1:0", sockets.Serve)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- e.Run(ctx) }()
	for _, target := range []string{"tcp://" + tcp.Addr().String(), "ws://" + web.Addr().String() + "/world"} {
		botstest.Play(t, s, 900, bots.Config{
			Target: target, Players: 40, Moving: 60, Talk: time.Second, Fighting: 80, Looting: 50,
		})
	}
	stop()
	if err := epitest.Receive(t, ran); err != nil {
		t.Error(err)
	}
	if err := sockets.Close(); err != nil {
		t.Error(err)
	}
}

func TestBotsSayWhyTheyCannotPlay(t *testing.T) {
	for _, target := range []string{"world", "http://127.0.0.1:1"} {
		if _, err := bots.Run(context.Background(), bots.Config{Target: target, Players: 1}); err == nil {
			t.Errorf("%s: no error", target)
		}
	}
}
