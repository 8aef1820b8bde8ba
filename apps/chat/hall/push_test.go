package hall

import (
	"fmt"
	"slices"
	"testing"
)

// TestNotified: a message calls those to whom it is said, or, in a channel, those of
// its members whom it names and who may read it.
func TestNotified(t *testing.T) {
	w := newWorld(t, Config{VAPID: "KEY", History: History{Enabled: true}, Mechanisms: []string{"PLAIN"}})
	ids := map[string]SessionID{}
	for _, name := range []string{"ann", "bob", "carol", "dora", "eve"} {
		w.accounts[name] = "sesame"
		ids[name] = w.open(name, Origin{Host: name + ".host"})
		w.line(ids[name], "NICK "+name)
		w.line(ids[name], fmt.Sprintf("USER %s 0 * :x", name))
		if name != "eve" { // who has no account
			w.line(ids[name], "NS IDENTIFY "+name+" sesame")
		}
		if name != "dora" {
			w.line(ids[name], "JOIN #room")
		}
	}
	w.line(ids["ann"], "MODE #room +v bob")
	for said, want := range map[string][]string{
		"PRIVMSG bob :hello":                               {"bob"},
		"NOTICE bob :hello":                                {"bob"},
		"PRIVMSG eve :hello":                               nil, // no account
		"PRIVMSG ann :to myself":                           nil,
		"PRIVMSG #room :hello all":                         nil,
		"PRIVMSG #room :BOB: and (carol), carol! caroline": {"bob", "carol"},
		"PRIVMSG #room :ann dora eve":                      nil,     // the sender, no member, no account
		"PRIVMSG @+#room :bob carol":                       {"bob"}, // carol may not read it
	} {
		w.records = nil
		w.line(ids["ann"], said)
		if len(w.records) != 1 || !slices.Equal(w.records[0].Notify, want) {
			t.Errorf("%s: records %+v, want one that calls %q", said, w.records, want)
		}
	}
	w.healthy()
}
