// Command lines answers every line in capitals: the page docs/guide/framing.md.
package main

import (
	"bytes"
	"context"
	"log"

	"github.com/epinet/epi"
	"github.com/epinet/epi/frame"
)

// maxLine is the longest line that is taken, without its end.
const maxLine = 1 << 10

type session struct {
	in frame.Reader
}

func newSession(*epi.Conn) epi.Handler {
	return &session{in: frame.Reader{Framing: frame.Lines{}, Max: maxLine}}
}

func (s *session) OnData(c *epi.Conn) error {
	for line, err := range s.in.Messages(c) {
		if err != nil {
			return err // a line that is too long ends the connection
		}
		if string(line) == "quit" {
			return c.Close()
		}
		answer, err := frame.Lines{}.Append(nil, bytes.ToUpper(line))
		if err != nil {
			return err
		}
		if err := c.Send(answer); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) OnClose(c *epi.Conn, err error) { log.Println(c.RemoteAddr(), "left:", err) }

func main() {
	var e epi.Engine
	if _, err := e.Listen("tcp://127.0.0.1:7000", newSession); err != nil {
		log.Fatal(err)
	}
	log.Fatal(e.Run(context.Background()))
}
