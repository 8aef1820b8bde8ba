package gate

import (
	"context"

	"github.com/epinet/epi/apps/chat/hall"
)

// ask calls fn with the hall, on its loop, and waits for it. It may be called from any
// goroutine but the engine's.
func ask[T any](ctx context.Context, s *Server, fn func(*hall.Hall) T) (answer T, err error) {
	done := make(chan T, 1) // it may come when nobody waits any more
	err = s.desk.loop.Do(func() { s.desk.enter(func() { done <- fn(s.desk.hall) }) })
	if err != nil {
		return answer, err
	}
	select {
	case answer = <-done:
		return answer, nil
	case <-ctx.Done():
		return answer, ctx.Err()
	}
}

// IsMember reports whether a user of an account is in a channel. Like the functions
// below it may be called from any goroutine but the engine's, and waits for the hall.
func (s *Server) IsMember(ctx context.Context, account, channel string) bool {
	is, err := ask(ctx, s, func(h *hall.Hall) bool { return h.IsMember(account, channel) })
	return is && err == nil
}

// People returns all users.
func (s *Server) People(ctx context.Context) ([]hall.Person, error) {
	return ask(ctx, s, (*hall.Hall).People)
}

// Rooms returns all channels.
func (s *Server) Rooms(ctx context.Context) ([]hall.Room, error) {
	return ask(ctx, s, (*hall.Hall).Rooms)
}

// Post says something for a program, and returns when it is durable: see hall.Hall.Post.
// An error that is no hall.ErrPost says that it could not be kept, and was not shown, or
// that ctx has ended first.
func (s *Server) Post(ctx context.Context, channel, name, text string) (id string, err error) {
	var said string // before settled has anything
	settled := make(chan error, 1)
	_, err = ask(ctx, s, func(h *hall.Hall) struct{} {
		h.PostFor(s.nowMillis(), channel, name, text, func(id string, refused error) {
			if said = id; refused != nil {
				settled <- refused
				return
			}
			s.desk.await(settled)
		})
		return struct{}{}
	})
	if err != nil {
		return "", err
	}
	select {
	case err := <-settled:
		if err != nil {
			return "", err
		}
		return said, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// Claim takes a name for an account that is about to be made: see hall.Hall.Claim.
func (s *Server) Claim(ctx context.Context, account string) (hall.Claim, error) {
	return ask(ctx, s, func(h *hall.Hall) hall.Claim { return h.Claim(account) })
}

// Disclaim gives a claimed name back. It may be called from any goroutine and does not
// wait.
func (s *Server) Disclaim(account string) {
	_ = s.desk.loop.Do(func() { s.desk.hall.Disclaim(account) }) // when the loop has ended nobody has names
}
