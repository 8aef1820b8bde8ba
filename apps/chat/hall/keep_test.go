package hall

import "testing"

// TestRestoreTakesWhatCanBe restores records that others of a better kind stand beside:
// a database that somebody has edited, or limits that are lower now.
func TestRestoreTakesWhatCanBe(t *testing.T) {
	w := newWorld(t, Config{Channels: 2})
	w.hall.Restore(start, Kept{
		Channels: []KeptChannel{
			{Name: "#a", Founder: "alice", Topic: "kept", Modes: "ntz", Lists: [3][]KeptMask{{{Mask: "x!*@*"}}}},
			{Name: "#A", Founder: "eve", Topic: "another"}, {Name: "no channel", Founder: "eve"}, {Name: "", Founder: "eve"},
		},
		Users: []KeptUser{
			{Account: "alice", Nick: "alice", Name: "a", Host: "h", Modes: "iwoZ", Channels: []KeptMembership{
				{Channel: "#a", Rank: Founder}, {Channel: "#A", Rank: Voice}, {Channel: "no channel"}, {Channel: "#b", Rank: Op}, {Channel: "#c"},
			}},
			{Account: "Alice", Nick: "again", Name: "a", Host: "h"}, {Account: "bob", Nick: "ALICE", Name: "a", Host: "h"},
			{Account: "carol", Nick: "no nick", Name: "a", Host: "h"}, {Account: "dave", Nick: "", Name: "a", Host: "h"},
		},
		Bans: []KeptBan{{Mask: "evil!*@*", Until: start/1000 + 10}, {Mask: "old!*@*", Until: start/1000 - 10}, {Mask: "192.0.2.0/24"}},
	})
	for _, u := range w.hall.everyone { // the gate's lists have sessions, and there are none
		if len(u.sessions) != 0 {
			t.Errorf("%s has a session", u.nick())
		}
	}
	w.healthy()
	if w.hall.Users() != 1 || w.hall.Channels() != 2 {
		t.Errorf("%d users in %d channels", w.hall.Users(), w.hall.Channels())
	}
	if c := w.hall.findChannel("#a"); c == nil || c.topic != "kept" || c.registered.founder != "alice" || len(c.members) != 1 || c.members[0].rank != Founder {
		t.Errorf("#a is %+v", c)
	}
	if u := w.hall.find("alice"); u.away() != "*" {
		t.Errorf("alice is away with %q, and has no session", u.away())
	}
	if u := w.hall.find("alice"); u.modes.String() != "+iw" || w.hall.opers != 0 || w.hall.hidden != 1 {
		t.Errorf("alice has the modes %s", u.modes)
	}
	for _, test := range []struct {
		nick, address string
		banned        bool
	}{{"evil", "198.51.100.1", true}, {"old", "198.51.100.1", false}, {"good", "192.0.2.7", true}} {
		if got := w.hall.bannedOrigin(test.nick, "x", &Origin{Host: "h", Address: test.address}) != nil; got != test.banned {
			t.Errorf("%s from %s: banned %t", test.nick, test.address, got)
		}
	}
}

// TestRestoreSinceJoin: who stayed over a restart reads what was said since the JOIN that
// was then; where nobody knows when that was, since the start.
func TestRestoreSinceJoin(t *testing.T) {
	const join, now = 5 << IDBits, 9_000
	w := newWorld(t, Config{History: History{Enabled: true}})
	user := func(name string, since int64) KeptUser {
		return KeptUser{Account: name, Nick: name, Name: "u", Host: "h", Channels: []KeptMembership{{Channel: "#c", Since: since}}}
	}
	w.hall.Restore(now, Kept{
		Channels: []KeptChannel{{Name: "#c", Founder: "ann", Modes: "H"}},
		Users:    []KeptUser{user("ann", join), user("bob", 0)},
		Accounts: []string{"ann", "bob"},
	})
	for name, want := range map[string]int64{"ann": join - 1, "bob": now<<IDBits - 1} {
		m := w.hall.find(name).in(w.hall.findChannel("#c"))
		if got := w.hall.scopeOf(m).After; got != want {
			t.Errorf("%s reads what is after %d, want %d", name, got, want)
		}
	}
}
