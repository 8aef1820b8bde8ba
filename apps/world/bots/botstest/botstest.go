// Package botstest lets bots play in tests.
package botstest

import (
	"context"
	"testing"
	"time"

	"github.com/epinet/epi/apps/world/bots"
	"github.com/epinet/epi/apps/world/server"
	"github.com/epinet/epi/internal/epitest"
)

// Play lets bots play on a server until all are in and it has taken so many moves more, and
// reports what they find wrong.
func Play(t *testing.T, s *server.Server, moves uint64, c bots.Config) {
	t.Helper()
	playing, enough := context.WithCancel(t.Context())
	defer enough()
	entered, played := make(chan struct{}), make(chan *bots.Result, 1)
	c.Duration, c.Entered = time.Hour, func() { close(entered) }
	go func() {
		r, err := bots.Run(playing, c)
		if err != nil {
			t.Error(err)
		}
		played <- r
	}()
	epitest.Receive(t, entered)
	before := s.Stats().Moves // a bot moves when it has seen a tick
	epitest.WaitUntil(t, "moves", func() bool { return s.Stats().Moves >= before+moves })
	enough()
	if r := epitest.Receive(t, played); r != nil && (r.Players != c.Players || r.Wrong != 0 || r.Lost != 0) {
		t.Errorf("%s: %+v", c.Target, r)
	}
}
