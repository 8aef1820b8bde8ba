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

// A bucket is what a session can still spend. It is a number and a time, so it
// costs nothing while nothing is spent.
type bucket struct {
	rate, burst           float64
	bytesRate, bytesBurst float64
	commands, bytes       float64 // below 0: in debt
	at                    int64   // when they were right, on the shard's clock
}

func newBucket(t Throttle, from netip.Addr) bucket {
	for _, p := range t.Exempt {
		if p.Contains(from) {
			return bucket{}
		}
	}
	return bucket{
		rate: t.Rate, burst: float64(t.Burst), commands: float64(t.Burst),
		bytesRate: t.BytesRate, bytesBurst: float64(t.BytesBurst), bytes: float64(t.BytesBurst),
	}
}

// earn adds what was earned since the last time.
func (b *bucket) earn(now int64) {
	passed := float64(now-b.at) / float64(time.Second)
	b.at = now
	b.commands = min(b.burst, b.commands+b.rate*passed)
	b.bytes = min(b.bytesBurst, b.bytes+b.bytesRate*passed)
}

func (b *bucket) spend(now int64, size, cost int) {
	if b.rate == 0 && b.bytesRate == 0 {
		return
	}
	b.earn(now)
	b.commands -= float64(cost)
	b.bytes -= float64(size)
}

// wait returns how long it takes until the next line may be read.
func (b *bucket) wait(now int64) time.Duration {
	if b.rate == 0 && b.bytesRate == 0 {
		return 0
	}
	b.earn(now)
	return max(missing(b.commands, 1, b.rate), missing(b.bytes, 1, b.bytesRate))
}

// missing is the time in which something grows to least.
func missing(has, least, rate float64) time.Duration {
	if rate == 0 || has >= least {
		return 0
	}
	return time.Duration(math.Ceil((least - has) / rate * float64(time.Second)))
}
