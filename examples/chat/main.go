// Command chat passes on what each client says to all others: the page
// docs/guide/chat.md.
package main

import (
	"context"
	"log"
	"strings"
	"time"
	"unicode"

	"github.com/epinet/epi"
	"github.com/epinet/epi/frame"
)

const (
	maxLine   = 1 << 10         // of what a client says
	maxQueued = 64 << 10        // bytes that wait for a slow reader
	silence   = 5 * time.Minute // of a client that has gone, perhaps
)

// room is everybody who has a name.
var room epi.Group

type session struct {
	in   frame.Reader
	name string // the first line; empty before it
}

func newSession(*epi.Conn) epi.Handler {
	return &session{in: frame.Reader{Framing: frame.Lines{}, Max: maxLine}}
}

func (s *session) OnData(c *epi.Conn) error {
	for line, err := range s.in.Messages(c) {
		if err != nil {
			return err // a line that is too long ends the connection
		}
		if err := s.handle(c, printable(string(line))); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) handle(c *epi.Conn, text string) error {
	switch {
	case text == "":
		return nil
	case s.name != "":
		return say(s.name + ": " + text)
	}
	s.name = text
	if err := room.Add(c); err != nil {
		return err
	}
	return say(s.name + " is here")
}

// OnClose comes when the connection has left the room by itself.
func (s *session) OnClose(_ *epi.Conn, err error) {
	if s.name == "" {
		return
	}
	if err := say(s.name + " has left"); err != nil {
		log.Println(err)
	}
}

// say queues a line for everybody: on each loop by one task. Who has more than
// maxQueued waiting is reset.
func say(line string) error { return room.Send([]byte(line + "\n")) }

// printable leaves out what would change the terminals of the others.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, text)
}

func main() {
	e := epi.Engine{MaxQueued: maxQueued, IdleTimeout: silence}
	if _, err := e.Listen("tcp://127.0.0.1:7000", newSession); err != nil {
		log.Fatal(err)
	}
	log.Fatal(e.Run(context.Background()))
}
