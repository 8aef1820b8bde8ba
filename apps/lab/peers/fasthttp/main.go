// Command fasthttp is an HTTP server on valyala/fasthttp, which answers each request
// with a line. It serves on the address that is its argument.
package main

import (
	"fmt"
	"log"
	"net"
	"os"

	"github.com/valyala/fasthttp"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: fasthttp ADDRESS")
	}
	ln, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening")
	log.Fatal(fasthttp.Serve(ln, func(c *fasthttp.RequestCtx) {
		c.SetContentType("text/plain; charset=utf-8")
		c.SetBodyString("hello\n")
	}))
}
