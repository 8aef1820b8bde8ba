package vault

import (
	"context"
	"errors"
	"time"

	"github.com/epinet/epi/apps/chat/hall"
	"github.com/epinet/epi/apps/chat/ircmsg"
	"github.com/epinet/epi/apps/chat/store"
)

var (
	noAccount    = hall.Result{Code: "ACCOUNT_UNKNOWN", Text: "There is no such account"}
	configured   = hall.Result{Text: "The account is in the configuration: its administrators change it"}
	notKept      = hall.Result{Code: "TEMPORARILY_UNAVAILABLE", Text: "That could not be kept; try again later"}
	wrong        = hall.Result{Text: "Wrong password"}
	notPermitted = hall.Result{Code: "UNACCEPTABLE_PASSWORD", Text: "That password cannot be used"}
)

// maxListed bounds the answer to ListAccounts.
const maxListed = 1000

var errEnough = errors.New("enough")

// look answers what asks of accounts.
func (v *Vault) look(ctx context.Context, w *hall.Work) hall.Result {
	if w.Kind == hall.ListAccounts {
		return v.list(ctx, w.Account)
	}
	if a := v.accounts[ircmsg.ASCII.Fold(w.Account)]; a != nil {
		return hall.Result{OK: true, Account: a.Name, Lines: []string{"Account: " + a.Name}}
	}
	a, ok := v.kept.account(ctx, w.Account)
	if !ok {
		return noAccount
	}
	lines := []string{"Account: " + a.Name, "Created: " + a.Created.UTC().Format(time.RFC3339)}
	if w.Whole && a.Email != "" {
		lines = append(lines, "Email: "+a.Email)
	}
	if a.Suspended != "" {
		lines = append(lines, "Suspended: "+a.Suspended)
	}
	return hall.Result{OK: true, Account: a.Name, Lines: lines}
}

// account returns an account, suspended or not.
func (k *accounts) account(ctx context.Context, name string) (store.Account, bool) {
	if k == nil || name == "" {
		return store.Account{}, false
	}
	a, err := k.store.Account(ctx, name)
	return a, err == nil
}

func (v *Vault) list(ctx context.Context, mask string) hall.Result {
	r := hall.Result{OK: true}
	for _, a := range v.accounts {
		if ircmsg.ASCII.Match(mask, a.Name) {
			r.Lines = append(r.Lines, a.Name+" (in the configuration)")
		}
	}
	if v.kept == nil {
		return r
	}
	err := v.kept.store.Accounts(ctx, func(a store.Account) error {
		if !ircmsg.ASCII.Match(mask, a.Name) {
			return nil
		}
		line := a.Name
		if a.Suspended != "" {
			line += " (suspended: " + a.Suspended + ")"
		}
		r.Lines = append(r.Lines, line)
		if len(r.Lines) >= maxListed {
			r.Lines = append(r.Lines, "There are more; ask for a mask")
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return notKept
	}
	return r
}

// change changes an account that people have made.
func (v *Vault) change(ctx context.Context, w *hall.Work) hall.Result {
	if v.accounts[ircmsg.ASCII.Fold(w.Account)] != nil {
		return configured
	}
	a, ok := v.kept.account(ctx, w.Account)
	if !ok {
		return noAccount
	}
	switch w.Kind {
	case hall.SetPassword, hall.RemoveAccount:
		check := *w
		check.Kind = hall.CheckPassword
		if r := v.guarded(ctx, &check); !r.OK {
			if r.Text != "" {
				return r
			}
			return wrong
		}
		if w.Kind == hall.RemoveAccount {
			return v.kept.do(ctx, a.Name, store.RemoveAccount{Name: a.Name})
		}
		return v.setPassword(ctx, a.Name, w.New)
	case hall.UnsuspendAccount:
		return v.kept.do(ctx, a.Name, store.SetSuspended{Account: a.Name})
	}
	return v.kept.do(ctx, a.Name, store.SetSuspended{Account: a.Name, Reason: w.Reason})
}

// setPassword replaces what PLAIN and what SCRAM-SHA-256 need.
func (v *Vault) setPassword(ctx context.Context, account, password string) hall.Result {
	plain, scram, err := Hash(password, v.cost)
	if err != nil {
		return notPermitted
	}
	now := time.Now()
	return v.kept.do(ctx, account,
		store.PutCredential{Credential: store.Credential{Account: account, Kind: store.Password, Secret: plain, Created: now}},
		store.PutCredential{Credential: store.Credential{Account: account, Kind: store.SCRAM, Secret: scram, Created: now}})
}

// do writes, and waits until all of it is durable.
func (k *accounts) do(ctx context.Context, account string, writes ...store.Write) hall.Result {
	for _, w := range writes {
		if err := k.writer.Do(ctx, w); err != nil {
			return notKept
		}
	}
	return hall.Result{OK: true, Account: account}
}
