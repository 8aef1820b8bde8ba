package main

import (
	"context"
	"log"

	"github.com/epinet/epi"
)

type session struct{} // one value per connection: its state goes here

func (s *session) OnData(c *epi.Conn) error {
	_, err := c.Write(c.Unread())
	c.Discard(len(c.Unread()))
	return err
}

func (s *session) OnClose(c *epi.Conn, err error) { log.Println(c.RemoteAddr(), "left:", err) }

func main() {
	var e epi.Engine
	if _, err := e.Listen("tcp://127.0.0.1:7000", func(*epi.Conn) epi.Handler { return &session{} }); err != nil {
		log.Fatal(err)
	}
	log.Fatal(e.Run(context.Background()))
}
