package vault_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/epinet/epi/apps/chat/config"
	"github.com/epinet/epi/apps/chat/hall"
	"github.com/epinet/epi/apps/chat/vault"
	"github.com/epinet/epi/internal/epitest"
	"github.com/epinet/epi/internal/freeport"
)

const slapdConfiguration = `include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile %[1]s/slapd.pid
database mdb
suffix "dc=example,dc=org"
rootdn "cn=admin,dc=example,dc=org"
rootpw secret
directory %[1]s/data
access to attrs=userPassword by anonymous auth by * none
access to dn.subtree="ou=groups,dc=example,dc=org" by users read by * none
access to * by dn.exact="cn=admin,dc=example,dc=org" read by anonymous auth by * none
`

const slapdEntries = `dn: dc=example,dc=org
objectClass: dcObject
objectClass: organization
o: Example
dc: example

dn: ou=people,dc=example,dc=org
objectClass: organizationalUnit
ou: people

dn: uid=ann,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: ann
cn: Ann
sn: Lee
mail: ann@example.org
employeeType: staff
userPassword: right

dn: uid=bob,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: bob
cn: Bob
sn: Lee
employeeType: guest
userPassword: right

dn: ou=groups,dc=example,dc=org
objectClass: organizationalUnit
ou: groups

dn: cn=admins,ou=groups,dc=example,dc=org
objectClass: groupOfNames
cn: admins
member: uid=ann,ou=people,dc=example,dc=org
`

// startDirectory starts Debian's slapd, and returns its URL.
func startDirectory(t *testing.T) string {
	t.Helper()
	slapd := "/usr/sbin/slapd"
	if _, err := os.Stat(slapd); err != nil {
		t.Skip("slapd is not installed: scripts/install-test-tools does that")
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	conf, entries := filepath.Join(dir, "slapd.conf"), filepath.Join(dir, "entries.ldif")
	for name, text := range map[string]string{conf: fmt.Sprintf(slapdConfiguration, dir), entries: slapdEntries} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command(slapd, "-T", "add", "-f", conf, "-l", entries).CombinedOutput(); err != nil {
		t.Fatalf("slapadd: %v\n%s", err, out)
	}
	address, err := freeport.Next()
	if err != nil {
		t.Fatal(err)
	}
	url := "ldap://" + address
	cmd := exec.Command(slapd, "-h", url, "-f", conf, "-d", "0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait() // it ends by the signal
	})
	epitest.WaitUntil(t, "slapd answers", func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	return url
}

func TestLDAP(t *testing.T) {
	url := startDirectory(t)
	byTemplate := config.LDAP{URL: url, UserDN: "uid={name},ou=people,dc=example,dc=org", NameAttribute: "uid"}
	bySearch := config.LDAP{
		URL: url, SearchBase: "dc=example,dc=org", SearchFilter: "(&(uid={name})(employeeType=staff))",
		SearchDN: "cn=admin,dc=example,dc=org", SearchPassword: "secret", NameAttribute: "uid",
	}
	for name, c := range map[string]config.LDAP{"template": byTemplate, "search": bySearch} {
		t.Run(name, func(t *testing.T) {
			d, err := vault.NewLDAP(c)
			if err != nil {
				t.Fatal(err)
			}
			v, s := withAccounts(t)
			v.Through(d, nil)
			for what, tt := range map[string]struct {
				name, password string
				ok             bool
			}{
				"right":               {"ann", "right", true},
				"capitals":            {"ANN", "right", true},
				"wrong":               {"ann", "wrong", false},
				"empty":               {"ann", "", false},
				"nobody":              {"carol", "right", false},
				"no name":             {"", "right", false},
				"another entry":       {"ann,ou=people,dc=example,dc=org", "right", false},
				"every entry":         {"*", "right", false},
				"a filter":            {"ann)(uid=*", "right", false},
				"NUL":                 {"ann\x00", "right", false},
				"the configuration's": {"alice", "right", false},
			} {
				got := v.Do(context.Background(), &hall.Work{Kind: hall.CheckPassword, Account: tt.name, Password: tt.password})
				if got.OK != tt.ok || tt.ok && !strings.EqualFold(got.Account, "ann") || got.Pending {
					t.Errorf("%s: %+v", what, got)
				}
			}
			bob := v.Do(context.Background(), &hall.Work{Kind: hall.CheckPassword, Account: "bob", Password: "right"})
			if bob.OK != (name == "template") {
				t.Errorf("the filter lets in staff alone: %+v", bob)
			}
			if a, err := s.Account(t.Context(), "ann"); err != nil || name == "search" && a.Email != "ann@example.org" {
				t.Errorf("the account is %+v, %v", a, err)
			}
			// Who has an account already does not lose it to the directory.
			v.Do(context.Background(), &hall.Work{Kind: hall.RegisterAccount, Account: "dora", Password: "secret"})
			if r := v.Do(context.Background(), &hall.Work{Kind: hall.CheckPassword, Account: "dora", Password: "secret"}); !r.OK {
				t.Errorf("an account of one's own: %+v", r)
			}
		})
	}
}

// TestLDAPGroup: who is in the group administers the chat, and who is not any more does
// not; a group that cannot be read decides nothing.
func TestLDAPGroup(t *testing.T) {
	url := startDirectory(t)
	const group = "cn=admins,ou=groups,dc=example,dc=org"
	byTemplate := config.LDAP{URL: url, UserDN: "uid={name},ou=people,dc=example,dc=org", NameAttribute: "uid", AdminGroup: group}
	bySearch := config.LDAP{
		URL: url, SearchBase: "dc=example,dc=org", SearchFilter: "(uid={name})", SearchDN: "cn=admin,dc=example,dc=org",
		SearchPassword: "secret", NameAttribute: "uid", AdminGroup: group,
	}
	for name, c := range map[string]config.LDAP{"template": byTemplate, "search": bySearch} {
		t.Run(name, func(t *testing.T) {
			v, s := withAccounts(t)
			login := func(c config.LDAP, account string) hall.Result {
				d, err := vault.NewLDAP(c)
				if err != nil {
					t.Fatal(err)
				}
				return v.Through(d, nil).Do(context.Background(), &hall.Work{Kind: hall.CheckPassword, Account: account, Password: "right"})
			}
			role := func(account, want string) {
				t.Helper()
				if a, err := s.Account(t.Context(), account); err != nil || a.Role != want {
					t.Errorf("%s has the role %q, %v; not %q", account, a.Role, err, want)
				}
			}
			for account, want := range map[string]string{"ann": vault.AdminRole, "bob": ""} {
				if r := login(c, account); !r.OK {
					t.Fatalf("%s: %+v", account, r)
				}
				role(account, want)
			}
			nowhere := c
			nowhere.AdminGroup = "cn=nowhere,ou=groups,dc=example,dc=org"
			if r := login(nowhere, "ann"); r.OK || r.Code != "TEMPORARILY_UNAVAILABLE" {
				t.Errorf("without the group: %+v", r)
			}
			role("ann", vault.AdminRole)
			alone := c
			alone.AdminGroup = "ou=groups,dc=example,dc=org" // has no members
			if r := login(alone, "ann"); !r.OK {
				t.Errorf("after she has left: %+v", r)
			}
			role("ann", "")
			ungoverned := c
			ungoverned.AdminGroup = ""
			login(c, "ann")
			login(ungoverned, "ann")
			role("ann", vault.AdminRole)
		})
	}
}

// TestLDAPDown: a directory that does not answer is nobody's wrong password.
func TestLDAPDown(t *testing.T) {
	d, err := vault.NewLDAP(config.LDAP{URL: "ldap://127.0.0.1:1", UserDN: "uid={name}"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Check(t.Context(), "ann", "right"); err == nil || errors.Is(err, vault.ErrWrong) {
		t.Errorf("the error is %v", err)
	}
	v, _ := withAccounts(t)
	v.Through(d, nil)
	for range 30 {
		if r := v.Do(context.Background(), &hall.Work{Kind: hall.CheckPassword, Account: "ann", Password: "right"}); r.OK || r.Code != "TEMPORARILY_UNAVAILABLE" {
			t.Fatalf("%+v", r)
		}
	}
}

func TestLDAPConfiguration(t *testing.T) {
	good := config.LDAP{URL: "ldaps://ldap.example.org", SearchBase: "dc=example", SearchFilter: "(uid={name})"}
	if _, err := vault.NewLDAP(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*config.LDAP){
		"plain text":       func(c *config.LDAP) { c.URL = "ldap://ldap.example.org" },
		"no URL":           func(c *config.LDAP) { c.URL = "ldap.example.org" },
		"both":             func(c *config.LDAP) { c.UserDN = "uid={name}" },
		"neither":          func(c *config.LDAP) { c.SearchBase = "" },
		"no place":         func(c *config.LDAP) { c.SearchFilter = "(uid=x)" },
		"no filter":        func(c *config.LDAP) { c.SearchFilter = "(uid={name}" },
		"no group":         func(c *config.LDAP) { c.AdminGroup = "admins" },
		"no such CA":       func(c *config.LDAP) { c.CAFile = "/nowhere" },
		"CA without certs": func(c *config.LDAP) { c.CAFile = "/dev/null" },
	} {
		c := good
		change(&c)
		if _, err := vault.NewLDAP(c); err == nil {
			t.Errorf("%s: there is no error", name)
		}
	}
}
