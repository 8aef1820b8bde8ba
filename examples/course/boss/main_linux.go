// Boss and workers. The line "hold" keeps its worker until another session says "free".
package main

import (
	"os"
	"runtime"
	"sync"

	"github.com/epinet/epi/examples/course/tcp"
	"github.com/epinet/epi/poll"
)

var (
	poller, _ = poll.New(poll.BackendEpoll)
	listener  = tcp.Listen(os.Args[1])
	sessions  sync.Map                         // *tcp.Session by descriptor
	queue     = make(chan *tcp.Session, 1<<16) // each is in it once at most
	gate      = make(chan bool, 1)
	enter     = func(s *tcp.Session) { sessions.Store(s.FD, s) }
)

func main() {
	for range runtime.NumCPU() + 2 { // a few more than cores
		go work()
	}
	tcp.Check(poller.Add(listener, uint64(listener), poll.Readable, poll.Edge))
	for events := make([]poll.Event, 64); ; {
		n, err := poller.Wait(events, -1)
		tcp.Check(err)
		for _, e := range events[:n] {
			if s, ok := sessions.Load(int(e.Token)); ok {
				queue <- s.(*tcp.Session)
				continue
			}
			tcp.Enter(poller, listener, enter)
		}
	}
}

func work() {
	for s := range queue {
		going := s.Read() // it is this worker's alone until it is armed again
		for line, ok := s.Line(); ok; line, ok = s.Line() {
			if line == "hold" {
				<-gate
			} else if line == "free" && len(gate) == 0 {
				gate <- true
			}
			s.Out = append(s.Out, line+"\n"...)
		}
		if going && s.Flush() {
			s.Arm(poller)
			continue
		}
		sessions.Delete(s.FD)
		s.End(poller)
		tcp.Enter(poller, listener, enter) // who found no descriptor free may have this one
	}
}
