package ledger

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/epinet/epi/apps/chat/store"
)

// Share implements store.Sharer: it takes what changes accounts and invitations.
func (l *Ledger) Share(w store.Write, done func(error)) bool {
	do := l.doing(w)
	if do == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		go done(store.ErrClosed) // never within the call
		return true
	}
	l.work.Go(func() {
		ctx, cancel := context.WithTimeout(l.life, writeTimeout)
		defer cancel()
		done(do(ctx))
	})
	return true
}

// doing returns what does a write that is shared, and nil for others.
func (l *Ledger) doing(w store.Write) func(context.Context) error {
	switch w := w.(type) {
	case store.AddAccount:
		return func(ctx context.Context) error { return l.addAccount(ctx, w) }
	case store.RemoveAccount:
		return l.ofAccount(w.Name, func(*account) (*account, error) { return nil, nil })
	case store.SetRole:
		return l.ofAccount(w.Account, func(a *account) (*account, error) { a.Role = w.Role; return a, nil })
	case store.SetSuspended:
		return l.ofAccount(w.Account, func(a *account) (*account, error) { a.Suspended = w.Reason; return a, nil })
	case store.SetVerified:
		return l.ofAccount(w.Account, func(a *account) (*account, error) { a.Verified = true; return a, nil })
	case store.PutCredential:
		return func(ctx context.Context) error { return l.putCredential(ctx, w.Credential) }
	case store.RemoveCredential:
		return l.ofAccount(w.Account, func(a *account) (*account, error) {
			i := a.find(w.Kind, w.Label)
			if i < 0 {
				return nil, store.ErrNotFound
			}
			a.Credentials = slices.Delete(a.Credentials, i, i+1)
			return a, nil
		})
	case store.PutInvitation:
		return func(ctx context.Context) error {
			return l.change(ctx, invitationKey(w.Invitation.Hash), func(*state) (*state, error) { return &state{Invitation: &w.Invitation}, nil })
		}
	case store.RemoveInvitation:
		return func(ctx context.Context) error {
			return l.change(ctx, invitationKey(w.Hash), func(now *state) (*state, error) {
				if now == nil {
					return nil, store.ErrNotFound
				}
				return gone, nil
			})
		}
	}
	return nil
}

// ofAccount returns what changes an account; to nil is to remove it.
func (l *Ledger) ofAccount(name string, change func(*account) (*account, error)) func(context.Context) error {
	return func(ctx context.Context) error {
		return l.change(ctx, accountKey(name), func(now *state) (*state, error) {
			if now == nil {
				return nil, store.ErrNotFound
			}
			a, err := change(now.Account)
			if err != nil || a == nil {
				return gone, err
			}
			return &state{Account: a}, nil
		})
	}
}

func (a *account) find(kind store.CredentialKind, label string) int {
	return slices.IndexFunc(a.Credentials, func(c store.Credential) bool { return c.Kind == kind && c.Label == label })
}

// addAccount makes an account, with one use of its invitation, which is given back if that
// is refused.
func (l *Ledger) addAccount(ctx context.Context, w store.AddAccount) error {
	if w.Invitation != "" {
		if err := l.useInvitation(ctx, w.Invitation, w.Account.Created); err != nil {
			return err
		}
	}
	err := l.change(ctx, accountKey(w.Account.Name), func(now *state) (*state, error) {
		if now != nil {
			return nil, store.ErrExists
		}
		for i := range w.Credentials {
			w.Credentials[i].Account = w.Account.Name
			if err := l.isFree(ctx, &w.Credentials[i]); err != nil {
				return nil, err
			}
		}
		return &state{Account: &account{w.Account, w.Credentials}}, nil
	})
	if errors.Is(err, store.ErrExists) && w.Invitation != "" {
		err = errors.Join(err, l.countInvitation(ctx, w.Invitation, time.Time{}, 1))
	}
	return err
}

// isFree says whether no other account has a certificate or an identity.
func (l *Ledger) isFree(ctx context.Context, c *store.Credential) error {
	if c.Kind != store.Certificate && c.Kind != store.OpenID {
		return nil
	}
	has, err := l.config.Store.FindCredential(ctx, c.Kind, c.Secret)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil
	case err != nil:
		return err
	case accountKey(has.Name) != accountKey(c.Account):
		return store.ErrExists
	}
	return nil
}

func (l *Ledger) putCredential(ctx context.Context, c store.Credential) error {
	if c.Created.IsZero() {
		c.Created = time.Now()
	}
	return l.ofAccount(c.Account, func(a *account) (*account, error) {
		if err := l.isFree(ctx, &c); err != nil {
			return nil, err
		}
		c.Account = a.Name
		if i := a.find(c.Kind, c.Label); i >= 0 {
			a.Credentials[i] = c
		} else {
			a.Credentials = append(a.Credentials, c)
		}
		return a, nil
	})(ctx)
}

func (l *Ledger) useInvitation(ctx context.Context, hash string, at time.Time) error {
	return l.countInvitation(ctx, hash, at, -1)
}

// countInvitation changes how many accounts an invitation is good for, if it is good at a
// moment.
func (l *Ledger) countInvitation(ctx context.Context, hash string, at time.Time, by int) error {
	return l.change(ctx, invitationKey(hash), func(now *state) (*state, error) {
		if now == nil || now.Invitation.Left+by < 0 || !now.Invitation.Expires.After(at) {
			return nil, store.ErrNotFound
		}
		now.Invitation.Left += by
		return now, nil
	})
}
