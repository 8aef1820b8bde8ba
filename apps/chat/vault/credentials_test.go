package vault_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/epinet/epi/apps/chat/hall"
)

// TestCertificatesAndDevices gives an account further ways to log in, uses them, and
// takes them back.
func TestCertificatesAndDevices(t *testing.T) {
	v, _ := withAccounts(t)
	do := func(w hall.Work) hall.Result { return v.Do(context.Background(), &w) }
	for _, name := range []string{"bob", "carol"} {
		if r := do(hall.Work{Kind: hall.RegisterAccount, Account: name, Password: "secret"}); !r.OK {
			t.Fatal(r)
		}
	}
	mark := strings.Repeat("ab", 32)
	device := do(hall.Work{Kind: hall.AddDevice, Account: "bob", Label: "my phone"})
	if !device.OK || len(device.Lines) != 1 {
		t.Fatalf("%+v", device)
	}
	for _, step := range []struct {
		what string
		work hall.Work
		ok   bool
		says string
	}{
		{"add a certificate", hall.Work{Kind: hall.AddCertificate, Account: "bob", Fingerprint: mark}, true, ""},
		{"another's", hall.Work{Kind: hall.AddCertificate, Account: "carol", Fingerprint: mark}, false, "Another account"},
		{"one of the configuration", hall.Work{Kind: hall.AddCertificate, Account: "alice", Fingerprint: mark}, false, "configuration"},
		{"of nobody", hall.Work{Kind: hall.AddDevice, Account: "dave", Label: "x"}, false, "no such account"},
		{"log in with it", hall.Work{Kind: hall.FindCertificate, Fingerprint: mark}, true, ""},
		{"log in with the device", hall.Work{Kind: hall.CheckPassword, Account: "bob", Password: device.Lines[0]}, true, ""},
		{"as another", hall.Work{Kind: hall.CheckPassword, Account: "carol", Password: device.Lines[0]}, false, ""},
		{"list the certificate", hall.Work{Kind: hall.ListCredentials, Account: "bob"}, true, "Certificate " + mark},
		{"list the device", hall.Work{Kind: hall.ListCredentials, Account: "bob"}, true, "Device my phone"},
		{"remove the device", hall.Work{Kind: hall.RemoveDevice, Account: "bob", Label: "my phone"}, true, ""},
		{"again", hall.Work{Kind: hall.RemoveDevice, Account: "bob", Label: "my phone"}, false, "none of that name"},
		{"log in with the device", hall.Work{Kind: hall.CheckPassword, Account: "bob", Password: device.Lines[0]}, false, ""},
		{"remove the certificate", hall.Work{Kind: hall.RemoveCertificate, Account: "bob", Fingerprint: mark}, true, ""},
		{"log in with it", hall.Work{Kind: hall.FindCertificate, Fingerprint: mark}, false, ""},
		{"the password is as it was", hall.Work{Kind: hall.CheckPassword, Account: "bob", Password: "secret"}, true, ""},
	} {
		r := do(step.work)
		if said := strings.Join(append(r.Lines, r.Text), "\n"); r.OK != step.ok || !strings.Contains(said, step.says) {
			t.Errorf("%s: %+v, want OK %t and %q", step.what, r, step.ok, step.says)
		}
	}
	n := 0
	for do(hall.Work{Kind: hall.AddDevice, Account: "carol", Label: fmt.Sprint(n)}).OK {
		if n++; n > 100 {
			t.Fatal("there is no bound")
		}
	}
}
