package hall

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// TestGovernBans: what an administrator bans in the page goes, stays out, and is let in
// again; nobody can ban everybody.
func TestGovernBans(t *testing.T) {
	w := newWorld(t, Config{})
	for _, mask := range []string{"*", "*!*@*", "0.0.0.0/0", "::/0"} {
		if _, err := w.hall.Ban(1, "root", mask, "", 0); !errors.Is(err, ErrGovern) {
			t.Errorf("%q: %v", mask, err)
		}
	}
	ban, err := w.hall.Ban(1000, "root", "mallory", "enough", 60)
	if err != nil || ban.Mask != "mallory!*@*" || ban.By != "root" {
		t.Fatalf("%+v, %v", ban, err)
	}
	if bans := w.hall.Bans(0); len(bans) != 1 || bans[0] != ban {
		t.Errorf("the bans are %+v", bans)
	}
	if err := w.hall.Unban("mallory!*@*"); err != nil {
		t.Error(err)
	}
	if err := w.hall.Unban("mallory!*@*"); !errors.Is(err, ErrGovern) {
		t.Errorf("a second time: %v", err)
	}
	if err := w.hall.KeepFor("#nowhere", 1); !errors.Is(err, ErrGovern) {
		t.Errorf("a channel that is not registered: %v", err)
	}
}

// TestGovernNote: a word to an account reaches all its sessions, and nobody else.
func TestGovernNote(t *testing.T) {
	w := newWorld(t, Config{Mechanisms: []string{"PLAIN"}})
	w.accounts["bob"] = "sesame"
	for name, caps := range map[string]string{"page": "sasl standard-replies", "plain": "sasl"} {
		id := w.open(name, Origin{Host: "h", Address: "10.0.0.1"})
		for _, line := range []string{"CAP REQ :" + caps, "NICK bob", "USER b 0 * :b", "AUTHENTICATE PLAIN", "AUTHENTICATE AGJvYgBzZXNhbWU=", "CAP END"} {
			w.line(id, line)
		}
	}
	other := w.open("other", Origin{Host: "h", Address: "10.0.0.2"})
	for _, line := range []string{"NICK other", "USER o 0 * :o"} {
		w.line(other, line)
	}
	w.look()
	w.hall.Note(w.now, "Bob", "TEA", "Tea is ready")
	got := strings.Split(strings.TrimSpace(w.text()), "\n")
	slices.Sort(got)
	want := []string{"page < :irc.example.org NOTE * TEA :Tea is ready", "plain < :irc.example.org NOTICE bob :Tea is ready"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
