// Command blocking looks names up, which takes its time, and holds up no loop:
// the page docs/guide/blocking-work.md.
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/frame"
)

const patience = 5 * time.Second

// A session answers each name with its addresses, in order.
type session struct {
	in      frame.Reader
	answers int // of the loop, as all state of a handler
}

func newSession(*epi.Conn) epi.Handler { return &session{in: frame.Reader{Framing: frame.Lines{}}} }

func (s *session) OnData(c *epi.Conn) error {
	line, err := s.in.Next(c)
	if err == frame.ErrIncomplete {
		return nil
	}
	if err != nil {
		return err
	}
	name := string(line) // a copy: line is valid until OnData returns
	c.Pause()            // one name at a time
	go func() {
		answer := lookUp(name)
		_ = c.Loop().Do(func() { s.answer(c, answer) }) // fails when the engine has ended
	}()
	return nil
}

// answer runs on the loop, so it may use what OnData uses.
func (s *session) answer(c *epi.Conn, text string) {
	s.answers++
	_, _ = fmt.Fprintf(c, "%d %s\n", s.answers, text) // fails when the client is gone
	c.Resume()                                        // OnData is called for what is unread
}

func (s *session) OnClose(*epi.Conn, error) {}

// lookUp may block for as long as it likes.
func lookUp(name string) string {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupHost(ctx, name)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(addrs)
}

func main() {
	var e epi.Engine
	if _, err := e.Listen("tcp://127.0.0.1:7000", newSession); err != nil {
		log.Fatal(err)
	}
	log.Fatal(e.Run(context.Background()))
}
