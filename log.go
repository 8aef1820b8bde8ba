package epi

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// sayAgain is the time between two lines of the log about the same shortage: a
// server at its limit sheds thousands of connections in a second, and pauses
// twenty times.
const sayAgain = 10 * time.Second

// A throttle limits how often one message is logged.
type throttle struct{ said int64 }

// allow reports whether the message may be logged at the time now.
func (s *throttle) allow(now int64) bool {
	if s.said != 0 && now-s.said < int64(sayAgain) {
		return false
	}
	s.said = now
	return true
}

// linesAtOnce is how many lines about single peers are worth reading within
// sayAgain.
const linesAtOnce = 10

// A spate is lines about single peers. A hostile one can cause any number: the first
// of them are logged, and the number of the others.
type spate struct {
	mu         sync.Mutex
	begun      int64  // guarded by mu; when the first of these lines was said
	said       int    // guarded by mu; lines since then
	suppressed uint64 // guarded by mu; lines since the last that was said
}

// say reports whether a line is to be said at the time now, and how many were not
// since the last one.
func (s *spate) say(now int64) (yes bool, suppressed uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.said == 0 || now-s.begun >= int64(sayAgain) {
		s.begun, s.said = now, 0
	}
	if s.said == linesAtOnce {
		s.suppressed++
		return false, 0
	}
	s.said++
	suppressed, s.suppressed = s.suppressed, 0
	return true, suppressed
}

// enabled reports whether level is enabled, so that attributes are built only when
// needed.
func (c *Conn) enabled(level slog.Level) bool {
	return c.loop.cfg.log.Enabled(context.Background(), level)
}

func (c *Conn) logOpened() {
	if c.enabled(slog.LevelDebug) {
		c.log(slog.LevelDebug, "connection opened")
	}
}

// logClosed logs the end of a connection. That it was refused is worth more
// attention than that it ended.
func (c *Conn) logClosed(cause Cause, err error) {
	if cause == CauseRefused {
		c.logRefused("peer refused", "cause", cause.String(), "error", err)
		return
	}
	if c.enabled(slog.LevelDebug) {
		c.log(slog.LevelDebug, "connection closed", "cause", cause.String(), "error", err)
	}
}

// logRefused logs what was refused to a peer. What would be too much at level
// Info is logged at Debug.
func (c *Conn) logRefused(text string, args ...any) {
	if !c.enabled(slog.LevelInfo) {
		return
	}
	say, suppressed := c.loop.refusals.say(c.loop.cfg.Clock())
	switch {
	case !say:
		if c.enabled(slog.LevelDebug) {
			c.log(slog.LevelDebug, text, args...)
		}
	case suppressed > 0:
		c.log(slog.LevelInfo, text, append(args, "suppressed", suppressed)...)
	default:
		c.log(slog.LevelInfo, text, args...)
	}
}

func (c *Conn) log(level slog.Level, text string, more ...any) {
	args := []any{"loop", c.loop.id, "peer", c.RemoteAddr().String()}
	if c.origin.local != nil {
		args = append(args, "listener", c.origin.local.String())
	}
	c.loop.cfg.log.Log(context.Background(), level, text, append(args, more...)...)
}
