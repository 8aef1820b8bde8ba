// What one wait costs when one descriptor is ready and many others are idle.
package main

import (
	"fmt"
	"log"
	"time"

	"github.com/epinet/epi/poll"
	"golang.org/x/sys/unix"
)

const waits = 1000 // their mean is taken

func main() {
	for _, idle := range []int{10, 100, 900} {
		for _, backend := range []poll.Backend{poll.BackendSelect, poll.BackendPoll, poll.BackendEpoll} {
			fmt.Printf("%3d idle, %s: %.1f µs\n", idle, backend, cost(backend, idle).Seconds()*1e6)
		}
	}
}

// cost is the time of one wait that finds one descriptor ready among idle ones.
func cost(backend poll.Backend, idle int) time.Duration {
	p, err := poll.New(backend)
	check(err)
	defer p.Close()
	var quiet, ready [2]int
	check(unix.Pipe(quiet[:]))
	check(unix.Pipe(ready[:]))
	_, err = unix.Write(ready[1], []byte("x"))
	check(err)
	watched := []int{ready[0]}
	for range idle { // a twin is a descriptor of its own
		twin, err := unix.Dup(quiet[0])
		check(err)
		watched = append(watched, twin)
	}
	for _, fd := range watched {
		check(p.Add(fd, 1, poll.Readable, poll.Level))
	}
	begin := time.Now()
	for range waits {
		_, err := p.Wait(make([]poll.Event, 1), -1)
		check(err)
	}
	spent := time.Since(begin)
	for _, fd := range append(watched[1:], quiet[0], quiet[1], ready[0], ready[1]) {
		check(unix.Close(fd))
	}
	return spent / waits
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
