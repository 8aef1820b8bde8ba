package ledger

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/epinet/epi/apps/chat/fabric"
	"github.com/epinet/epi/apps/chat/store"
)

// A use is that of an invitation by an account which may not be made yet. Two entries cannot be written
// at once, and a write without an answer may have been done, or be done later. So the invitation's
// entry says first what is to be made by it:
//
//	invitation: one less, use ──► account, at the revision that the use names ──► invitation: no use
//	                                   └─ somebody else has the name ──────────► one more, no use
//
// The rest follows from that entry alone, each step can be done twice, and all nodes do what one
// has left: see finishLater.
type use struct {
	Account  account
	Revision uint64 // of the account's entry, which no account has had since
}

func (u *use) is(other *use) bool {
	return other != nil && u.Revision == other.Revision && u.isOf(&other.Account)
}

// isOf says whether an account is the one that is made, whatever has become of it: it was made at the
// same moment, and one of its secrets, which have random numbers in them, is the same.
func (u *use) isOf(a *account) bool {
	return accountKey(u.Account.Name) == accountKey(a.Name) && exact(u.Account.Created).Equal(exact(a.Created)) &&
		slices.ContainsFunc(a.Credentials, func(c store.Credential) bool {
			i := u.Account.find(c.Kind, c.Label)
			return i >= 0 && u.Account.Credentials[i].Secret == c.Secret
		})
}

// use returns what an invitation is used for now, nil for nothing. It is the caller's.
func (l *Ledger) use(key string) *use {
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.uses[key]
	if u == nil {
		return nil
	}
	own := *u
	own.Account.Credentials = slices.Clone(u.Account.Credentials)
	return &own
}

// isGood says whether one more account can be made by an invitation at a moment.
func isGood(i *store.Invitation, at time.Time) bool { return i.Left > 0 && i.Expires.After(at) }

// errInUse refuses an invitation that an account is made by now.
var errInUse = errors.New("the invitation is in use")

// useInvitation writes that an account is to be made by an invitation.
func (l *Ledger) useInvitation(ctx context.Context, w *store.AddAccount) (*use, error) {
	key := invitationKey(w.Invitation)
	for {
		var wanted *use
		err := l.change(ctx, key, func(now *state) (*state, error) {
			if now == nil {
				return nil, store.ErrNotFound
			}
			if now.Use != nil {
				return nil, errInUse
			}
			if !isGood(now.Invitation, w.Account.Created) {
				return nil, store.ErrNotFound
			}
			u, err := l.useFor(ctx, w)
			if err != nil {
				return nil, err
			}
			wanted = u
			now.Invitation.Left--
			now.Use = u
			return now, nil
		})
		if !errors.Is(err, errInUse) {
			return wanted, err
		}
		if other := l.use(key); other != nil {
			if _, err := l.makeInvited(ctx, w.Invitation, other); err != nil {
				return nil, err
			}
		}
	}
}

func (l *Ledger) useFor(ctx context.Context, w *store.AddAccount) (*use, error) {
	key := accountKey(w.Account.Name)
	revision := l.revision(key) // first: what the store has is not older
	now, err := l.read(ctx, key)
	if err != nil {
		return nil, err
	}
	next, err := l.newAccount(ctx, now, w)
	if err != nil {
		return nil, err
	}
	return &use{*next.Account, revision}, nil
}

// makeInvited makes the account of a use, and ends that. While the registry does not answer it goes
// on until ctx is over. It returns false when another account has the name: then the use is given back.
func (l *Ledger) makeInvited(ctx context.Context, invitation string, u *use) (made bool, err error) {
	for {
		made, err = l.tryInvited(ctx, invitation, u)
		if !errors.Is(err, fabric.ErrUnavailable) {
			return made, err
		}
		select {
		case <-time.After(retryAfter):
		case <-ctx.Done():
			return made, err
		}
	}
}

func (l *Ledger) tryInvited(ctx context.Context, invitation string, u *use) (made bool, err error) {
	if made, err = l.makeAccount(ctx, u); err != nil {
		return false, err
	}
	err = l.change(ctx, invitationKey(invitation), func(now *state) (*state, error) {
		if now == nil || !u.is(now.Use) {
			return nil, store.ErrNotFound
		}
		now.Use = nil
		if !made {
			now.Invitation.Left++
		}
		return now, nil
	})
	if errors.Is(err, store.ErrNotFound) {
		err = nil // another node has done it
	}
	return made, err
}

// makeAccount makes the account of a use, or finds it made. That the name has no account, but has had
// one since, is taken for the latter.
func (l *Ledger) makeAccount(ctx context.Context, u *use) (made bool, err error) {
	key := accountKey(u.Account.Name)
	written, err := l.write(ctx, key, &state{Account: &u.Account}, u.Revision)
	if err == nil {
		return true, l.await(ctx, written)
	}
	if !errors.Is(err, fabric.ErrStale) {
		return false, err
	}
	if err := l.catchUp(ctx); err != nil {
		return false, err
	}
	now, err := l.read(ctx, key)
	return err == nil && (now == nil || u.isOf(now.Account)), err
}

// finishLater makes the account of a use that is left by a node that was lost, or got no answer. Who
// has begun it gets some time first. l.mu is held.
func (l *Ledger) finishLater(key string, u *use) {
	if l.closed {
		return
	}
	invitation := strings.TrimPrefix(key, invitationPrefix)
	l.work.Go(func() {
		for l.pause() {
			left := l.use(key)
			if !u.is(left) {
				return
			}
			if _, err := l.makeInvited(l.life, invitation, left); err != nil && l.life.Err() == nil {
				l.config.Log.Warn("an account that was made by an invitation is not kept yet: it is tried again", "account", u.Account.Name, "error", err)
			}
		}
	})
}
