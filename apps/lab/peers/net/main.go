// Command net is an echo server on Go's standard library: a goroutine for each
// connection. It serves TCP on the address that is its argument.
package main

import (
	"fmt"
	"log"
	"net"
	"os"
)

// bufferSize is what programs of this kind usually choose.
const bufferSize = 4 << 10

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: net ADDRESS")
	}
	ln, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening")
	for {
		c, err := ln.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go echo(c)
	}
}

func echo(c net.Conn) {
	defer c.Close()
	buf := make([]byte, bufferSize)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		if _, err := c.Write(buf[:n]); err != nil {
			return
		}
	}
}
