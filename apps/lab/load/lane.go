package load

import (
	"math"
	"math/rand/v2"
	"sync/atomic"

	"github.com/epinet/epi"
)

// A lane is what the sessions of one loop share. It belongs to the loop.
type lane struct {
	gen     *generator
	loop    *epi.Loop
	index   int // of the loop
	verify  bool
	depth   int
	sizes   Sizes
	rand    *rand.Rand
	scratch []byte // messages of one session, to be written together

	sessions    []*session // active ones
	alive       int        // of them, those that have not ended
	outstanding int        // messages in flight
	from, to    int64      // the measured time; nothing is due before begin or from to on
	over        bool       // to has come
	ended       bool       // nothing counts any more
	drained     chan struct{}
	beat        beat
	watcher     *epi.Timer // looks for lost datagrams; nil where there are none
	tally       *tally
	live        counters // for other goroutines
}

// counters are what a lane shows while it works.
type counters struct {
	conns    atomic.Int64 // open
	requests atomic.Uint64
	bytes    atomic.Uint64
	errors   atomic.Uint64
}

// never is a time that does not come.
const never = math.MaxInt64

func newLane(g *generator, loop *epi.Loop, index int) *lane {
	s := g.share
	return &lane{
		gen: g, loop: loop, index: index, verify: s.Verify, depth: s.Depth, sizes: s.Sizes,
		// The same load makes the same sizes each time.
		rand:    rand.New(rand.NewPCG(uint64(s.First), uint64(index))),
		drained: make(chan struct{}),
		from:    never,
		tally:   newTally(),
	}
}

// begin starts the load. beat is when the first message of an open loop is due.
func (l *lane) begin(beat, from, to int64) {
	l.from, l.to = from, to
	l.watch()
	if l.gen.share.Rate > 0 {
		l.beat.begin(l, beat)
		return
	}
	now := l.gen.clock()
	for _, s := range l.sessions {
		if !s.gone {
			l.send(s, l.depth, now)
		}
	}
}

// send lets n messages of a closed loop go.
func (l *lane) send(s *session, n int, now int64) {
	for range n {
		l.launch(s, now)
	}
	l.flush(s)
}

// launch puts the next message of s into the scratch buffer.
func (l *lane) launch(s *session, due int64) {
	size := l.sizes.next(l.rand)
	f := flight{due: due, size: size}
	if s.kind == datagrams {
		f.sent = l.gen.clock()
		s.waits++
	}
	s.flights.push(f)
	l.outstanding++
	s.write(s.sent, f)
	s.sent++
}

// flush writes what is in the scratch buffer.
func (l *lane) flush(s *session) {
	if len(l.scratch) == 0 {
		return
	}
	_, err := s.wire.Write(l.scratch)
	l.failedWrite(err)
	l.scratch = l.scratch[:0]
}

// answered counts a message that came back.
func (l *lane) answered(f *flight, now int64) {
	l.outstanding--
	if l.measured(f.due) {
		l.tally.Latency.Record(now - f.due)
	}
	if l.measured(now) {
		l.tally.Requests++
		l.tally.Bytes += uint64(f.size)
	}
	l.live.bytes.Add(uint64(f.size))
}

func (l *lane) measured(t int64) bool { return l.from <= t && t < l.to }

// goOn sends what may be sent after n answers for s.
func (l *lane) goOn(s *session, n int, now int64) {
	l.live.requests.Add(uint64(n))
	l.next(s, n, now)
}

// next fills n places that messages in flight have left.
func (l *lane) next(s *session, n int, now int64) {
	switch {
	case l.ended:
		return
	case l.gen.share.Rate > 0:
		l.beat.ready(s)
		l.beat.play(l, now)
	case now < l.to:
		l.send(s, n, now)
	}
	l.check()
}

// finish begins to wait for the outstanding answers.
func (l *lane) finish() {
	l.over = true
	l.check()
}

// check reports when nothing is outstanding any more that can still come. What is
// owed cannot when nobody is left to send it.
func (l *lane) check() {
	if !l.over || l.outstanding > 0 || l.alive > 0 && l.beat.owed(l) > 0 {
		return
	}
	select {
	case <-l.drained:
	default:
		close(l.drained)
	}
}

// end counts what was not answered, with the time that it has waited.
func (l *lane) end() {
	l.ended = true
	l.beat.end()
	if l.watcher != nil {
		l.watcher.Stop()
	}
	now := l.gen.clock()
	waited := func(due int64, answers int) {
		if l.measured(due) {
			l.tally.Latency.RecordN(now-due, answers)
		}
	}
	for _, s := range l.sessions {
		l.loseOlder(s, now)
		for i := range s.flights.n {
			waited(s.flights.at(i).due, s.unanswered(i))
		}
	}
	if l.tally.Lost > 0 && l.live.requests.Load() == 0 {
		l.fail(noDatagram, l.tally.Lost)
	}
	owed := l.beat.owed(l)
	for i := range owed {
		waited(l.beat.due(l.beat.sent+i), 1)
	}
	if n := uint64(l.outstanding) + owed; n > 0 {
		l.fail(noAnswer, n)
	}
}

// lost gives up the messages in flight of a session that has ended.
func (l *lane) lost(s *session) {
	l.alive--
	l.loseOlder(s, never)
	if n := s.flights.n; n > 0 {
		l.fail(noAnswer, uint64(n))
		l.outstanding -= n
		s.flights = ring[flight]{}
	}
	l.check()
}

// fail counts n errors.
func (l *lane) fail(cause string, n uint64) {
	l.tally.fail(cause, n)
	l.live.errors.Add(n)
}
