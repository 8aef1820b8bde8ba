package hall

import "slices"

// gotChange takes over what all nodes keep and one of them has changed. Each does what
// follows for its own users and channels.
func (h *Hall) gotChange(c Change) {
	switch c := c.(type) {
	case KeepAccount:
		h.own(c.Name)
		if c.Suspended != "" {
			h.expelAccount(c.Name, suspended(c.Suspended))
		}
	case DropAccount:
		h.forgetAccount(c.Name)
	case KeepBan:
		h.gotKeptBan(&c.Ban)
	case DropBan:
		h.removeBan(c.Mask)
	case KeepMetadata:
		h.gotDatum(c.Datum)
	}
}

// gotKeptBan takes over a ban. One that this node did not know, as it was away, ends the sessions
// here that it covers; the others have been ended.
func (h *Hall) gotKeptBan(k *KeptBan) {
	ban := banOf(k)
	known := slices.ContainsFunc(h.bans, func(b serverBan) bool { return b.kept() == *k })
	h.dropOldBans()
	if known || ban.over(h.seconds()) {
		return
	}
	h.addBan(ban)
	h.enforce(&ban, func(u *user) bool { return u.isHere() })
}

// gotDatum takes over metadata of an account, and tells who watches its users here.
func (h *Hall) gotDatum(d KeptDatum) {
	m := h.metadata[d.Owner]
	if m[d.Key] == d.Value {
		return
	}
	if m == nil {
		m = metadata{}
		h.metadata[d.Owner] = m
	}
	if m[d.Key] = d.Value; d.Value == "" {
		delete(m, d.Key)
	}
	for _, u := range h.everyone {
		if u.account != "" && fold(u.account) == d.Owner {
			h.tellDatum(nil, h.subjectOfUser(u), d.Key, d.Value)
		}
	}
}

// suspended is what users of an account read that must not be used any more.
func suspended(reason string) string { return "Your account is suspended: " + reason }

// isHere says whether a user is of this node.
func (u *user) isHere() bool { return u.net == nil || u.net.node == nil }
