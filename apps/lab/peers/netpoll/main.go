// Command netpoll is an echo server on cloudwego/netpoll. It serves TCP on the
// address that is its argument.
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/cloudwego/netpoll"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: netpoll ADDRESS")
	}
	ln, err := netpoll.CreateListener("tcp", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	loop, err := netpoll.NewEventLoop(echo)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening")
	log.Fatal(loop.Serve(ln))
}

// echo moves the reader's buffer to the writer without copying it, which is
// how the library is meant to be used.
func echo(_ context.Context, c netpoll.Connection) error {
	data, err := c.Reader().Next(c.Reader().Len())
	if err != nil {
		return err
	}
	if _, err := c.Writer().WriteBinary(data); err != nil {
		return err
	}
	if err := c.Writer().Flush(); err != nil {
		return err
	}
	return c.Reader().Release()
}
