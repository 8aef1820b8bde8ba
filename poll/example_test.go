//go:build linux

package poll_test

import (
	"fmt"
	"log"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/poll"
)

func Example() {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		log.Fatal(err)
	}
	reader, writer := pipe[0], pipe[1]
	defer unix.Close(reader)
	defer unix.Close(writer)

	p, err := poll.New(poll.BackendEpoll)
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	if err := p.Add(reader, 7, poll.Readable, poll.Level); err != nil {
		log.Fatal(err)
	}

	if _, err := unix.Write(writer, []byte("hello")); err != nil {
		log.Fatal(err)
	}

	events := make([]poll.Event, 64)
	n, err := p.Wait(events, -1)
	if err != nil {
		log.Fatal(err)
	}
	for _, event := range events[:n] {
		buf := make([]byte, 64)
		n, err := unix.Read(reader, buf)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("token %d: %s\n", event.Token, buf[:n])
	}
	// Output: token 7: hello
}
