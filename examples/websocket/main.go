package main

import (
	"context"
	"log"
	"net/http"

	"github.com/epinet/epi"
	"github.com/epinet/epi/ws"
)

type session struct{}

func (session) OnMessage(c *ws.Conn, op ws.Opcode, p []byte) error { return c.Write(op, p) }
func (session) OnClose(*ws.Conn, error)                            {}

func main() {
	var e epi.Engine
	server := &ws.Server{Handler: func(*ws.Conn, *http.Request) ws.Handler { return session{} }}
	if _, err := e.Listen("tcp://127.0.0.1:8080", server.Serve); err != nil {
		log.Fatal(err)
	}
	log.Fatal(e.Run(context.Background()))
}
