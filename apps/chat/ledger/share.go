package ledger

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/epinet/epi/apps/chat/fabric"
	"github.com/epinet/epi/apps/chat/ircmsg"
	"github.com/epinet/epi/apps/chat/store"
)

// Share implements store.Sharer: it takes what changes accounts, registered channels, what is
// known of them, invitations and bans. Writes of one entry are done in the order of the calls.
func (l *Ledger) Share(w store.Write, done func(error)) bool {
	key, do := l.doing(w)
	if do == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		go done(store.ErrClosed) // never within the call
		return true
	}
	before, after := l.writing[key], make(chan struct{})
	l.writing[key] = after
	l.work.Go(func() {
		if before != nil {
			<-before
		}
		ctx, cancel := context.WithTimeout(l.life, writeTimeout)
		defer cancel()
		done(do(ctx))
		l.wrote(key, after)
	})
	return true
}

// wrote lets the next write of an entry begin.
func (l *Ledger) wrote(key string, after chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.writing[key] == after {
		delete(l.writing, key)
	}
	close(after)
}

// A deed does a write that is shared.
type deed func(context.Context) error

// doing returns what does a write that is shared, and the key of its entry; nil for others.
func (l *Ledger) doing(w store.Write) (key string, do deed) {
	switch w := w.(type) {
	case store.AddAccount:
		return accountKey(w.Account.Name), func(ctx context.Context) error { return l.addAccount(ctx, w) }
	case store.RemoveAccount:
		return accountKey(w.Name), func(ctx context.Context) error { return l.removeAccount(ctx, w.Name) }
	case store.SetRole:
		return l.ofAccount(w.Account, func(a *account) error { a.Role = w.Role; return nil })
	case store.SetSuspended:
		return l.ofAccount(w.Account, func(a *account) error { a.Suspended = w.Reason; return nil })
	case store.SetVerified:
		return l.ofAccount(w.Account, func(a *account) error { a.Verified = true; return nil })
	case store.PutCredential:
		return accountKey(w.Credential.Account), func(ctx context.Context) error { return l.putCredential(ctx, w.Credential) }
	case store.RemoveCredential:
		return l.ofAccount(w.Account, func(a *account) error {
			i := a.find(w.Kind, w.Label)
			if i < 0 {
				return store.ErrNotFound
			}
			a.Credentials = slices.Delete(a.Credentials, i, i+1)
			return nil
		})
	case store.PutBan:
		return l.put(banKey(w.Ban.Mask), &state{Ban: &w.Ban})
	case store.RemoveBan:
		return l.remove(banKey(w.Mask))
	case store.PutDatum:
		return l.put(datumKey(&w.Datum), &state{Datum: &w.Datum})
	case store.PutChannel:
		return l.ofChannel(w.Channel.Name, w.Order, &state{Channel: &w.Channel, Order: &w.Order})
	case store.AddChannel:
		return l.newChannel(&w)
	case store.RemoveChannel:
		return l.ofChannel(w.Name, w.Order, &state{Order: &w.Order})
	case store.PutInvitation:
		return l.put(invitationKey(w.Invitation.Hash), &state{Invitation: &w.Invitation})
	case store.RemoveInvitation:
		return l.remove(invitationKey(w.Hash))
	}
	return "", nil
}

// put returns what writes an entry, whatever there is.
func (l *Ledger) put(key string, s *state) (string, deed) {
	return key, func(ctx context.Context) error {
		return l.change(ctx, key, func(*state) (*state, error) { return s, nil })
	}
}

// remove returns what ends an entry.
func (l *Ledger) remove(key string) (string, deed) {
	return key, func(ctx context.Context) error {
		return l.change(ctx, key, func(now *state) (*state, error) {
			if now == nil {
				return nil, store.ErrNotFound
			}
			return gone, nil
		})
	}
}

// errLater refuses what somebody has written already, or something later.
var errLater = errors.New("the entry is not older")

// ofChannel returns what changes a channel. All nodes that know of a change write it, so that
// it is kept also when its owner is down by then; and what comes late, of an owner that is none
// any more, is before what the next one has written.
func (l *Ledger) ofChannel(name string, order store.Order, next *state) (string, deed) {
	key := channelKey(name)
	return key, func(ctx context.Context) error {
		if !l.order(key).Before(order) {
			return nil
		}
		err := l.change(ctx, key, func(now *state) (*state, error) {
			switch {
			case !l.order(key).Before(order), now != nil && now.isChannel(next.Channel):
				return nil, errLater
			case now == nil && next.Channel == nil:
				return nil, store.ErrNotFound
			}
			return next, nil
		})
		if errors.Is(err, errLater) {
			return nil
		}
		return err
	}
}

// newChannel returns what registers a channel: of several nodes that try, the first succeeds. One
// that no longer owns the channel gets fabric.ErrStale.
func (l *Ledger) newChannel(w *store.AddChannel) (string, deed) {
	key := channelKey(w.Channel.Name)
	return key, func(ctx context.Context) error {
		return l.change(ctx, key, func(now *state) (*state, error) {
			switch {
			case now != nil:
				return nil, store.ErrExists
			case !l.order(key).Before(w.Order):
				return nil, fabric.ErrStale
			}
			return &state{Channel: &w.Channel, Order: &w.Order}, nil
		})
	}
}

// removeAccount removes an account and what is known of it, so that the next account of that name
// does not have it.
func (l *Ledger) removeAccount(ctx context.Context, name string) error {
	data, err := l.config.Store.Metadata(ctx, ircmsg.ASCII.Fold(name))
	if err != nil {
		return err
	}
	_, remove := l.remove(accountKey(name))
	if err := remove(ctx); err != nil {
		return err
	}
	for i := range data {
		data[i].Value = ""
		_, forget := l.put(datumKey(&data[i]), &state{Datum: &data[i]})
		if err := forget(ctx); err != nil {
			return err
		}
	}
	return nil
}

// ofAccount returns what changes an account.
func (l *Ledger) ofAccount(name string, change func(*account) error) (string, deed) {
	key := accountKey(name)
	return key, func(ctx context.Context) error {
		return l.change(ctx, key, func(now *state) (*state, error) {
			if now == nil {
				return nil, store.ErrNotFound
			}
			return now, change(now.Account)
		})
	}
}

func (a *account) find(kind store.CredentialKind, label string) int {
	return slices.IndexFunc(a.Credentials, func(c store.Credential) bool { return c.Kind == kind && c.Label == label })
}

// addAccount makes an account. One that is by an invitation is written with the use of that, and made
// from there, so that neither is without the other whatever fails: see use.
func (l *Ledger) addAccount(ctx context.Context, w store.AddAccount) error {
	if w.Invitation == "" {
		return l.change(ctx, accountKey(w.Account.Name), func(now *state) (*state, error) { return l.newAccount(ctx, now, &w) })
	}
	if err := l.claimFirst(ctx, w.Invitation, w.Account.Created); err != nil {
		return err
	}
	for {
		u, err := l.useInvitation(ctx, &w)
		if err != nil {
			return err
		}
		made, err := l.makeInvited(ctx, w.Invitation, u)
		if made || err != nil {
			return err
		}
	} // somebody has had the name since it was free
}

// newAccount returns the entry of an account that is to be made, if there is none yet.
func (l *Ledger) newAccount(ctx context.Context, now *state, w *store.AddAccount) (*state, error) {
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
}

// firstWithin is how long who is about to make the first account of a role keeps others from it, more
// than that takes, and more than the clocks of the nodes differ.
const firstWithin = 5 * time.Minute

// claimFirst refuses an invitation that nobody has made for a role that somebody has: each node
// begins with one of its own, and one of them is good. It is no claim for one that is good no more at
// a moment.
func (l *Ledger) claimFirst(ctx context.Context, hash string, at time.Time) error {
	i, err := l.config.Store.Invitation(ctx, hash)
	if err == nil && (i.By != "" || i.Role == "") {
		return nil
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) { // another node may have made it
		return err
	}
	if err := l.catchUp(ctx); err != nil {
		return err
	}
	i, err = l.config.Store.Invitation(ctx, hash)
	switch {
	case err != nil:
		return err
	case i.By != "" || i.Role == "":
		return nil
	case !isGood(&i, at):
		return store.ErrNotFound
	}
	key := firstKey(i.Role)
	return l.change(ctx, key, func(*state) (*state, error) {
		now, last := time.Now(), l.first(key)
		if last != nil && last.Invitation != hash && now.Before(last.At.Add(firstWithin)) {
			return nil, store.ErrNotFound
		}
		switch has, err := l.hasRole(ctx, i.Role); {
		case err != nil:
			return nil, err
		case has:
			return nil, store.ErrNotFound
		}
		return &state{First: &first{hash, now}}, nil
	})
}

// errHas ends a search.
var errHas = errors.New("one account has it")

func (l *Ledger) hasRole(ctx context.Context, role string) (bool, error) {
	err := l.config.Store.Accounts(ctx, func(a store.Account) error {
		if a.Role == role {
			return errHas
		}
		return nil
	})
	if errors.Is(err, errHas) {
		return true, nil
	}
	return false, err
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
	_, put := l.ofAccount(c.Account, func(a *account) error {
		if err := l.isFree(ctx, &c); err != nil {
			return err
		}
		c.Account = a.Name
		if i := a.find(c.Kind, c.Label); i >= 0 {
			a.Credentials[i] = c
		} else {
			a.Credentials = append(a.Credentials, c)
		}
		return nil
	})
	return put(ctx)
}
