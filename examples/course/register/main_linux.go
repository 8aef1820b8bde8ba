// The three commands of epoll_ctl, their errors, and what closing does.
package main

import (
	"fmt"
	"log"

	"github.com/epinet/epi/poll"
	"golang.org/x/sys/unix"
)

var events = make([]poll.Event, 8)

func main() {
	p, err := poll.New(poll.BackendEpoll)
	check(err)
	ours, theirs := pair()
	fmt.Println("modify before add:", p.Modify(ours, 7, poll.Readable, poll.Level))
	fmt.Println("remove before add:", p.Remove(ours))
	check(p.Add(ours, 1<<63+7, poll.Readable|poll.ReadHangUp, poll.OneShot))
	fmt.Println("add, and add again:", p.Add(ours, 7, poll.Readable, poll.Level))

	_, err = unix.Write(theirs, []byte("the tail"))
	check(err)
	check(unix.Shutdown(theirs, unix.SHUT_WR))
	n := wait(p)
	both := poll.Readable | poll.ReadHangUp
	fmt.Println("token is 1<<63+7:", events[0].Token == 1<<63+7, "- bytes and their end at once:", events[0].Ready&both == both)
	fmt.Println("one-shot reports:", n, "- and once more:", wait(p))
	check(p.Modify(ours, 7, poll.Readable, poll.Level))
	fmt.Println("armed again by modify:", wait(p))

	twin, err := unix.Dup(ours)
	check(err)
	check(unix.Close(ours))
	fmt.Println("closed, while a duplicate is open:", wait(p))
	fmt.Println("remove of the closed number:", p.Remove(ours))
	check(unix.Close(twin))
	fmt.Println("closed, the duplicate too:", wait(p))
}

func wait(p poll.Poller) int {
	n, err := p.Wait(events, 0)
	check(err)
	return n
}

func pair() (ours, theirs int) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	check(err)
	return ends[0], ends[1]
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
