package ircmsg

import (
	"strings"
	"testing"
)

func TestCasemappings(t *testing.T) {
	const all = "AZaz[]\\^{}|~_`09-É"
	for mapping, want := range map[Casemapping]string{
		ASCII:         "azaz[]\\^{}|~_`09-É",
		RFC1459:       "azaz{}|~{}|~_`09-É",
		RFC1459Strict: "azaz{}|^{}|~_`09-É",
	} {
		if got := mapping.Fold(all); got != want {
			t.Errorf("%v folds to %q, should be %q", mapping, got, want)
		}
		if !mapping.Equal(all, want) || mapping.Equal(all, want+"x") || mapping.Equal("ab", "ac") {
			t.Errorf("%v: Equal does not agree with Fold", mapping)
		}
		if n := testing.AllocsPerRun(10, func() { mapping.Fold(want) }); n != 0 {
			t.Errorf("%v: folding what is folded allocates %v times", mapping, n)
		}
	}
	if ASCII.String() != "ascii" || RFC1459.String() != "rfc1459" || RFC1459Strict.String() != "rfc1459-strict" {
		t.Error("a casemapping is not named as CASEMAPPING has it")
	}
}

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		mask, s string
		want    bool
	}{
		{"", "", true}, {"", "a", false}, {"a", "", false},
		{"*", "", true}, {"*", "abc", true}, {"**", "abc", true},
		{"?", "", false}, {"?", "a", true}, {"?", "ab", false},
		{"?", "한", true}, {"??", "한", false}, {"*?", "한글", true}, {"?*?", "한", false},
		{"a*c", "abc", true}, {"a*c", "ac", true}, {"a*c", "acb", false}, {"a*bc*d", "abbcxbcd", true},
		{"A*C", "abc", true}, {"[a]", "{A}", true},
		{"*!*@*.example.org", "ann!a@host.example.org", true}, {"*!*@*.example.org", "ann!a@example.org", false},
		{`a\*`, "a*", true}, {`a\*`, "ab", false}, {`a\*`, `a\b`, false}, {`\?`, "?", true}, {`\?`, "a", false},
		{`a\b`, `a\b`, true}, {`a\`, `a\`, true}, {`a\*b`, "a*b", true}, {`*\*`, "x*", true}, {`*\*`, "x", false},
		{"*a", "\x80a", true}, {"?a", "\x80a", true},
	} {
		if got := RFC1459.Match(c.mask, c.s); got != c.want {
			t.Errorf("%q on %q: %v", c.mask, c.s, got)
		}
	}
	if ASCII.Match("[a]", "{a}") || !ASCII.Match("[A]", "[a]") {
		t.Error("the casemapping is not used")
	}
}

// TestMatchDoesNotExplode has a mask on which a matcher that goes back to every
// "*" would take longer than the universe has lasted.
func TestMatchDoesNotExplode(t *testing.T) {
	if ASCII.Match(strings.Repeat("*a", 100)+"b", strings.Repeat("a", 500)) {
		t.Error("it should not match")
	}
}

func TestSplitSource(t *testing.T) {
	for source, want := range map[string][3]string{
		"":            {},
		"nick":        {"nick", "", ""},
		"nick!user":   {"nick", "user", ""},
		"nick@host":   {"nick", "", "host"},
		"nick!~u@h:1": {"nick", "~u", "h:1"},
		"irc.a.org":   {"irc.a.org", "", ""},
		"n!u@h\x03!5": {"n", "u", "h\x03!5"},
	} {
		nick, user, host := SplitSource(source)
		if got := [3]string{nick, user, host}; got != want {
			t.Errorf("%q is %q", source, got)
		}
	}
}

func TestValidHostname(t *testing.T) {
	label := strings.Repeat("a", 63)
	for _, name := range []string{"a.b", "A-1.b", "324.net.uk", "xn--bcher-kva.ch", "services.", label + ".b"} {
		if !ValidHostname(name) {
			t.Errorf("%q should be valid", name)
		}
	}
	for _, name := range []string{"", " ", ".", "..", "a", "-a.b", "a-.b", "a..b", ".a.b", "a.b..", "a b.c", "a_.b", "é.b", label + "a.b", strings.Repeat("a.", 127)} {
		if ValidHostname(name) {
			t.Errorf("%q should not be valid", name)
		}
	}
}
