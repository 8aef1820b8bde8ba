// Command arena is another game on the server of epi world: a ball, two teams, eight
// players a match, and a lobby. The guide page docs/guide/game-server.md builds it.
package main

import (
	"context"
	"errors"
	"log"
	"os"
	"os/signal"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/apps/world/server"
	"github.com/epinet/epi/apps/world/sim"
	"github.com/epinet/epi/apps/world/web"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, "tcp://127.0.0.1:8069"); err != nil {
		log.Fatal(err)
	}
}

// config is a world with four towns; each is a field.
func config() server.Config {
	return server.Config{
		World: sim.Config{Seed: 5, Width: 16, Height: 16, Hz: 20, MaxPlayers: 500, Peaceful: true, Speeds: [sim.MaxSpeeds]uint8{30}},
		Game:  newGame(),
		Grace: 5 * time.Second,
	}
}

// run serves until ctx ends, or the world cannot go on.
func run(ctx context.Context, address string) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	engine, c := &epi.Engine{Loops: 1}, config()
	c.Failed = end
	s, err := server.New(engine, c)
	if err != nil {
		return err
	}
	sockets := s.WebSocket("/world", web.Page())
	defer func() { _ = sockets.Close() }() // nobody is left
	ln, err := engine.Listen(address, sockets.Serve)
	if err != nil {
		return err
	}
	log.Printf("open http://%s/ in two browsers or more", ln.Addr())
	context.AfterFunc(ctx, s.Drain)
	return errors.Join(engine.Run(ctx), s.Keep(context.Background()))
}
