// The same read twice: readiness says when to call, completion that it was done.
package main

import (
	"fmt"
	"log"
	"runtime"

	"github.com/epinet/epi/poll"
	"github.com/epinet/epi/uring"
	"golang.org/x/sys/unix"
)

var hello = []byte("hello")

func main() {
	var pipe [2]int
	check(unix.Pipe(pipe[:]))
	buf := make([]byte, 16)

	p, err := poll.New(poll.BackendEpoll)
	check(err)
	check(p.Add(pipe[0], 1, poll.Readable, poll.Level))
	_, err = unix.Write(pipe[1], hello)
	check(err)
	_, err = p.Wait(make([]poll.Event, 1), -1)
	check(err)
	fmt.Println("epoll: ready; nothing has been read:", buf[0] == 0)
	n, err := unix.Read(pipe[0], buf)
	check(err)
	fmt.Printf("epoll: we have read %q\n", buf[:n])

	runtime.LockOSThread() // the ring belongs to this thread
	ring, err := uring.New(uring.Config{Setup: uring.SingleIssuer | uring.DeferTaskrun})
	check(err)
	clear(buf)
	read := ring.SQE()
	read.Read(pipe[0], buf, -1) // the kernel has the buffer from now on
	read.UserData = 1
	check(ring.Submit())
	_, err = unix.Write(pipe[1], hello)
	check(err)
	check(ring.Wait(1, -1))
	done, _ := ring.Next()
	check(done.Err())
	fmt.Printf("io_uring: the kernel has read %q\n", buf[:done.Res])
	check(ring.Close())
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
