package load

import (
	"context"
	"errors"
	"fmt"

	"github.com/epinet/epi"
)

// A flight is a message on its way to the server and back.
type flight struct {
	due  int64 // when it was to be sent, on the generator's clock
	size int
}

// A session is one connection. It belongs to its loop.
type session struct {
	gen    *generator
	lane   *lane // nil until the connection is open
	conn   *epi.Conn
	id     uint64
	active bool
	queued bool // open loop: in its lane's queue of sessions with room
	gone   bool

	sent     uint64 // messages
	answered uint64
	got      int // bytes of the first message in flight that came back
	flights  ring[flight]

	dialled int64              // when Dial was called
	settled context.CancelFunc // ends the time for Dial; nil when it is over
}

// OnOpen notes the time that it took to connect.
func (s *session) OnOpen(c *epi.Conn) error {
	l := s.gen.lanes[c.Loop()]
	s.lane, s.conn = l, c
	l.tally.Opened++
	l.tally.Settled = wallClock()
	l.tally.Setup.Record(s.gen.clock() - s.dialled)
	if s.active {
		l.sessions = append(l.sessions, s)
		s.gen.alive.Add(1)
	}
	l.live.conns.Add(1)
	s.gen.opened.Add(1)
	s.settle()
	return nil
}

// settle says that dialling has ended.
func (s *session) settle() {
	s.settled()
	s.settled = nil
	<-s.gen.dialling
}

// OnData is the hot path: it finds the messages that are complete and lets the
// next ones go.
func (s *session) OnData(c *epi.Conn) error {
	l := s.lane
	now := s.gen.clock()
	data := c.Unread()
	answers := 0
	for len(data) > 0 {
		if s.flights.n == 0 {
			return errUnasked
		}
		f := s.flights.at(0)
		part := data[:min(len(data), f.size-s.got)]
		if l.verify && !s.right(part) {
			return errMismatch
		}
		s.got += len(part)
		data = data[len(part):]
		if s.got < f.size {
			break
		}
		l.answered(f, now)
		s.flights.pop()
		s.got = 0
		s.answered++
		answers++
	}
	c.Discard(len(c.Unread()))
	if answers > 0 {
		l.goOn(s, answers, now)
	}
	return nil
}

// right compares what came back with what was sent.
func (s *session) right(part []byte) bool {
	m := message{conn: s.id, sequence: s.answered}
	wrong := m.differs(part, s.got)
	if wrong < 0 {
		return true
	}
	if t := s.lane.tally; t.Mismatch == "" {
		t.Mismatch = m.describe(part, s.got, wrong)
	}
	return false
}

// OnClose notes why the connection has ended before the generator did.
func (s *session) OnClose(c *epi.Conn, err error) {
	l := s.gen.lanes[c.Loop()]
	if s.lane == nil {
		if s.gen.connecting.Err() == nil {
			l.tally.Failed++
			l.fail("connect: "+causeOf(err), 1)
			s.gen.failed(err)
		}
		s.settle()
		return
	}
	s.gone = true
	l.live.conns.Add(-1)
	if l.ended {
		return
	}
	l.fail(causeOf(err), 1)
	if s.active {
		l.lost(s)
		s.gen.lost()
	}
}

// write sends a message, or puts it into the lane's scratch buffer, of which
// the caller makes one write.
func (s *session) write(sequence uint64, size int) {
	l := s.lane
	m := message{conn: s.id, sequence: sequence}
	if size <= largestCopy {
		l.scratch = m.appendTo(l.scratch, size)
		if len(l.scratch) > largestCopy {
			l.flush(s)
		}
		return
	}
	h := m.header()
	l.scratch = append(l.scratch, h[:]...)
	l.flush(s)
	for offset := headerSize; offset < size; {
		part := m.part(offset, size-offset)
		s.failedWrite(s.conn.Send(part))
		offset += len(part)
	}
}

// largestCopy is the size up to which messages are put together and copied.
// The parts of larger ones are sent from the pattern, which never changes.
const largestCopy = 8 << 10

// failedWrite notes an error of writing other than that the connection has
// ended, of which OnClose tells.
func (s *session) failedWrite(err error) {
	if err != nil && !errors.Is(err, epi.ErrClosed) {
		s.lane.fail(fmt.Sprintf("write: %v", err), 1)
	}
}
