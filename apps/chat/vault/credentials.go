package vault

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/epinet/epi/apps/chat/hall"
	"github.com/epinet/epi/apps/chat/ircmsg"
	"github.com/epinet/epi/apps/chat/store"
)

// maxCredentials bounds the certificates and devices of an account together: each
// password that is wrong is compared with those of all devices.
const maxCredentials = 50

// credentials changes or lists the certificates and devices of an account.
func (v *Vault) credentials(ctx context.Context, w *hall.Work) hall.Result {
	if v.accounts[ircmsg.ASCII.Fold(w.Account)] != nil {
		return configured
	}
	a, has, ok := v.kept.find(ctx, w.Account)
	if !ok {
		return noAccount
	}
	switch w.Kind {
	case hall.ListCredentials:
		return hall.Result{OK: true, Account: a.Name, Lines: describe(has)}
	case hall.RemoveCertificate:
		return v.kept.remove(ctx, a.Name, store.Certificate, w.Fingerprint)
	case hall.RemoveDevice:
		return v.kept.remove(ctx, a.Name, store.AppPassword, w.Label)
	}
	if len(describe(has)) >= maxCredentials {
		return hall.Result{Text: "You have too many certificates and devices"}
	}
	if w.Kind == hall.AddCertificate {
		return v.kept.add(ctx, store.Credential{Account: a.Name, Kind: store.Certificate, Label: w.Fingerprint, Secret: w.Fingerprint})
	}
	password := rand.Text()
	// Nobody guesses 128 random bits, so the cheapest hash will do.
	secret, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		return notKept
	}
	r := v.kept.add(ctx, store.Credential{Account: a.Name, Kind: store.AppPassword, Label: w.Label, Secret: string(secret)})
	if r.OK {
		r.Lines = []string{password}
	}
	return r
}

// describe returns a line for each certificate and device.
func describe(credentials []store.Credential) (lines []string) {
	for _, c := range credentials {
		switch c.Kind {
		case store.Certificate:
			lines = append(lines, "Certificate "+c.Secret+" since "+c.Created.UTC().Format(time.DateOnly))
		case store.AppPassword:
			lines = append(lines, "Device "+c.Label+" since "+c.Created.UTC().Format(time.DateOnly))
		}
	}
	return lines
}

func (k *accounts) add(ctx context.Context, c store.Credential) hall.Result {
	c.Created = time.Now()
	err := k.writer.Do(ctx, store.PutCredential{Credential: c})
	switch {
	case errors.Is(err, store.ErrExists):
		return hall.Result{Text: "Another account has that certificate"}
	case err != nil:
		return notKept
	}
	return hall.Result{OK: true, Account: c.Account}
}

func (k *accounts) remove(ctx context.Context, account string, kind store.CredentialKind, label string) hall.Result {
	err := k.writer.Do(ctx, store.RemoveCredential{Account: account, Kind: kind, Label: label})
	switch {
	case errors.Is(err, store.ErrNotFound):
		return hall.Result{Text: "You have none of that name"}
	case err != nil:
		return notKept
	}
	return hall.Result{OK: true, Account: account}
}
