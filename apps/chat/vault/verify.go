package vault

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	netmail "net/mail"
	"strings"
	"time"

	"github.com/epinet/epi/apps/chat/hall"
	"github.com/epinet/epi/apps/chat/store"
)

// codeLasts is how long a code may be used, and how long a name is reserved for the client that
// asked for it.
const codeLasts = 24 * time.Hour

// Mail returns the vault with a mailer, with which people show that an address is
// theirs before they can use an account. network is what they know the chat by.
func (v *Vault) Mail(m Mailer, network string) *Vault {
	v.mailer, v.network = m, network
	return v
}

// code is a credential with which nobody logs in: an account that has one cannot be
// used yet.
func codeOf(account, code string, now time.Time) store.Credential {
	return store.Credential{Account: account, Kind: store.Code, Secret: hashCode(code), Created: now}
}

func hashCode(code string) string {
	sum := sha256.Sum256([]byte(strings.ToUpper(strings.TrimSpace(code))))
	return hex.EncodeToString(sum[:])
}

// waitsForCode returns the code that an account is still to be shown, if there is one.
func waitsForCode(credentials []store.Credential) (store.Credential, bool) {
	for _, c := range credentials {
		if c.Kind == store.Code {
			return c, true
		}
	}
	return store.Credential{}, false
}

// codeLength is in letters to base 32: 60 bits.
const codeLength = 12

// askForCode sends a code to the address of an account that is to be made.
func (v *Vault) askForCode(ctx context.Context, name, email string) (code string, refused *hall.Result) {
	address, err := netmail.ParseAddress(email)
	if err != nil || address.Address != email || strings.ContainsAny(email, "\r\n\x00") {
		return "", &hall.Result{Code: "INVALID_EMAIL", Text: "That is no address for mail"}
	}
	if !v.guesses.mails.take(strings.ToLower(email), v.guesses.now()) {
		return "", &hall.Result{Code: "TEMPORARILY_UNAVAILABLE", Text: "Too many messages were sent; try again in an hour"}
	}
	code = rand.Text()[:codeLength]
	text := fmt.Sprintf("Somebody, hopefully you, wants the account %s at the chat %s.\n\nTo finish that, send there, within 24 hours:\n\n    /msg NickServ VERIFY %s %s\n\nIf it was not you, there is nothing to do.\n",
		name, v.network, name, code)
	if err := v.mailer.Send(ctx, email, "Your account at "+v.network, text); err != nil {
		return "", &hall.Result{Code: "UNACCEPTABLE_EMAIL", Text: "No message could be sent to that address"}
	}
	return code, nil
}

// verify finishes the making of an account.
func (v *Vault) verify(ctx context.Context, w *hall.Work) hall.Result {
	invalid := hall.Result{Code: "INVALID_CODE", Text: "The code is wrong, or too old"}
	a, ok := v.kept.account(ctx, w.Account)
	if !ok {
		return invalid
	}
	if !v.guesses.May(w.Address, "") {
		return hall.Result{Code: "TEMPORARILY_UNAVAILABLE", Text: "Too many wrong codes; try again later", Pending: true}
	}
	credentials, err := v.kept.store.Credentials(ctx, a.Name)
	if err != nil {
		return notKept
	}
	code, waits := waitsForCode(credentials)
	if !waits || v.guesses.now().Sub(code.Created) > codeLasts || subtle.ConstantTimeCompare([]byte(code.Secret), []byte(hashCode(w.Password))) != 1 {
		v.guesses.Wrong(w.Address, "")
		return invalid
	}
	if v.kept.writer.Do(ctx, store.SetVerified{Account: a.Name}) != nil ||
		v.kept.writer.Do(ctx, store.RemoveCredential{Account: a.Name, Kind: store.Code}) != nil {
		return notKept
	}
	return hall.Result{OK: true, Account: a.Name}
}

// forgetLate removes an account that nobody has finished in time.
func (v *Vault) forgetLate(ctx context.Context, name string) {
	credentials, err := v.kept.store.Credentials(ctx, name)
	if err != nil {
		return
	}
	if code, waits := waitsForCode(credentials); waits && v.guesses.now().Sub(code.Created) > codeLasts {
		_ = v.kept.writer.Do(ctx, store.RemoveAccount{Name: name}) // otherwise the name stays taken
	}
}
