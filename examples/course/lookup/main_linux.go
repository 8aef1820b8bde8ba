// How the record of a connection is found decides, not which call waits.
package main

import (
	"fmt"
	"log"
	"time"

	"github.com/epinet/epi/poll"
	"golang.org/x/sys/unix"
)

const conns, rounds = 1000, 20

type record struct{ fd, events int }

func main() {
	var pipe [2]int
	check(unix.Pipe(pipe[:]))
	_, err := unix.Write(pipe[1], []byte("x")) // every duplicate is ready
	check(err)
	p, err := poll.New(poll.BackendEpoll)
	check(err)
	records := make([]record, conns)
	for i := range records {
		records[i].fd, err = unix.Dup(pipe[0])
		check(err)
		check(p.Add(records[i].fd, uint64(i), poll.Readable, poll.Level))
	}
	scan := func(e poll.Event) *record { // the deck's: for (j = 0; info[j].sock != fd; j++)
		j := 0
		for fd := records[e.Token].fd; records[j].fd != fd; {
			j++
		}
		return &records[j]
	}
	slot := func(e poll.Event) *record { return &records[e.Token] }
	fmt.Printf("scan: %.2f µs per event\n", perEvent(p, scan))
	fmt.Printf("slot: %.2f µs per event\n", perEvent(p, slot))
}

func perEvent(p poll.Poller, find func(poll.Event) *record) (microseconds float64) {
	events := make([]poll.Event, conns)
	begin := time.Now()
	for range rounds {
		n, err := p.Wait(events, -1)
		check(err)
		for _, e := range events[:n] {
			find(e).events++
		}
	}
	return time.Since(begin).Seconds() * 1e6 / (rounds * conns)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
