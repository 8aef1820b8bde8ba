package vault_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/epinet/epi/apps/chat/config"
	"github.com/epinet/epi/apps/chat/hall"
	"github.com/epinet/epi/apps/chat/vault"
)

func TestEveryFormOfAPasswordMatches(t *testing.T) {
	const password = "pässword: ünd $2 mehr"
	bcrypt, scram, err := vault.Hash(password, 4)
	if err != nil {
		t.Fatal(err)
	}
	for _, kept := range []string{password, bcrypt, scram} {
		if !vault.Matches(kept, password) {
			t.Errorf("%q does not match", kept)
		}
		for _, wrong := range []string{"", kept + "x", strings.ToUpper(password), password[:4]} {
			if vault.Matches(kept, wrong) {
				t.Errorf("%q matches %q", kept, wrong)
			}
		}
	}
	for _, broken := range []string{"", "$2a$", "SCRAM-SHA-256$", "SCRAM-SHA-256$1:a$b:c", "SCRAM-SHA-256$x"} {
		if vault.Matches(broken, "") || vault.Matches(broken, password) {
			t.Errorf("the broken form %q matches", broken)
		}
	}
}

func open() *vault.Vault {
	return vault.New(&config.Config{
		Server:    config.Server{Password: "door"},
		Accounts:  []config.Account{{Name: "Alice", Password: "a", Fingerprints: []string{"AB:CD"}}, {Name: "bob", Fingerprints: []string{"ef"}}},
		Operators: []config.Operator{{Name: "root", Password: "r", From: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}},
		WebIRC:    []config.WebIRC{{Name: "kiwi", Password: "k", From: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/32")}}},
	}, vault.NewGuesses())
}

func TestWorks(t *testing.T) {
	for _, test := range []struct {
		work    hall.Work
		ok      bool
		account string
	}{
		{hall.Work{Kind: hall.CheckPassword, Account: "ALICE", Password: "a"}, true, "Alice"},
		{hall.Work{Kind: hall.CheckPassword, Account: "alice", Password: "b"}, false, ""},
		{hall.Work{Kind: hall.CheckPassword, Account: "bob", Password: ""}, false, ""},
		{hall.Work{Kind: hall.CheckPassword, Account: "carol", Password: "a"}, false, ""},
		{hall.Work{Kind: hall.FindCertificate, Fingerprint: "abcd"}, true, "Alice"},
		{hall.Work{Kind: hall.FindCertificate, Account: "bob", Fingerprint: "abcd"}, false, ""},
		{hall.Work{Kind: hall.FindCertificate, Fingerprint: ""}, false, ""},
		{hall.Work{Kind: hall.FindVerifier, Account: "alice"}, true, "Alice"},
		{hall.Work{Kind: hall.FindVerifier, Account: "bob"}, false, ""},
		{hall.Work{Kind: hall.CheckServer, Password: "door"}, true, ""},
		{hall.Work{Kind: hall.CheckServer, Password: ""}, false, ""},
		{hall.Work{Kind: hall.CheckOperator, Account: "root", Password: "r", Address: "10.1.2.3"}, true, "root"},
		{hall.Work{Kind: hall.CheckOperator, Account: "root", Password: "r", Address: "11.1.2.3"}, false, ""},
		{hall.Work{Kind: hall.CheckOperator, Account: "root", Password: "r", Address: ""}, false, ""},
		{hall.Work{Kind: hall.CheckOperator, Account: "Root", Password: "r", Address: "10.1.2.3"}, false, ""},
		{hall.Work{Kind: hall.CheckGateway, Account: "kiwi", Password: "k", Address: "10.0.0.1"}, true, ""},
		{hall.Work{Kind: hall.CheckGateway, Account: "kiwi", Password: "k", Address: "10.0.0.2"}, false, ""},
		{hall.Work{Kind: hall.RegisterAccount, Account: "x"}, false, ""},
	} {
		got := open().Do(context.Background(), &test.work)
		if got.OK != test.ok || test.account != "" && got.Account != test.account {
			t.Errorf("%+v: %+v", test.work, got)
		}
	}
}

func TestGuessingIsSlowedByAddress(t *testing.T) {
	v := open()
	guess := func(address, password string) hall.Result {
		return v.Do(context.Background(), &hall.Work{Kind: hall.CheckPassword, Account: "alice", Password: password, Address: address})
	}
	for i := range 20 {
		guess(fmt.Sprintf("2001:db8::%x", i), "wrong")
	}
	if r := guess("2001:db8::ffff", "a"); r.OK || !r.Pending {
		t.Errorf("after 20 wrong passwords from its network: %+v", r)
	}
	if r := guess("2001:db8:0:1::1", "a"); !r.OK {
		t.Errorf("from elsewhere: %+v", r)
	}
}
