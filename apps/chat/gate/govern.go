package gate

import (
	"context"
	"time"

	"github.com/epinet/epi/apps/chat/hall"
)

// What administrators do in the page. These may be called from any goroutine but the
// engine's, and wait for the hall.

// An outcome is what the hall says: a value, or what it has against that.
type outcome[T any] struct {
	value T
	err   error
}

// demand is ask for what the hall may refuse.
func demand[T any](ctx context.Context, s *Server, fn func(*hall.Hall) (T, error)) (T, error) {
	o, err := ask(ctx, s, func(h *hall.Hall) (o outcome[T]) {
		o.value, o.err = fn(h)
		return o
	})
	if err != nil {
		return o.value, err
	}
	return o.value, o.err
}

// Bans returns the server's bans.
func (s *Server) Bans(ctx context.Context) ([]hall.KeptBan, error) {
	return ask(ctx, s, func(h *hall.Hall) []hall.KeptBan { return h.Bans(s.nowMillis()) })
}

// Ban keeps somebody from the server: see hall.Hall.Ban.
func (s *Server) Ban(ctx context.Context, by, mask, reason string, d time.Duration) (hall.KeptBan, error) {
	return demand(ctx, s, func(h *hall.Hall) (hall.KeptBan, error) {
		return h.Ban(s.nowMillis(), by, mask, reason, int64(d/time.Second))
	})
}

// Unban ends a ban.
func (s *Server) Unban(ctx context.Context, mask string) error {
	_, err := demand(ctx, s, func(h *hall.Hall) (struct{}, error) { return struct{}{}, h.Unban(mask) })
	return err
}

// Expel ends all users of an account.
func (s *Server) Expel(ctx context.Context, account, reason string) error {
	_, err := ask(ctx, s, func(h *hall.Hall) struct{} {
		h.Expel(s.nowMillis(), account, reason)
		return struct{}{}
	})
	return err
}

// Note says something to all users of an account: see hall.Hall.Note.
func (s *Server) Note(ctx context.Context, account, code, text string) error {
	_, err := ask(ctx, s, func(h *hall.Hall) struct{} {
		h.Note(s.nowMillis(), account, code, text)
		return struct{}{}
	})
	return err
}

// KeepFor sets for how many days a registered channel keeps messages.
func (s *Server) KeepFor(ctx context.Context, channel string, days int) error {
	_, err := demand(ctx, s, func(h *hall.Hall) (struct{}, error) { return struct{}{}, h.KeepFor(channel, days) })
	return err
}
