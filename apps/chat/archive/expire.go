package archive

import (
	"context"
	"time"

	"github.com/epinet/epi/apps/chat/ircmsg"
	"github.com/epinet/epi/apps/chat/store"
)

// ExpireEvery is how often KeepExpiring looks.
const ExpireEvery = time.Hour

// KeepExpiring removes what is older than is kept, at once and then every hour, until
// the context ends. keep is how long messages are kept; 0 is for good.
func (a *Archive) KeepExpiring(ctx context.Context, keep time.Duration) {
	for {
		if err := a.Expire(ctx, time.Now(), keep); err != nil && ctx.Err() == nil {
			a.log.Error("old messages could not be removed", "error", err)
		}
		select {
		case <-time.After(ExpireEvery):
		case <-ctx.Done():
			return
		}
	}
}

// Expire removes what was said so long ago, and from registered channels that say so
// themselves what is older than their days.
func (a *Archive) Expire(ctx context.Context, now time.Time, keep time.Duration) error {
	var writes []store.Write
	if keep > 0 {
		writes = append(writes, store.RemoveBefore{Before: store.IDAt(now.Add(-keep))})
	}
	err := a.store.Channels(ctx, func(c store.Channel) error {
		if c.KeepDays > 0 {
			writes = append(writes, store.RemoveBefore{Target: ircmsg.ASCII.Fold(c.Name), Before: store.IDAt(now.AddDate(0, 0, -c.KeepDays))})
		}
		return nil
	})
	for _, w := range writes {
		if err == nil {
			err = a.writer.Do(ctx, w)
		}
	}
	return err
}
