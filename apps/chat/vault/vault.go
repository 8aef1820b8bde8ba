// Package vault checks the secrets of a chat server: the passwords of accounts,
// operators, gateways and the server, and certificates. Its answers take the time
// of a hash, so they are asked for apart from the loops.
package vault

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/epinet/epi/apps/chat/config"
	"github.com/epinet/epi/apps/chat/hall"
	"github.com/epinet/epi/apps/chat/ircmsg"
)

// A Vault has the secrets of a configuration. Its methods may be called from any
// goroutine.
type Vault struct {
	accounts  map[string]*account // by the name in small letters
	operators map[string]*config.Operator
	gateways  map[string]*config.WebIRC
	server    string
	guesses   *Guesses
	cost      int // of bcrypt, for new passwords; 0 is about 100 ms
	decoy     func() []byte
	kept      *accounts // that people have made; nil without
	directory Directory // nil without
	provider  Provider  // nil without
	mailer    Mailer    // nil without
	network   string    // the chat's name in mails
}

type account struct {
	config.Account
	once     sync.Once
	verifier *hall.Verifier // made of a plain password when it is first needed
}

// New returns the vault of a configuration. guesses counts wrong passwords, and
// outlives the configuration.
func New(c *config.Config, guesses *Guesses) *Vault {
	v := &Vault{
		accounts:  map[string]*account{},
		operators: map[string]*config.Operator{},
		gateways:  map[string]*config.WebIRC{},
		server:    c.Server.Password,
		guesses:   guesses,
		cost:      c.Passwords.Cost,
		decoy:     newDecoy(c.Passwords.Cost),
	}
	for _, a := range c.Accounts {
		v.accounts[ircmsg.ASCII.Fold(a.Name)] = &account{Account: a}
	}
	for i := range c.Operators {
		v.operators[c.Operators[i].Name] = &c.Operators[i]
	}
	for i := range c.WebIRC {
		v.gateways[c.WebIRC[i].Name] = &c.WebIRC[i]
	}
	return v
}

// Do does the works that ask something of a vault.
func (v *Vault) Do(ctx context.Context, w *hall.Work) hall.Result {
	if v.kept != nil && v.kept.catchUp != nil && v.asksStore(w) {
		return v.inNetwork(ctx, w)
	}
	return v.do(ctx, w)
}

func (v *Vault) do(ctx context.Context, w *hall.Work) hall.Result {
	switch w.Kind {
	case hall.FindCertificate:
		return v.findCertificate(ctx, w)
	case hall.FindVerifier:
		return v.findVerifier(ctx, w)
	case hall.CheckPassword, hall.CheckToken, hall.CheckOperator, hall.CheckServer, hall.CheckGateway:
		return v.guarded(ctx, w)
	case hall.RegisterAccount:
		return v.register(ctx, w)
	case hall.VerifyAccount:
		return v.verify(ctx, w)
	case hall.FindAccount, hall.DescribeAccount, hall.ListAccounts:
		return v.look(ctx, w)
	case hall.AddCertificate, hall.RemoveCertificate, hall.AddDevice, hall.RemoveDevice, hall.ListCredentials:
		return v.credentials(ctx, w)
	case hall.SetPassword, hall.RemoveAccount, hall.SuspendAccount, hall.UnsuspendAccount:
		return v.change(ctx, w)
	}
	return hall.Result{Text: "this server cannot do that"}
}

// tooMany is the code for those who have guessed too often.
const tooMany = "TOO_MANY_ATTEMPTS"

// guarded checks a password, unless too many wrong ones came from that address.
func (v *Vault) guarded(ctx context.Context, w *hall.Work) hall.Result {
	account := ""
	if w.Kind == hall.CheckPassword {
		account = ircmsg.ASCII.Fold(w.Account)
	}
	if !v.guesses.May(w.Address, account) {
		return hall.Result{Code: tooMany, Text: "Too many wrong passwords; try again later", Pending: true}
	}
	r := v.check(ctx, w)
	if !r.OK && r.Code == "" { // otherwise the password was not what was wrong
		v.guesses.Wrong(w.Address, account)
	}
	return r
}

func (v *Vault) check(ctx context.Context, w *hall.Work) hall.Result {
	switch w.Kind {
	case hall.CheckPassword:
		a := v.accounts[ircmsg.ASCII.Fold(w.Account)]
		if a == nil {
			r, compared := v.kept.check(ctx, w)
			if !compared {
				v.waste(w.Password)
			}
			if r.OK || v.directory == nil {
				return r
			}
			return v.checkElsewhere(ctx, w)
		}
		if a.Password == "" && a.SCRAM == "" {
			v.waste(w.Password)
			return hall.Result{}
		}
		return hall.Result{OK: Matches(cmp.Or(a.Password, a.SCRAM), w.Password), Account: a.Name}
	case hall.CheckToken:
		return v.checkToken(ctx, w)
	case hall.CheckOperator:
		o := v.operators[w.Account]
		if o == nil || len(o.From) > 0 && !isFrom(o.From, w.Address) {
			v.waste(w.Password)
			return hall.Result{}
		}
		return hall.Result{OK: Matches(o.Password, w.Password), Account: o.Name}
	case hall.CheckServer:
		return hall.Result{OK: Matches(v.server, w.Password)}
	}
	return hall.Result{OK: v.mayNameAddresses(w), Account: w.Account}
}

// mayNameAddresses reports whether a gateway has the right password and comes from
// where it should. Some programs send a name of their own: a gateway whose
// password is right may have any.
func (v *Vault) mayNameAddresses(w *hall.Work) bool {
	for _, g := range v.gateways {
		if isFrom(g.From, w.Address) && Matches(g.Password, w.Password) {
			return true
		}
	}
	return false
}

// isFrom reports whether an address is in one of the networks.
func isFrom(networks []netip.Prefix, address string) bool {
	from, err := netip.ParseAddr(address)
	return err == nil && slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(from) })
}

func (v *Vault) findCertificate(ctx context.Context, w *hall.Work) hall.Result {
	for _, a := range v.accounts {
		if w.Account != "" && !ircmsg.ASCII.Equal(w.Account, a.Name) {
			continue
		}
		for _, f := range a.Fingerprints {
			if w.Fingerprint != "" && normalFingerprint(f) == w.Fingerprint {
				return hall.Result{OK: true, Account: a.Name}
			}
		}
	}
	return v.kept.findCertificate(ctx, w)
}

// normalFingerprint is without the colons that openssl prints, in small letters.
func normalFingerprint(f string) string {
	return strings.ToLower(strings.ReplaceAll(strings.TrimSpace(f), ":", ""))
}

func (v *Vault) findVerifier(ctx context.Context, w *hall.Work) hall.Result {
	if !v.guesses.May(w.Address, ircmsg.ASCII.Fold(w.Account)) {
		return hall.Result{}
	}
	a := v.accounts[ircmsg.ASCII.Fold(w.Account)]
	if a == nil {
		return v.kept.findVerifier(ctx, w)
	}
	a.once.Do(func() { a.verifier = verifierOf(cmp.Or(a.SCRAM, a.Password)) })
	return hall.Result{OK: a.verifier != nil, Account: a.Name, Verifier: a.verifier}
}
