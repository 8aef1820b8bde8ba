// The limits of select: descriptors below 1,024, and sets that each call overwrites.
package main

import (
	"fmt"
	"log"

	"github.com/epinet/epi/poll"
	"golang.org/x/sys/unix"
)

func main() {
	quiet, _ := pipe()
	ready, write := pipe()
	_, err := unix.Write(write, []byte("x"))
	check(err)

	var set unix.FdSet // one bit for each descriptor
	set.Set(quiet)
	set.Set(ready)
	n, err := unix.Select(max(quiet, ready)+1, &set, nil, nil, nil)
	check(err)
	fmt.Printf("asked for 2, ready: %d; the quiet one is still in the set: %v\n", n, set.IsSet(quiet))

	high, err := unix.FcntlInt(uintptr(ready), unix.F_DUPFD, unix.FD_SETSIZE)
	check(err)
	for _, backend := range []poll.Backend{poll.BackendSelect, poll.BackendPoll} {
		p, err := poll.New(backend)
		check(err)
		if err := p.Add(high, 1, poll.Readable, poll.Level); err != nil {
			fmt.Printf("%s, descriptor %d: %v\n", backend, high, err)
			continue
		}
		n, err := p.Wait(make([]poll.Event, 1), -1)
		check(err)
		fmt.Printf("%s, descriptor %d: events: %d\n", backend, high, n)
	}
}

func pipe() (read, write int) {
	var ends [2]int
	check(unix.Pipe(ends[:]))
	return ends[0], ends[1]
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
