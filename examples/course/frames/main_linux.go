// Frames that begin with their length, four bytes, sent back one by one.
package main

import (
	"encoding/binary"
	"os"

	"github.com/epinet/epi/examples/course/tcp"
	"github.com/epinet/epi/poll"
)

const header, longest = 4, 64 << 10

func main() {
	poller, err := poll.New(poll.BackendEpoll)
	tcp.Check(err)
	listener, sessions := tcp.Listen(os.Args[1]), map[int]*tcp.Session{}
	tcp.Check(poller.Add(listener, uint64(listener), poll.Readable, poll.Edge))
	for events := make([]poll.Event, 64); ; {
		n, err := poller.Wait(events, -1)
		tcp.Check(err)
		for _, e := range events[:n] {
			s := sessions[int(e.Token)]
			if s != nil && s.Read() && answer(s) && s.Flush() {
				s.Arm(poller)
				continue
			}
			if s != nil {
				delete(sessions, s.FD)
				s.End(poller)
			}
			tcp.Enter(poller, listener, func(s *tcp.Session) { sessions[s.FD] = s })
		}
	}
}

// answer takes the whole frames. It returns false at one that is too long.
func answer(s *tcp.Session) bool {
	for len(s.In) >= header {
		size := binary.BigEndian.Uint32(s.In)
		if size > longest {
			return false
		}
		whole := header + int(size)
		if len(s.In) < whole {
			return true // wait for the rest: trying the same bytes again brings nothing
		}
		s.Out, s.In = append(s.Out, s.In[:whole]...), s.In[whole:]
	}
	return true
}
