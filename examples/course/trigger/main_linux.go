// Level, edge and one-shot: one signal, and a buffer that is read by half.
package main

import (
	"fmt"
	"log"

	"github.com/epinet/epi/poll"
	"golang.org/x/sys/unix"
)

const signal = "0000111000111000111" // 1: the pipe has something to read

func main() {
	for _, m := range []struct {
		name string
		mode poll.Mode
	}{{"level", poll.Level}, {"edge", poll.Edge}, {"one-shot", poll.OneShot}} {
		p, err := poll.New(poll.BackendEpoll)
		check(err)
		var pipe [2]int
		check(unix.Pipe(pipe[:]))
		check(p.Add(pipe[0], 1, poll.Readable, m.mode))
		events, level, buf := 0, '0', make([]byte, 4096)
		for _, next := range signal {
			switch {
			case level == '0' && next == '1':
				_, err = unix.Write(pipe[1], buf[:1])
			case level == '1' && next == '0':
				_, err = unix.Read(pipe[0], buf)
				check(p.Modify(pipe[0], 1, poll.Readable, m.mode)) // drained: arm it again
			}
			check(err)
			level = next
			events += wait(p)
		}
		fmt.Printf("%-8s  %s: %d events\n", m.name, signal, events)

		_, err = unix.Write(pipe[1], buf[:2047]) // 2 KiB are in the pipe
		check(err)
		check(p.Modify(pipe[0], 1, poll.Readable, m.mode))
		first := wait(p)
		_, err = unix.Read(pipe[0], buf[:1024])
		check(err)
		fmt.Printf("%-8s  2 KiB: %d, after reading 1 KiB: %d\n", m.name, first, wait(p))
	}
}

func wait(p poll.Poller) int {
	n, err := p.Wait(make([]poll.Event, 1), 0)
	check(err)
	return n
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
