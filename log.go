package epi

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"time"
)

// sayAgain is the time between two lines of the log about the same lack: a
// server at its limit sheds thousands of connections in a second, and pauses
// twenty times.
const sayAgain = 10 * time.Second

// A lack is something of which the log tells once in a while.
type lack struct{ said int64 }

// due reports whether it is to be told now.
func (s *lack) due() bool {
	now := clock()
	if s.said != 0 && now-s.said < int64(sayAgain) {
		return false
	}
	s.said = now
	return true
}

// logs reports whether somebody wants to hear what is said at level, so that
// what costs something to say is not put together for nobody.
func (l *Loop) logs(level slog.Level) bool {
	return l.cfg.log.Enabled(context.Background(), level)
}

func (c *Conn) logOpened() {
	if c.loop.logs(slog.LevelDebug) {
		c.log(slog.LevelDebug, "connection opened")
	}
}

// logClosed tells the end of a connection. That it was refused is worth more
// attention than that it ended.
func (c *Conn) logClosed(cause Cause, err error) {
	level, text := slog.LevelDebug, "connection closed"
	if cause == CauseRefused {
		level, text = slog.LevelInfo, "peer refused"
	}
	if c.loop.logs(level) {
		c.log(level, text, "cause", cause.String(), "error", err)
	}
}

func (c *Conn) log(level slog.Level, text string, more ...any) {
	args := []any{"loop", c.loop.id, "peer", c.RemoteAddr().String()}
	if c.origin.local != nil {
		args = append(args, "listener", c.origin.local.String())
	}
	c.loop.cfg.log.Log(context.Background(), level, text, append(args, more...)...)
}

// logShed says that connections are shed because there are too many, once in a
// while.
func (a *acceptor) logShed() {
	if !a.sheds.due() {
		return
	}
	l := a.loop
	err := fmt.Errorf("%w: MaxConns is %d", ErrTooManyConns, l.cfg.maxConns)
	l.cfg.log.Warn("connections are shed", "listener", a.listener.String(), "loop", l.id, "error", err)
}

// labels are what profiles call the goroutine of the loop.
func (l *Loop) labels() []string {
	return []string{"epi_loop", strconv.Itoa(l.id), "epi_driver", l.cfg.driverName()}
}
