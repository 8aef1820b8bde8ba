package hall

// A Claim is what a hall says to somebody who wants to make an account elsewhere.
type Claim int

// What it can say.
const (
	Claimed   Claim = iota // the name is theirs; Disclaim gives it back
	BadName                // no nick can be so
	TakenName              // an account or a user has it, or one that looks like it
)

// Claim takes a name for an account that is about to be made, so that nobody else can
// use it as a nick.
func (h *Hall) Claim(account string) Claim {
	key := h.nickKey(account)
	switch {
	case !h.validNick(account) || h.reserved(account):
		return BadName
	case h.owned[key] || h.users[key] != nil:
		return TakenName
	}
	h.own(account)
	return Claimed
}

// Disclaim gives a name back that was claimed: the account was not made.
func (h *Hall) Disclaim(account string) { delete(h.owned, h.nickKey(account)) }
