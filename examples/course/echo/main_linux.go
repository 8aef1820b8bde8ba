// An echo server: edge triggered, one thread, no byte lost.
package main

import (
	"os"

	"github.com/epinet/epi/examples/course/tcp"
	"github.com/epinet/epi/poll"
	"golang.org/x/sys/unix"
)

const both = poll.Readable | poll.Writable

var (
	poller, _ = poll.New(poll.BackendEpoll)
	listener  = tcp.Listen(os.Args[1])
	out       = map[int][]byte{} // by descriptor: read, and not yet written back
	buf       = make([]byte, 16<<10)
)

func main() {
	tcp.Check(poller.Add(listener, uint64(listener), poll.Readable, poll.Edge))
	for events := make([]poll.Event, 64); ; {
		n, err := poller.Wait(events, -1) // goes on after EINTR
		tcp.Check(err)
		for _, e := range events[:n] {
			fd := int(e.Token)
			if fd != listener && turn(fd) {
				continue
			}
			if fd != listener {
				tcp.Check(poller.Remove(fd))
				tcp.Check(unix.Close(fd)) // who found no descriptor free may have this one
				delete(out, fd)
			}
			tcp.Accept(listener, func(fd int) { tcp.Check(poller.Add(fd, uint64(fd), both, poll.Edge)) })
		}
	}
}

// turn reads and writes until EAGAIN, a few times. It returns false at the end.
func turn(fd int) bool {
	for range 16 {
		for len(out[fd]) > 0 {
			n, err := unix.Write(fd, out[fd])
			if err != nil {
				return err == unix.EAGAIN // Writable will say when to go on
			}
			out[fd] = out[fd][n:]
		}
		n, err := unix.Read(fd, buf)
		if err != nil || n == 0 {
			return err == unix.EAGAIN
		}
		out[fd] = append([]byte{}, buf[:n]...)
	}
	// The others have their turn: Modify reports what is left of this one again.
	return poller.Modify(fd, uint64(fd), both, poll.Edge) == nil
}
