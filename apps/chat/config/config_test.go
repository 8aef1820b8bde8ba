package config_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/epinet/epi/apps/chat/config"
)

func read(t *testing.T, text string, sets ...string) (*config.Config, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "chat.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return config.Read(file, sets)
}

func TestDefaultsAreComplete(t *testing.T) {
	c, err := config.Read("", nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.Limits.Nick != 32 || c.Timeouts.Ping != config.Duration(90*time.Second) || c.Queues.Hard != 1<<20 {
		t.Errorf("the defaults are %+v", c)
	}
}

func TestFileOverridesSingleKeys(t *testing.T) {
	c, err := read(t, "\ufeff[server]\nname = \"irc.example.org\"\n[[operator]]\nname = \"root\"\npassword = \"x\"\nfrom = [\"10.0.0.0/8\"]\n")
	if err != nil {
		t.Fatal(err)
	}
	if c.Server.Name != "irc.example.org" || c.Server.Network != "epi" {
		t.Errorf("server is %+v", c.Server)
	}
	if len(c.Operators) != 1 || c.Operators[0].From[0] != netip.MustParsePrefix("10.0.0.0/8") {
		t.Errorf("operators are %+v", c.Operators)
	}
}

func TestSetTakesEveryKindOfKey(t *testing.T) {
	c, err := config.Read("", []string{
		"server.name=irc.example.org", "server.network=Net", "limits.nick=20", "throttle.enabled=false",
		"throttle.rate=2.5", "timeouts.ping=5s", "throttle.exempt=10.0.0.0/8, ::1/128", "listen.proxy-from=",
		"server.admin=here,me", "operator.0.name=root", "operator.0.password=a=b", "operator.1.name=2", "operator.1.password=3",
	})
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case c.Server.Name != "irc.example.org", c.Limits.Nick != 20, c.Throttle.Enabled, c.Throttle.Rate != 2.5,
		c.Timeouts.Ping != config.Duration(5*time.Second), len(c.Throttle.Exempt) != 2, len(c.Listen.ProxyFrom) != 0,
		len(c.Server.Admin) != 2, len(c.Operators) != 2, c.Operators[0].Password != "a=b", c.Operators[1].Password != "3":
		t.Errorf("the configuration is %+v", c)
	}
}

func TestMistakesNameThePlaceAndTheRemedy(t *testing.T) {
	for _, test := range []struct {
		text string
		sets []string
		want []string
	}{
		{text: "[server]\nnmae = \"x\"\n", want: []string{"server.nmae", "server.name"}},
		{text: "[servers]\nname = \"x\"\n", want: []string{"servers", "unknown"}},
		{text: "[server]\nname = \"localhost\"\n", want: []string{"server.name", "localhost", "dot"}},
		{text: "[server]\nname = 5\n", want: []string{"line 2"}},
		{text: "[server\n", want: []string{"line 2", "table name"}},
		{text: "[timeouts]\nping = \"90\"\n", want: []string{"duration", "30s"}},
		{text: "[timeouts]\nping = \"200s\"\n", want: []string{"timeouts.dead", "timeouts.ping"}},
		{text: "[queues]\nsoft = 65536\nhard = 65536\n", want: []string{"queues.hard", "65536", "twice"}},
		{text: "[listen]\nproxy-from = [\"10.0.0.1\"]\n", want: []string{"10.0.0.1"}},
		{text: "[[account]]\nname = \"a b\"\npassword = \"x\"\n", want: []string{"account 0", "a b"}},
		{text: "[[operator]]\nname = \"root\"\n", want: []string{"operator 0", "password"}},
		{text: "[[account]]\nname = \"ann\"\npassword = \"$argon2id$v=19$m=65536\"\n", want: []string{"account 0", "ann", "epi chat hash"}},
		{text: "[[operator]]\nname = \"root\"\npassword = \"$6$salt$hash\"\n", want: []string{"operator 0", "root", "epi chat hash"}},
		{sets: []string{"server.password=$y$j9T$salt$hash"}, want: []string{"server 0", "epi chat hash"}},
		{sets: []string{"limits.nick=many"}, want: []string{"limits.nick", "whole number", "many"}},
		{sets: []string{"limits"}, want: []string{"KEY=VALUE"}},
		{sets: []string{"limits=5"}, want: []string{"section", "nick"}},
		{sets: []string{"limits.nikc=5"}, want: []string{"limits.nick"}},
		{sets: []string{"operator.5.name=x"}, want: []string{"operator.5.name", "0"}},
	} {
		_, err := read(t, test.text, test.sets...)
		if err == nil {
			t.Errorf("%q %q: no error", test.text, test.sets)
			continue
		}
		for _, want := range test.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q %q: %q does not say %q", test.text, test.sets, err, want)
			}
		}
	}
}

func TestMissingFileSaysHowToMakeOne(t *testing.T) {
	_, err := config.Read(filepath.Join(t.TempDir(), "none.toml"), nil)
	if err == nil || !strings.Contains(err.Error(), "epi chat config >") {
		t.Errorf("the error is %v", err)
	}
}

func FuzzRead(f *testing.F) {
	f.Fuzz(func(t *testing.T, text string) {
		c, err := read(t, text)
		if err == nil && c.Limits.Nick < 1 {
			t.Error("a configuration that cannot work was taken")
		}
	})
}
