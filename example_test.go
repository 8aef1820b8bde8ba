package epi_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"

	"github.com/epinet/epi"
)

type session struct{} // one value per connection: its state goes here

func (s *session) OnData(c *epi.Conn) error {
	_, err := c.Write(c.Unread())
	c.Discard(len(c.Unread()))
	return err
}

func (s *session) OnClose(c *epi.Conn, err error) { fmt.Println("left:", err) }

// The echo server of the README, and a client.
func Example() {
	var e epi.Engine
	ln, err := e.Listen("tcp://127.0.0.1:0", func(*epi.Conn) epi.Handler { return &session{} })
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- e.Run(ctx) }()

	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprint(c, "hello\n")
	_ = c.(*net.TCPConn).CloseWrite()
	echo, _ := io.ReadAll(c)
	fmt.Print(string(echo))

	cancel()
	fmt.Println("run:", <-done)
	// Unordered output:
	// hello
	// left: EOF
	// run: <nil>
}
