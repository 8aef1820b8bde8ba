package hall

import "testing"

func TestClaimedNameIsNobodyElses(t *testing.T) {
	w := newWorld(t, Config{Nick: 32, UnicodeNicks: true, ReserveNicks: true, Accounts: []string{"root"}})
	for _, row := range []struct {
		name string
		want Claim
	}{
		{"ann", Claimed}, {"ANN", TakenName}, {"root", TakenName}, {"r00t", Claimed}, {"NickServ", BadName},
		{"", BadName}, {"1a", BadName}, {"a b", BadName}, {"a\nQUIT", BadName}, {"аnn", BadName}, {"민수", Claimed},
	} {
		if got := w.hall.Claim(row.name); got != row.want {
			t.Errorf("%q: %v, want %v", row.name, got, row.want)
		}
	}
	w.hall.Disclaim("Ann")
	if got := w.hall.Claim("ann"); got != Claimed {
		t.Errorf("a name that was given back: %v", got)
	}
}
