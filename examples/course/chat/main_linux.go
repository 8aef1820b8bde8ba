// A chat: a line goes to all in the speaker's room; "/join ROOM" goes to another.
package main

import (
	"os"
	"strings"

	"github.com/epinet/epi/examples/course/tcp"
	"github.com/epinet/epi/poll"
	"golang.org/x/sys/unix"
)

var (
	poller, _ = poll.New(poll.BackendEpoll)
	room      = map[*tcp.Session]string{}
	rooms     = map[string]map[*tcp.Session]bool{} // the areas of interest
)

func main() {
	listener, clients := tcp.Listen(os.Args[1]), map[int]*tcp.Session{}
	tcp.Check(poller.Add(listener, uint64(listener), poll.Readable, poll.Edge))
	for events := make([]poll.Event, 64); ; {
		n, err := poller.Wait(events, -1) // nothing to do until somebody speaks
		tcp.Check(err)
		for _, e := range events[:n] {
			if c := clients[int(e.Token)]; c != nil && c.Read() && c.Flush() {
				for line, ok := c.Line(); ok; line, ok = c.Line() {
					handle(c, line)
				}
				c.Arm(poller)
				continue
			} else if c != nil {
				move(c, "")
				delete(clients, c.FD)
				c.End(poller)
			}
			tcp.Enter(poller, listener, func(c *tcp.Session) { clients[c.FD] = c; move(c, "lobby") })
		}
	}
}

func handle(c *tcp.Session, line string) {
	if to, ok := strings.CutPrefix(line, "/join "); ok {
		move(c, to)
		c.Out = append(c.Out, "joined "+to+"\n"...)
		return
	}
	for member := range rooms[room[c]] { // not everybody: those whom it concerns
		if member.Out = append(member.Out, line+"\n"...); len(member.Out) > tcp.Bound {
			_ = unix.Shutdown(member.FD, unix.SHUT_RDWR) // he does not read: the door
		}
		member.Arm(poller)
	}
}
