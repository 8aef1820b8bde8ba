package vault_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/epinet/epi/apps/chat/hall"
	"github.com/epinet/epi/apps/chat/vault"
)

// TestAccountsAreManaged changes, suspends, shows and removes accounts, those of the
// configuration excepted.
func TestAccountsAreManaged(t *testing.T) {
	v, _ := withAccounts(t)
	for _, step := range []struct {
		what string
		work hall.Work
		ok   bool
		says string // in one of the lines, or in the text
	}{
		{"make", hall.Work{Kind: hall.RegisterAccount, Account: "Bob", Password: "secret", Email: "b@example.org"}, true, ""},
		{"find", hall.Work{Kind: hall.FindAccount, Account: "bob"}, true, ""},
		{"find one of the configuration", hall.Work{Kind: hall.FindAccount, Account: "ALICE"}, true, ""},
		{"find nobody", hall.Work{Kind: hall.FindAccount, Account: "carol"}, false, "no such account"},
		{"describe to the owner", hall.Work{Kind: hall.DescribeAccount, Account: "bob", Whole: true}, true, "b@example.org"},
		{"list", hall.Work{Kind: hall.ListAccounts, Account: "*o*"}, true, "Bob"},
		{"change with a wrong password", hall.Work{Kind: hall.SetPassword, Account: "bob", Password: "x", New: "other"}, false, "Wrong password"},
		{"change", hall.Work{Kind: hall.SetPassword, Account: "bob", Password: "secret", New: "other"}, true, ""},
		{"the old one", hall.Work{Kind: hall.CheckPassword, Account: "bob", Password: "secret"}, false, ""},
		{"the new one", hall.Work{Kind: hall.CheckPassword, Account: "bob", Password: "other"}, true, ""},
		{"change that of the configuration", hall.Work{Kind: hall.SetPassword, Account: "alice", Password: "a", New: "other"}, false, "configuration"},
		{"suspend", hall.Work{Kind: hall.SuspendAccount, Account: "bob", Reason: "noise"}, true, ""},
		{"log in", hall.Work{Kind: hall.CheckPassword, Account: "bob", Password: "other"}, false, ""},
		{"describe", hall.Work{Kind: hall.DescribeAccount, Account: "bob"}, true, "noise"},
		{"list", hall.Work{Kind: hall.ListAccounts, Account: "b*"}, true, "noise"},
		{"end that", hall.Work{Kind: hall.UnsuspendAccount, Account: "bob"}, true, ""},
		{"log in", hall.Work{Kind: hall.CheckPassword, Account: "bob", Password: "other"}, true, ""},
		{"suspend nobody", hall.Work{Kind: hall.SuspendAccount, Account: "carol"}, false, "no such account"},
		{"remove with a wrong password", hall.Work{Kind: hall.RemoveAccount, Account: "bob", Password: "x"}, false, "Wrong password"},
		{"remove", hall.Work{Kind: hall.RemoveAccount, Account: "bob", Password: "other"}, true, ""},
		{"find", hall.Work{Kind: hall.FindAccount, Account: "bob"}, false, "no such account"},
	} {
		r := v.Do(context.Background(), &step.work)
		if said := strings.Join(append(r.Lines, r.Text), "\n"); r.OK != step.ok || !strings.Contains(said, step.says) {
			t.Errorf("%s: %+v, want OK %t and %q", step.what, r, step.ok, step.says)
		}
	}
	if r := v.Do(context.Background(), &hall.Work{Kind: hall.DescribeAccount, Account: "alice"}); len(r.Lines) != 1 {
		t.Errorf("others read %q", r.Lines)
	}
}

// TestAnAccountIsGuessedAtFromManyAddresses: each address has few guesses, and all
// together have few for one account.
func TestAnAccountIsGuessedAtFromManyAddresses(t *testing.T) {
	g := vault.NewGuesses()
	n := 0
	for ; n < 1000 && g.May(address(n), "alice"); n++ {
		g.Wrong(address(n), "alice")
	}
	if n < 20 || n > 100 {
		t.Errorf("%d guesses", n)
	}
	if g.May(address(2000), "alice") || !g.May(address(2000), "bob") {
		t.Error("the wrong account is closed")
	}
}

func address(n int) string { return fmt.Sprintf("10.0.%d.%d", n/256, n%256) }
