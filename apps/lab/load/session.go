package load

import (
	"errors"
	"fmt"
	"io"

	"github.com/epinet/epi"
)

// A flight is a message on its way to the server and back.
type flight struct {
	due  int64 // when it was to be sent, on the generator's clock
	size int
	sent int64 // datagrams: when it was sent
	done bool  // it was answered, those before it were not
}

// A session is one connection. It belongs to its loop.
type session struct {
	gen    *generator
	lane   *lane     // nil until the connection is open
	wire   io.Writer // the connection, of whatever kind
	conn   *epi.Conn // that of a stream
	chat   *chatter  // where the target is an IRC server
	kind   kind
	id     uint64
	active bool
	queued bool // open loop: in its lane's queue of sessions with room
	gone   bool

	sent     uint64 // messages
	answered uint64
	waits    int // datagrams that are in flight
	got      int // bytes of the first message in flight that came back
	flights  ring[flight]

	dialled int64  // when Dial was called
	settled func() // says that it no longer waits to be accepted; nil when that is said
}

// OnOpen begins the session on a stream.
func (s *session) OnOpen(c *epi.Conn) error {
	s.conn = c
	s.open(c.Loop(), c)
	return nil
}

// open notes the time that it took to connect.
func (s *session) open(loop *epi.Loop, wire io.Writer) {
	l := s.gen.lanes[loop]
	s.lane, s.wire = l, wire
	l.tally.Opened++
	l.tally.Settled = wallClock()
	l.tally.Setup.Record(s.gen.clock() - s.dialled)
	if s.active {
		l.sessions = append(l.sessions, s)
		l.alive++
		s.gen.alive.Add(1)
	}
	l.live.conns.Add(1)
	s.gen.opened.Add(1)
	s.settle()
}

// settle says that dialling has ended.
func (s *session) settle() {
	s.accepted()
	if s.chat != nil {
		s.gen.enrolled()
	}
}

// accepted lets another connection be dialled in its place.
func (s *session) accepted() {
	if s.settled != nil {
		s.settled()
		s.settled = nil
	}
}

// inFlight returns the number of messages that are not answered.
func (s *session) inFlight() int {
	if s.kind == datagrams {
		return s.waits
	}
	return s.flights.n
}

// unanswered returns how many answers to the message in flight i are missing.
func (s *session) unanswered(i int) int {
	if s.chat == nil {
		return 1
	}
	return s.chat.unanswered(s.sent - uint64(s.flights.n-i))
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
	s.mismatch(m, part, wrong)
	return false
}

// mismatch notes the first wrong byte that was seen.
func (s *session) mismatch(m message, part []byte, wrong int) {
	if t := s.lane.tally; t.Mismatch == "" {
		t.Mismatch = m.describe(part, s.got, wrong)
	}
}

// OnClose ends the session on a stream.
func (s *session) OnClose(c *epi.Conn, err error) { s.close(c.Loop(), err) }

// failed notes that the connection could not be established.
func (s *session) failed(l *lane, err error) {
	if s.gen.connecting.Err() == nil {
		l.tally.Failed++
		l.fail("connect: "+causeOf(err), 1)
		s.gen.failed(err)
	}
	s.settle()
}

// close notes why the connection has ended before the generator did.
func (s *session) close(loop *epi.Loop, err error) {
	l := s.gen.lanes[loop]
	if s.lane == nil {
		s.failed(l, err)
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

// write sends a message, or puts it into the lane's scratch buffer, which the
// caller sends with one write.
func (s *session) write(sequence uint64, f flight) {
	l, size := s.lane, f.size
	if s.chat != nil {
		l.scratch = s.chat.appendMessage(l.scratch, sequence, f)
		if s.kind == chatWebSocket {
			l.flush(s)
		}
		return
	}
	m := message{conn: s.id, sequence: sequence}
	if s.kind != stream {
		l.scratch = m.appendTo(l.scratch, size)
		l.flush(s)
		return
	}
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
		l.failedWrite(s.conn.Send(part))
		offset += len(part)
	}
}

// largestCopy is the size up to which messages are put together and copied.
// The parts of larger ones are sent from the pattern, which never changes.
const largestCopy = 8 << 10

// failedWrite notes an error of writing other than that the connection has
// ended: OnClose reports that.
func (l *lane) failedWrite(err error) {
	if err != nil && !errors.Is(err, epi.ErrClosed) {
		l.fail(fmt.Sprintf("write: %v", err), 1)
	}
}
