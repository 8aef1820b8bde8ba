// epoll's size is no limit; the number of open files is one.
package main

import (
	"errors"
	"fmt"
	"log"

	"golang.org/x/sys/unix"
)

func main() {
	var pipe [2]int
	check(unix.Pipe(pipe[:]))
	_, err := unix.EpollCreate(0)
	fmt.Println("epoll_create(0):", err)
	epoll, err := unix.EpollCreate(1) // a hint, and ignored since Linux 2.6.8
	check(err)
	for range 40 {
		twin, err := unix.Dup(pipe[0])
		check(err)
		check(unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, twin, &unix.EpollEvent{Events: unix.EPOLLIN}))
	}
	fmt.Println("epoll_create(1): watches 40")

	var limit unix.Rlimit
	check(unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	limit.Cur = 64 // as ulimit -n 64
	check(unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
	for last := -1; ; {
		twin, err := unix.Dup(pipe[0])
		if errors.Is(err, unix.EMFILE) {
			fmt.Printf("ulimit -n %d: the last descriptor is %d, then: %v\n", limit.Cur, last, err)
			return
		}
		check(err)
		last = twin
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
