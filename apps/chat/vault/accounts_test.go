package vault_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/epinet/epi/apps/chat/config"
	"github.com/epinet/epi/apps/chat/hall"
	"github.com/epinet/epi/apps/chat/store"
	"github.com/epinet/epi/apps/chat/vault"
)

// withAccounts is open with a store.
func withAccounts(t *testing.T) (*vault.Vault, store.Store) {
	t.Helper()
	s := store.NewMemory()
	c := &config.Config{Passwords: config.Passwords{Cost: 4}, Accounts: []config.Account{{Name: "Alice", Password: "a"}}}
	return vault.New(c, vault.NewGuesses()).With(s, store.NewWriter(s)), s
}

func TestAccountsThatPeopleMake(t *testing.T) {
	v, s := withAccounts(t)
	long := strings.Repeat("long password ", 20)
	for _, step := range []struct {
		what string
		work hall.Work
		want hall.Result
	}{
		{"make", hall.Work{Kind: hall.RegisterAccount, Account: "Bob", Password: "secret"}, hall.Result{OK: true, Account: "Bob"}},
		{"make again", hall.Work{Kind: hall.RegisterAccount, Account: "BOB", Password: "other"}, hall.Result{Code: "ACCOUNT_EXISTS"}},
		{"one of the configuration", hall.Work{Kind: hall.RegisterAccount, Account: "alice", Password: "other"}, hall.Result{Code: "ACCOUNT_EXISTS"}},
		{"right", hall.Work{Kind: hall.CheckPassword, Account: "bob", Password: "secret"}, hall.Result{OK: true, Account: "Bob"}},
		{"wrong", hall.Work{Kind: hall.CheckPassword, Account: "bob", Password: "other"}, hall.Result{}},
		{"empty", hall.Work{Kind: hall.CheckPassword, Account: "bob"}, hall.Result{}},
		{"nobody", hall.Work{Kind: hall.CheckPassword, Account: "carol", Password: "secret"}, hall.Result{}},
		{"a long password", hall.Work{Kind: hall.RegisterAccount, Account: "dave", Password: long}, hall.Result{OK: true, Account: "dave"}},
		{"it is right", hall.Work{Kind: hall.CheckPassword, Account: "dave", Password: long}, hall.Result{OK: true, Account: "dave"}},
		{"its beginning is not", hall.Work{Kind: hall.CheckPassword, Account: "dave", Password: long[:72]}, hall.Result{}},
		{"no certificate", hall.Work{Kind: hall.FindCertificate}, hall.Result{}},
		{"an unknown one", hall.Work{Kind: hall.FindCertificate, Fingerprint: "ab"}, hall.Result{}},
	} {
		got := v.Do(context.Background(), &step.work)
		if got.OK != step.want.OK || got.Account != step.want.Account || got.Code != step.want.Code {
			t.Errorf("%s: %+v, want %+v", step.what, got, step.want)
		}
	}
	if r := v.Do(context.Background(), &hall.Work{Kind: hall.FindVerifier, Account: "bob"}); !r.OK || r.Account != "Bob" || r.Verifier == nil {
		t.Errorf("no verifier: %+v", r)
	}
	apply(t, s, store.PutCredential{Credential: store.Credential{Account: "bob", Kind: store.Certificate, Secret: "ab"}})
	if r := v.Do(context.Background(), &hall.Work{Kind: hall.FindCertificate, Fingerprint: "ab"}); !r.OK || r.Account != "Bob" {
		t.Errorf("by certificate: %+v", r)
	}
	if r := v.Do(context.Background(), &hall.Work{Kind: hall.FindCertificate, Fingerprint: "ab", Account: "dave"}); r.OK {
		t.Errorf("by another's certificate: %+v", r)
	}
	apply(t, s, store.SetSuspended{Account: "Bob", Reason: "for a while"})
	for _, w := range []hall.Work{
		{Kind: hall.CheckPassword, Account: "bob", Password: "secret"},
		{Kind: hall.FindVerifier, Account: "bob"},
		{Kind: hall.FindCertificate, Fingerprint: "ab"},
	} {
		if r := v.Do(context.Background(), &w); r.OK {
			t.Errorf("suspended, and yet %+v", r)
		}
	}
}

func apply(t *testing.T, s store.Store, w store.Write) {
	t.Helper()
	results, err := s.Apply(context.Background(), []store.Write{w})
	if err != nil || len(results) > 0 && results[0] != nil {
		t.Fatal(err, results)
	}
}

func TestWithoutAStoreNobodyRegisters(t *testing.T) {
	v := vault.New(&config.Config{}, vault.NewGuesses())
	if r := v.Do(context.Background(), &hall.Work{Kind: hall.RegisterAccount, Account: "bob", Password: "secret"}); r.OK {
		t.Errorf("%+v", r)
	}
}

// A wrong name must cost what a wrong password costs, or the time of the answer says
// which names exist.
func TestWrongNamesCostWhatWrongPasswordsDo(t *testing.T) {
	for _, cost := range []int{4, 6} {
		c := &config.Config{Passwords: config.Passwords{Cost: cost}}
		got, err := bcrypt.Cost(vault.New(c, vault.NewGuesses()).Decoy())
		if err != nil || got != cost {
			t.Errorf("with passwords of cost %d, a wrong name costs %d (%v)", cost, got, err)
		}
	}
}

// TestNodeThatIsBehindSaysSo asks a node that cannot ask the others: whom it knows it lets in,
// and of nothing it says that it is wrong.
func TestNodeThatIsBehindSaysSo(t *testing.T) {
	v, s := withAccounts(t)
	made := hall.Work{Kind: hall.RegisterAccount, Account: "Bob", Password: "secret"}
	if r := v.Do(t.Context(), &made); !r.OK {
		t.Fatalf("%+v", r)
	}
	behind := errors.New("behind")
	var asked int
	v.InNetwork(func(context.Context) error { asked++; return behind })
	for _, step := range []struct {
		work hall.Work
		ok   bool
		code string
	}{
		{hall.Work{Kind: hall.CheckPassword, Account: "bob", Password: "secret"}, true, ""},
		{hall.Work{Kind: hall.CheckPassword, Account: "bob", Password: "other"}, false, "TEMPORARILY_UNAVAILABLE"},
		{hall.Work{Kind: hall.CheckPassword, Account: "carol", Password: "secret"}, false, "TEMPORARILY_UNAVAILABLE"},
		{hall.Work{Kind: hall.FindVerifier, Account: "carol"}, false, "TEMPORARILY_UNAVAILABLE"},
		{hall.Work{Kind: hall.FindCertificate, Fingerprint: "ab"}, false, "TEMPORARILY_UNAVAILABLE"},
		{hall.Work{Kind: hall.CheckPassword, Account: "alice", Password: "b"}, false, ""}, // of the configuration
	} {
		if r := v.Do(t.Context(), &step.work); r.OK != step.ok || r.Code != step.code {
			t.Errorf("%+v: %+v", step.work, r)
		}
	}
	if asked != 5 {
		t.Errorf("the others were asked %d times", asked)
	}
	v.InNetwork(func(context.Context) error {
		apply(t, s, store.AddAccount{Account: store.Account{Name: "Eve"}, Credentials: []store.Credential{{Kind: store.Password, Secret: "new"}}})
		return nil
	})
	if r := v.Do(t.Context(), &hall.Work{Kind: hall.CheckPassword, Account: "eve", Password: "new"}); !r.OK {
		t.Errorf("an account that came while the node caught up: %+v", r)
	}
}
