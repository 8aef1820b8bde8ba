// maxevents bounds one call, and timeout sets the character of a program.
package main

import (
	"fmt"
	"log"
	"time"

	"github.com/epinet/epi/poll"
	"golang.org/x/sys/unix"
)

func main() {
	p, err := poll.New(poll.BackendEpoll)
	check(err)
	var pipe [2]int
	check(unix.Pipe(pipe[:]))
	_, err = unix.Write(pipe[1], []byte("x"))
	check(err)
	for token := range uint64(5) { // five descriptors that are ready
		twin, err := unix.Dup(pipe[0])
		check(err)
		check(p.Add(twin, token, poll.Readable, poll.Level))
	}
	slots := make([]poll.Event, 2)
	for range 3 {
		n, err := p.Wait(slots, -1)
		check(err)
		fmt.Print("two slots:")
		for _, e := range slots[:n] {
			fmt.Print(" ", e.Token)
		}
		fmt.Println()
	}

	_, err = unix.Read(pipe[0], make([]byte, 1)) // now all are quiet
	check(err)
	n, err := p.Wait(slots, 0)
	check(err)
	fmt.Println("timeout 0: events:", n)
	const tick = 20 * time.Millisecond // a game's
	begin := time.Now()
	n, err = p.Wait(slots, tick)
	check(err)
	fmt.Printf("timeout %v: events: %d, not before: %v\n", tick, n, time.Since(begin) >= tick)
	go func() { check(p.Wake()) }() // otherwise it would wait for ever
	n, err = p.Wait(slots, -1)
	check(err)
	fmt.Println("timeout -1: events:", n, "- woken by another thread")
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
