package epi

import "fmt"

// watermarks bound what waits for a connection's peer, and for its handler. They do
// not change.
type watermarks struct {
	high, low int // HighWater, LowWater
	queued    int // MaxQueued
	unread    int // MaxUnread
}

// agree refuses those that contradict each other.
func (w *watermarks) agree(whose string) error {
	for _, pair := range []struct {
		lower, upper           string
		lowerValue, upperValue int
	}{
		{"LowWater", "MaxQueued", w.low, w.queued},
		{"LowWater", "HighWater", w.low, w.high},
		{"HighWater", "MaxQueued", w.high, w.queued},
	} {
		if pair.lowerValue > pair.upperValue {
			return fmt.Errorf("%s.%s is %d, above %s, which is %d", whose, pair.lower, pair.lowerValue, pair.upper, pair.upperValue)
		}
	}
	return nil
}

// watermarksOf returns those of a listener, nil where they are the engine's. Of those
// for the queue, the ones not given follow the others, as the engine's do.
func (c *config) watermarksOf(o *ListenOptions) (*watermarks, error) {
	if o.HighWater == 0 && o.LowWater == 0 && o.MaxQueued == 0 && o.MaxUnread == 0 {
		return nil, nil
	}
	w := c.marks
	if o.MaxQueued > 0 {
		w.high = min(w.high, o.MaxQueued/2)
	}
	for _, f := range []struct {
		name  string
		value int
		to    *int
	}{
		{"HighWater", o.HighWater, &w.high},
		{"LowWater", o.LowWater, &w.low},
		{"MaxQueued", o.MaxQueued, &w.queued},
		{"MaxUnread", o.MaxUnread, &w.unread},
	} {
		if f.value < 0 {
			return nil, fmt.Errorf("ListenOptions.%s is %d: it cannot be negative; 0 chooses the engine's", f.name, f.value)
		}
		if f.value > 0 {
			*f.to = f.value
		}
	}
	if o.HighWater == 0 {
		w.high = max(w.high, o.LowWater)
	}
	if o.LowWater == 0 {
		w.low = min(w.low, w.high/2)
	}
	if o.MaxQueued == 0 {
		w.queued = max(w.queued, twice(w.high))
	}
	return &w, w.agree("ListenOptions")
}

// marks returns those that the connection has.
func (c *Conn) marks() *watermarks {
	if own := c.origin.marks; own != nil {
		return own
	}
	return &c.loop.cfg.marks
}
