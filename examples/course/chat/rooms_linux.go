package main

import "github.com/epinet/epi/examples/course/tcp"

// move takes a client from its room to another, or out of the chat (""). A room is
// gone with its last member.
func move(c *tcp.Session, to string) {
	from := room[c]
	if delete(rooms[from], c); len(rooms[from]) == 0 {
		delete(rooms, from)
	}
	if to == "" {
		delete(room, c)
		return
	}
	if room[c] = to; rooms[to] == nil {
		rooms[to] = map[*tcp.Session]bool{}
	}
	rooms[to][c] = true
}
