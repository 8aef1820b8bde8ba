package load

import (
	"math"
	"time"

	"github.com/epinet/epi"
)

// A beat makes the messages of an open loop due at a constant rate and gives
// them to the sessions that have room, in turn.
type beat struct {
	interval float64 // between messages, in nanoseconds; 0 while there is no beat
	start    int64   // when the first was due
	sent     uint64
	timer    *epi.Timer
	queue    ring[*session] // sessions with room
}

// shortestTick is the period of the timer where messages are due more often:
// it then sends several at once. Answers let messages go, too, so that at such
// rates few wait for the timer.
const shortestTick = 20 * time.Microsecond

func (b *beat) begin(l *lane, start int64) {
	for _, s := range l.sessions {
		if !s.gone {
			b.ready(s)
		}
	}
	alive := l.alive
	if alive == 0 {
		return
	}
	sharpenTimers()
	total := max(1, l.gen.alive.Load()) // the rate goes where the sessions are
	b.interval = min(latestBeat, 1e9*float64(total)/(l.gen.share.Rate*float64(alive)))
	b.start = start
	b.timer = l.loop.After(time.Duration(max(0, b.start-l.gen.clock())), func() {
		// A tick comes a little after the moment at which messages fall due.
		tick := math.Ceil(float64(shortestTick)/b.interval) * b.interval
		b.timer = l.loop.Every(time.Duration(max(1, nanoseconds(math.Round(tick)))), epi.Skip, func() { b.tick(l) })
		b.tick(l)
	})
}

func (b *beat) tick(l *lane) {
	b.play(l, l.gen.clock())
	l.check()
}

// due returns when message number k is due.
func (b *beat) due(k uint64) int64 { return b.start + nanoseconds(float64(k)*b.interval) }

// latestBeat is thirty years in nanoseconds: at the lowest rates the next message
// would be due later than any clock can say.
const latestBeat = 1e18

func nanoseconds(n float64) int64 { return int64(min(n, latestBeat)) }

// ready puts s into the queue if it has room.
func (b *beat) ready(s *session) {
	if !s.queued && !s.gone && s.inFlight() < s.lane.depth {
		s.queued = true
		b.queue.push(s)
	}
}

// play sends what is due, as long as there are sessions with room.
func (b *beat) play(l *lane, now int64) {
	if b.interval == 0 {
		return
	}
	for b.queue.n > 0 {
		due := b.due(b.sent)
		if due > now || due >= l.to {
			return
		}
		s := b.queue.pop()
		s.queued = false
		if s.gone {
			continue
		}
		b.sent++
		if l.measured(due) {
			l.tally.Late.Record(now - due)
		}
		l.launch(s, due)
		l.flush(s)
		b.ready(s)
	}
}

// owed returns how many messages were due before the end and not sent.
func (b *beat) owed(l *lane) uint64 {
	if b.interval == 0 {
		return 0
	}
	k := b.sent
	if total := math.Ceil(float64(l.to-b.start) / b.interval); total > float64(k) {
		k = uint64(total)
	}
	return k - b.sent
}

func (b *beat) end() {
	if b.timer != nil {
		b.timer.Stop()
	}
}
