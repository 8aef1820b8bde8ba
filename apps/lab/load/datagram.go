package load

import (
	"context"
	"encoding/binary"
	"slices"
	"time"

	"github.com/epinet/epi"
)

// dialDatagrams makes a socket for s: nothing is sent, so it is open at once.
func (g *generator) dialDatagrams(ctx context.Context, to endpoint, s *session) error {
	c, err := g.engine.DialPacket(ctx, to.Address, (*packetSession)(s))
	if err != nil {
		return err
	}
	return c.Loop().Do(func() { s.open(c.Loop(), c) })
}

// A packetSession is a session whose messages are datagrams.
type packetSession session

// OnPacket finds out which message was answered: those before it may be lost.
func (p *packetSession) OnPacket(c *epi.PacketConn, data []byte, _ epi.PacketAddr) {
	s, l := (*session)(p), p.lane
	if l.ended {
		return
	}
	i, err := s.find(data)
	if err != nil {
		l.fail(causeOf(err), 1)
		return // the message itself will be lost
	}
	if i < 0 {
		l.tally.Stray++
		return
	}
	now := l.gen.clock()
	f := s.flights.at(i)
	f.done = true
	s.waits--
	l.answered(f, now)
	s.dropDone()
	l.goOn(s, 1, now)
}

// find returns the index of the message in flight that data is, or -1 when it
// was answered, or given up, before.
func (s *session) find(data []byte) (int, error) {
	if len(data) < leastDatagram {
		return 0, errMismatch
	}
	m := message{conn: s.id, sequence: binary.LittleEndian.Uint64(data)}
	if m.sequence >= s.sent {
		return 0, errUnasked
	}
	if wrong := m.differs(data, 0); wrong >= 0 && s.lane.verify {
		s.mismatch(m, data, wrong)
		return 0, errMismatch
	}
	first := s.sent - uint64(s.flights.n)
	if m.sequence < first || s.flights.at(int(m.sequence-first)).done {
		return -1, nil
	}
	i := int(m.sequence - first)
	if len(data) != s.flights.at(i).size {
		return 0, errMismatch
	}
	return i, nil
}

// dropDone forgets what was answered, up to the first that was not.
func (s *session) dropDone() {
	for s.flights.n > 0 && s.flights.at(0).done {
		s.flights.pop()
	}
}

// OnError counts what the system reports about the socket, such as that nobody
// listens there.
func (p *packetSession) OnError(_ *epi.PacketConn, err error) {
	if l := p.lane; l != nil && !l.ended {
		l.fail(causeOf(err), 1)
	}
}

func (p *packetSession) OnClose(c *epi.PacketConn, err error) { (*session)(p).close(c.Loop(), err) }

// looksPerLoss is how often datagrams are looked at while they wait: a lost one
// is given up an eighth of LostAfter late at most.
const looksPerLoss = 8

// watch looks for lost datagrams from now on, where there are any.
func (l *lane) watch() {
	if !slices.ContainsFunc(l.sessions, func(s *session) bool { return s.kind == datagrams }) {
		return
	}
	period := max(time.Millisecond, l.gen.share.LostAfter/looksPerLoss)
	l.watcher = l.loop.Every(period, epi.Skip, func() {
		now := l.gen.clock()
		for _, s := range l.sessions {
			if n := l.loseOlder(s, now-int64(l.gen.share.LostAfter)); n > 0 && !s.gone {
				l.next(s, n, now)
			}
		}
	})
}

// loseOlder gives up the datagrams of s that were sent at a time or before, and
// returns their number.
func (l *lane) loseOlder(s *session, sent int64) int {
	if s.kind != datagrams {
		return 0
	}
	n := 0
	for s.flights.n > 0 {
		if f := s.flights.at(0); !f.done {
			if f.sent > sent {
				break
			}
			n++
		}
		s.flights.pop()
	}
	s.waits -= n
	l.outstanding -= n
	l.tally.Lost += uint64(n)
	return n
}
