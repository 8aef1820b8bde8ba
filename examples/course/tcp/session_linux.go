package tcp

import (
	"bytes"

	"github.com/epinet/epi/poll"
	"golang.org/x/sys/unix"
)

// Bound is how many bytes may wait in a Session, in each direction.
const Bound = 1 << 20

// A Session is one connection and its pending bytes. One goroutine has it at a time.
type Session struct {
	FD      int
	In, Out []byte // what has come and is no whole message yet; what is not yet sent
}

// Enter makes a Session of every connection that waits, gives it to take, and has
// the poller report once when it has something to read.
func Enter(p poll.Poller, listener int, take func(s *Session)) {
	Accept(listener, func(fd int) {
		take(&Session{FD: fd})
		Check(p.Add(fd, uint64(fd), poll.Readable, poll.OneShot))
	})
}

// Read reads once, but not while bytes wait to be sent: the client reads first. It
// returns false at the end, when all that came before it has been taken.
func (s *Session) Read() bool {
	if len(s.Out) > 0 {
		return true
	}
	buf := make([]byte, 16<<10)
	n, err := unix.Read(s.FD, buf)
	if n <= 0 {
		return err == unix.EAGAIN
	}
	s.In = append(s.In, buf[:n]...)
	return len(s.In) <= Bound
}

// Line takes a whole line out of In, without its end.
func (s *Session) Line() (line string, ok bool) {
	first, rest, ok := bytes.Cut(s.In, []byte("\n"))
	if !ok {
		return "", false
	}
	s.In = rest
	return string(first), true
}

// Flush sends as much as there is room for. It returns false when nobody is there.
func (s *Session) Flush() bool {
	n, err := unix.Write(s.FD, s.Out)
	s.Out = s.Out[max(n, 0):]
	return err == nil || err == unix.EAGAIN
}

// Arm makes the poller report once more what the session waits for.
func (s *Session) Arm(p poll.Poller) {
	interest := poll.Readable
	if len(s.Out) > 0 {
		interest = poll.Writable
	}
	Check(p.Modify(s.FD, uint64(s.FD), interest, poll.OneShot))
}

// End closes the descriptor: until then no other session can have its number.
func (s *Session) End(p poll.Poller) {
	_ = s.Flush() // the last bytes, if there is room for them
	Check(p.Remove(s.FD))
	Check(unix.Close(s.FD))
}
