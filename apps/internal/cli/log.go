package cli

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const (
	// sameLines is how many warnings and errors with one text are worth reading within
	// sameWithin: where the disk is full, each player of a world is one, twice a second.
	sameLines  = 10
	sameWithin = 10 * time.Second
	// mostTexts bounds the texts that are counted at once.
	mostTexts = 1000
)

// A sparingHandler leaves out warnings and errors whose text has been logged often enough; the
// next one says how many.
type sparingHandler struct {
	slog.Handler
	lines *lineCounts // of all handlers that were made from the same one
}

func newSparingHandler(h slog.Handler) slog.Handler {
	return sparingHandler{h, &lineCounts{of: map[string]*lineCount{}}}
}

func (h sparingHandler) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelWarn {
		suppressed, ok := h.lines.admit(r.Message, r.Time)
		if !ok {
			return nil
		}
		if suppressed > 0 {
			r = r.Clone()
			r.AddAttrs(slog.Int("suppressed", suppressed))
		}
	}
	return h.Handler.Handle(ctx, r)
}

func (h sparingHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return sparingHandler{h.Handler.WithAttrs(attrs), h.lines}
}

func (h sparingHandler) WithGroup(name string) slog.Handler {
	return sparingHandler{h.Handler.WithGroup(name), h.lines}
}

type lineCounts struct {
	mu sync.Mutex
	of map[string]*lineCount // guarded by mu, and so is what it has
}

// A lineCount is about the lines of one text.
type lineCount struct {
	began      time.Time // of what is counted
	logged     int       // since then
	suppressed int       // since the last that was logged
}

// admit reports whether a line is to be logged, and how many like it were suppressed.
func (l *lineCounts) admit(text string, at time.Time) (suppressed int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.of[text]
	if c == nil {
		if len(l.of) == mostTexts {
			clear(l.of)
		}
		c = &lineCount{began: at}
		l.of[text] = c
	}
	if at.Sub(c.began) >= sameWithin {
		c.began, c.logged = at, 0
	}
	if c.logged == sameLines {
		c.suppressed++
		return 0, false
	}
	c.logged++
	suppressed, c.suppressed = c.suppressed, 0
	return suppressed, true
}
