package vault

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/epinet/epi/apps/chat/hall"
	"github.com/epinet/epi/apps/chat/ircmsg"
	"github.com/epinet/epi/apps/chat/store"
)

// An Identity is who somebody is elsewhere: in a company's directory, or at a provider
// of OpenID Connect.
type Identity struct {
	// Name is the account's that belongs to it, as it is made at the first login.
	Name string
	// Subject never changes and is nobody else's, whatever the name does.
	Subject string
	Email   string
	// Governed: whether somebody administers the chat is decided elsewhere, and is Admin.
	Governed bool
	Admin    bool
}

// A Directory checks the passwords that a company has elsewhere.
type Directory interface {
	// Check returns who has that name and password: ErrWrong when nobody does, and
	// another error when that could not be asked.
	Check(ctx context.Context, name, password string) (Identity, error)
}

// A Provider checks bearer tokens.
type Provider interface {
	// Check returns whose token it is, with errors as Directory.Check.
	Check(ctx context.Context, token string) (Identity, error)
}

// ErrWrong is the error for a password or a token that is wrong.
var ErrWrong = errors.New("wrong")

// Through returns the vault with logins of elsewhere besides its own; each may be nil.
// The accounts are made in the store when they are needed first.
func (v *Vault) Through(d Directory, p Provider) *Vault {
	v.directory, v.provider = d, p
	return v
}

// checkElsewhere asks the directory for a password.
func (v *Vault) checkElsewhere(ctx context.Context, w *hall.Work) hall.Result {
	if v.directory == nil || w.Account == "" || w.Password == "" {
		return hall.Result{}
	}
	who, err := v.directory.Check(ctx, w.Account, w.Password)
	return v.admit(ctx, who, err)
}

// checkToken asks whose bearer token it is.
func (v *Vault) checkToken(ctx context.Context, w *hall.Work) hall.Result {
	if v.provider == nil {
		return hall.Result{Text: "this server takes no tokens"}
	}
	who, err := v.provider.Check(ctx, w.Password)
	r := v.admit(ctx, who, err)
	if r.OK && w.Account != "" && !ircmsg.ASCII.Equal(w.Account, r.Account) {
		return hall.Result{} // the token is somebody else's
	}
	return r
}

// admit returns the account of an identity, which it makes if there is none yet. An
// account that was made in another way is not given away, whatever it is called.
func (v *Vault) admit(ctx context.Context, who Identity, err error) hall.Result {
	switch {
	case errors.Is(err, ErrWrong):
		return hall.Result{}
	case err != nil || v.kept == nil:
		return hall.Result{Code: "TEMPORARILY_UNAVAILABLE", Text: "Logins cannot be checked now; try again later", Pending: true}
	}
	a, err := v.kept.store.FindCredential(ctx, store.OpenID, who.Subject)
	if errors.Is(err, store.ErrNotFound) {
		a, err = v.adopt(ctx, who)
	}
	switch {
	case errors.Is(err, store.ErrExists):
		return hall.Result{Code: "ACCOUNT_EXISTS", Text: "An account of that name was made in another way: ask an administrator"}
	case errors.Is(err, errNoName):
		return hall.Result{Code: "BAD_ACCOUNT_NAME", Text: "Your name elsewhere cannot be that of an account here: ask an administrator"}
	case err != nil:
		return hall.Result{Code: "TEMPORARILY_UNAVAILABLE", Text: "The account could not be kept; try again later", Pending: true}
	case a.Suspended != "":
		return hall.Result{}
	}
	if err := v.govern(ctx, a, who); err != nil {
		return hall.Result{Code: "TEMPORARILY_UNAVAILABLE", Text: "The account's role could not be kept; try again later", Pending: true}
	}
	return hall.Result{OK: true, Account: a.Name}
}

// AdminRole is the role of accounts that administer the chat.
const AdminRole = "admin"

// govern gives an account the role that it has elsewhere, where that decides.
func (v *Vault) govern(ctx context.Context, a store.Account, who Identity) error {
	role := ""
	if who.Admin {
		role = AdminRole
	}
	if !who.Governed || a.Role == role {
		return nil
	}
	return v.kept.writer.Do(ctx, store.SetRole{Account: a.Name, Role: role})
}

var errNoName = errors.New("no name of an account")

// adopt makes the account of an identity.
func (v *Vault) adopt(ctx context.Context, who Identity) (store.Account, error) {
	name := accountName(who.Name)
	if name == "" {
		return store.Account{}, errNoName
	}
	if v.accounts[ircmsg.ASCII.Fold(name)] != nil {
		return store.Account{}, store.ErrExists
	}
	now := time.Now()
	a := store.Account{Name: name, Created: now, Email: who.Email, Verified: who.Email != ""}
	err := v.kept.writer.Do(ctx, store.AddAccount{
		Account:     a,
		Credentials: []store.Credential{{Account: name, Kind: store.OpenID, Label: "login", Secret: who.Subject, Created: now}},
	})
	if errors.Is(err, store.ErrExists) {
		// Two logins of the same new identity may have come at once.
		if a, found := v.kept.store.FindCredential(ctx, store.OpenID, who.Subject); found == nil {
			return a, nil
		}
	}
	return a, err
}

// maxAccountName is in bytes, as that of a nick.
const maxAccountName = 32

// accountName returns a name from elsewhere as an account can have it, "" when it
// cannot: an address is known by what is before its @, and a space or a dot becomes an
// underscore.
func accountName(name string) string {
	name, _, _ = strings.Cut(name, "@")
	name = strings.NewReplacer(" ", "_", ".", "_").Replace(strings.TrimSpace(name))
	letter := func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '_' || r == '-'
	}
	if name == "" || len(name) > maxAccountName || strings.IndexFunc(name, func(r rune) bool { return !letter(r) }) >= 0 ||
		'0' <= name[0] && name[0] <= '9' || name[0] == '-' {
		return ""
	}
	return name
}

// subjectOf names an identity of some place: no two places have the same.
func subjectOf(place, id string) string { return fmt.Sprintf("%s %s", place, id) }
