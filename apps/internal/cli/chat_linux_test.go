package cli

import (
	"strings"
	"testing"
)

// TestUnknownRightsAreRefused: a right that is misspelt must not go unnoticed.
func TestUnknownRightsAreRefused(t *testing.T) {
	_, stderr := start(t, "chat", "--listen", "irc://127.0.0.1:0",
		"--set", "operator.0.name=root", "--set", "operator.0.password=x", "--set", "operator.0.rights=kill,bann").end(exitFailed)
	for _, want := range []string{"operator", "root", "bann", "ban", "wallops"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("%q does not name %q", stderr, want)
		}
	}
}
