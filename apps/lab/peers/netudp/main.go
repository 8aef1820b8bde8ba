// Command netudp is an echo server for datagrams on Go's standard library. It
// serves UDP on the address that is its argument.
package main

import (
	"fmt"
	"log"
	"net"
	"os"
)

// maxDatagram is what UDP can carry.
const maxDatagram = 64 << 10

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: netudp ADDRESS")
	}
	addr, err := net.ResolveUDPAddr("udp", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	c, err := net.ListenUDP("udp", addr)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening")
	buf := make([]byte, maxDatagram)
	for {
		n, from, err := c.ReadFromUDPAddrPort(buf)
		if err != nil {
			log.Fatal(err)
		}
		if _, err := c.WriteToUDPAddrPort(buf[:n], from); err != nil {
			log.Print(err) // of one datagram
		}
	}
}
