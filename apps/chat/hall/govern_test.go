package hall

import (
	"errors"
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
