package config_test

import (
	"crypto/sha256"
	"strings"
	"testing"

	"github.com/epinet/epi/apps/world/config"
)

// TestModerators are a name and a hash each; what is neither is an error that says what
// to write.
func TestModerators(t *testing.T) {
	hash := strings.Repeat("ab", sha256.Size)
	c, err := config.Read("", []string{`people.moderators=["anna:` + hash + `"]`})
	if err != nil {
		t.Fatal(err)
	}
	all, err := c.Moderators()
	if err != nil || len(all) != 1 || all[[sha256.Size]byte([]byte(strings.Repeat("\xab", sha256.Size)))] != "anna" {
		t.Errorf("%v, %v", all, err)
	}
	for _, bad := range []string{"anna", ":" + hash, "anna:" + hash[2:], "anna:" + hash[:62] + "zz"} {
		if _, err := config.Read("", []string{`people.moderators=["` + bad + `"]`}); err == nil || !strings.Contains(err.Error(), "NAME:HASH") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// What is wrong is shown as it is written.
func TestWrongValues(t *testing.T) {
	for set, want := range map[string]string{
		"sessions.grace=2h":  "sessions.grace is 2h0m0s: ",
		"talk.rate=inf":      "talk.rate is +Inf: ",
		"talk.rate=nan":      "talk.rate is NaN: ",
		"world.hz=61":        "world.hz is 61: ",
		"people.accounts=-1": "people.accounts is -1: ",
	} {
		if _, err := config.Read("", []string{set}); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("--set %s: %v, want %q", set, err, want)
		}
	}
}
