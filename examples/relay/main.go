// Command relay passes connections on to another server, and holds at most some
// hundred kilobytes of each: the page docs/guide/backpressure.md.
package main

import (
	"context"
	"log"
	"os"
	"time"

	"github.com/epinet/epi"
)

const (
	highWater = 128 << 10
	lowWater  = 32 << 10
	patience  = 30 * time.Second
)

// A side reads from one connection and writes to the other.
type side struct{ other *epi.Conn }

func (s *side) OnData(c *epi.Conn) error {
	n, err := s.other.Write(c.Unread())
	c.Discard(n)
	if s.other.Queued() > highWater {
		c.Pause()
		if s.other.Queued() <= lowWater {
			c.Resume() // it has drained in the meantime, and OnDrain came too early
		}
	}
	return err
}

func (s *side) OnDrain(*epi.Conn)            { s.other.Resume() }
func (s *side) OnEOF(*epi.Conn) error        { return s.other.CloseWrite() }
func (s *side) OnClose(_ *epi.Conn, _ error) { _ = s.other.Close() }

func main() {
	to := "tcp://127.0.0.1:7001"
	if len(os.Args) > 1 {
		to = os.Args[1]
	}
	e := &epi.Engine{HighWater: highWater, LowWater: lowWater, WriteTimeout: patience}
	_, err := e.Listen("tcp://127.0.0.1:7000", func(client *epi.Conn) epi.Handler {
		back := &side{other: client}
		server, err := e.Dial(context.Background(), to, back)
		if err != nil {
			log.Println(err)
			return nil // refuses the client
		}
		return &side{other: server}
	})
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(e.Run(context.Background()))
}
