package vault

import (
	"context"
	"errors"

	"github.com/epinet/epi/apps/chat/hall"
	"github.com/epinet/epi/apps/chat/ircmsg"
	"github.com/epinet/epi/apps/chat/store"
)

// accounts are those that people have made, in a store. A nil one has none.
type accounts struct {
	store  store.Store
	writer *store.Writer
	// catchUp waits until the store has what other machines have written; nil where
	// there are none.
	catchUp func(context.Context) error
}

// With returns the vault with the accounts of a store besides those of the
// configuration. New ones are written by writer.
func (v *Vault) With(s store.Store, writer *store.Writer) *Vault {
	v.kept = &accounts{store: s, writer: writer}
	return v
}

// InNetwork returns the vault with a store that other machines change, too: catchUp waits
// until it has what they have written. When it cannot, what the store has is enough to let
// somebody in, and not to say that an account or a password is wrong.
func (v *Vault) InNetwork(catchUp func(context.Context) error) *Vault {
	v.kept.catchUp = catchUp
	return v
}

// asksStore says whether a work is about accounts that may be in the store.
func (v *Vault) asksStore(w *hall.Work) bool {
	switch w.Kind {
	case hall.CheckOperator, hall.CheckServer, hall.CheckGateway:
		return false
	}
	return v.accounts[ircmsg.ASCII.Fold(w.Account)] == nil
}

// inNetwork does a work when the store has caught up with the other machines.
func (v *Vault) inNetwork(ctx context.Context, w *hall.Work) hall.Result {
	behind := v.kept.catchUp(ctx)
	r := v.do(ctx, w)
	if behind != nil && !r.OK && r.Code != tooMany {
		return hall.Result{Code: "TEMPORARILY_UNAVAILABLE", Text: "The accounts of the network cannot be asked for now; try again later", Pending: true}
	}
	return r
}

// find returns an account that may be used, with its credentials.
func (k *accounts) find(ctx context.Context, name string) (store.Account, []store.Credential, bool) {
	if k == nil || name == "" {
		return store.Account{}, nil, false
	}
	a, err := k.store.Account(ctx, name)
	if err != nil || a.Suspended != "" {
		return store.Account{}, nil, false
	}
	credentials, err := k.store.Credentials(ctx, name)
	if _, waits := waitsForCode(credentials); waits {
		return store.Account{}, nil, false
	}
	return a, credentials, err == nil
}

// check looks a password up: the account's, or one of its devices'. Without any there
// was nothing to compare with.
func (k *accounts) check(ctx context.Context, w *hall.Work) (r hall.Result, compared bool) {
	a, credentials, _ := k.find(ctx, w.Account)
	for _, c := range credentials {
		if c.Kind != store.Password && c.Kind != store.AppPassword {
			continue
		}
		compared = true
		if Matches(c.Secret, w.Password) {
			return hall.Result{OK: true, Account: a.Name}, true
		}
	}
	return hall.Result{}, compared
}

func (k *accounts) findVerifier(ctx context.Context, w *hall.Work) hall.Result {
	a, credentials, _ := k.find(ctx, w.Account)
	for _, c := range credentials {
		if c.Kind == store.SCRAM {
			v := verifierOf(c.Secret)
			return hall.Result{OK: v != nil, Account: a.Name, Verifier: v}
		}
	}
	return hall.Result{}
}

func (k *accounts) findCertificate(ctx context.Context, w *hall.Work) hall.Result {
	if k == nil || w.Fingerprint == "" {
		return hall.Result{}
	}
	a, err := k.store.FindCredential(ctx, store.Certificate, w.Fingerprint)
	if err != nil || a.Suspended != "" || w.Account != "" && !ircmsg.ASCII.Equal(w.Account, a.Name) {
		return hall.Result{}
	}
	return hall.Result{OK: true, Account: a.Name}
}

// register makes an account, with what PLAIN and what SCRAM-SHA-256 need.
func (v *Vault) register(ctx context.Context, w *hall.Work) hall.Result {
	if v.kept == nil {
		return hall.Result{Text: "this server cannot do that"}
	}
	taken := hall.Result{Code: "ACCOUNT_EXISTS", Text: "Account already exists"}
	if v.accounts[ircmsg.ASCII.Fold(w.Account)] != nil {
		return taken
	}
	plain, scram, err := Hash(w.Password, v.cost)
	if err != nil {
		return hall.Result{Code: "UNACCEPTABLE_PASSWORD", Text: "That password cannot be used"}
	}
	now := v.guesses.now()
	credentials := []store.Credential{
		{Account: w.Account, Kind: store.Password, Secret: plain, Created: now},
		{Account: w.Account, Kind: store.SCRAM, Secret: scram, Created: now},
	}
	verify := v.mailer != nil && w.Email != "" // an operator makes accounts without
	if verify {
		v.forgetLate(ctx, w.Account)
		if _, exists := v.kept.account(ctx, w.Account); exists {
			return taken // and nobody is written to
		}
		code, refused := v.askForCode(ctx, w.Account, w.Email)
		if refused != nil {
			return *refused
		}
		credentials = append(credentials, codeOf(w.Account, code, now))
	}
	err = v.kept.writer.Do(ctx, store.AddAccount{
		Account: store.Account{Name: w.Account, Created: now, Email: w.Email}, Credentials: credentials,
	})
	switch {
	case errors.Is(err, store.ErrExists):
		return taken
	case err != nil:
		return hall.Result{Code: "TEMPORARILY_UNAVAILABLE", Text: "The account could not be kept; try again later"}
	}
	if verify {
		return hall.Result{OK: true, Account: w.Account, Code: "VERIFICATION_REQUIRED", Text: "A code was sent to your address"}
	}
	return hall.Result{OK: true, Account: w.Account}
}
