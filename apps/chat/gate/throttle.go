package gate

import (
	"math"
	"net/netip"
	"time"
)

// A Throttle says what a session may spend: commands, and bytes. A session begins
// with a whole burst and earns the rate, per second; what it cannot pay for waits. When
// the configuration is read again, it earns what that says.
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
	commands, bytes float64 // below 0: in debt
	at              int64   // when they were right, on the shard's clock
}

// newBucket reports false for who has no limits.
func newBucket(t *Throttle, from netip.Addr) (b bucket, limited bool) {
	if t.Rate == 0 && t.BytesRate == 0 {
		return bucket{}, false
	}
	for _, p := range t.Exempt {
		if p.Contains(from) {
			return bucket{}, false
		}
	}
	return bucket{commands: float64(t.Burst), bytes: float64(t.BytesBurst)}, true
}

// earn adds what was earned since the last time.
func (b *bucket) earn(t *Throttle, now int64) {
	passed := float64(now-b.at) / float64(time.Second)
	b.at = now
	b.commands = min(float64(t.Burst), b.commands+t.Rate*passed)
	b.bytes = min(float64(t.BytesBurst), b.bytes+t.BytesRate*passed)
}

func (b *bucket) spend(t *Throttle, now int64, size, cost int) {
	b.earn(t, now)
	b.commands -= float64(cost)
	b.bytes -= float64(size)
}

// wait returns how long it takes until the next line may be read.
func (b *bucket) wait(t *Throttle, now int64) time.Duration {
	b.earn(t, now)
	return max(missing(b.commands, 1, t.Rate), missing(b.bytes, 1, t.BytesRate))
}

// missing is the time in which something grows to least.
func missing(has, least, rate float64) time.Duration {
	if rate == 0 || has >= least {
		return 0
	}
	return time.Duration(math.Ceil((least - has) / rate * float64(time.Second)))
}
