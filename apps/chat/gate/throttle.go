package gate

import (
	"math"
	"net/netip"
	"time"
)

// A Throttle says what a session may spend: commands, and bytes. A session begins
// with a whole burst and earns the rate, per second; what it cannot pay for waits.
type Throttle struct {
	Rate       float64 // commands; 0: no limit
	Burst      int
	BytesRate  float64 // 0: no limit
	BytesBurst int
	Exempt     []netip.Prefix // who comes from there has no limits
}

// A bucket is what a session can still spend. It is some numbers and a time, so it
// costs nothing while nothing is spent.
type bucket struct {
	limits          *Throttle // those of the session's beginning; nil: none
	commands, bytes float64   // below 0: in debt
	at              int64     // when they were right, on the shard's clock
}

func newBucket(t *Throttle, from netip.Addr) bucket {
	if t.Rate == 0 && t.BytesRate == 0 {
		return bucket{}
	}
	for _, p := range t.Exempt {
		if p.Contains(from) {
			return bucket{}
		}
	}
	return bucket{limits: t, commands: float64(t.Burst), bytes: float64(t.BytesBurst)}
}

// earn adds what was earned since the last time.
func (b *bucket) earn(now int64) {
	passed := float64(now-b.at) / float64(time.Second)
	b.at = now
	b.commands = min(float64(b.limits.Burst), b.commands+b.limits.Rate*passed)
	b.bytes = min(float64(b.limits.BytesBurst), b.bytes+b.limits.BytesRate*passed)
}

func (b *bucket) spend(now int64, size, cost int) {
	if b.limits == nil {
		return
	}
	b.earn(now)
	b.commands -= float64(cost)
	b.bytes -= float64(size)
}

// wait returns how long it takes until the next line may be read.
func (b *bucket) wait(now int64) time.Duration {
	if b.limits == nil {
		return 0
	}
	b.earn(now)
	return max(missing(b.commands, 1, b.limits.Rate), missing(b.bytes, 1, b.limits.BytesRate))
}

// missing is the time in which something grows to least.
func missing(has, least, rate float64) time.Duration {
	if rate == 0 || has >= least {
		return 0
	}
	return time.Duration(math.Ceil((least - has) / rate * float64(time.Second)))
}
