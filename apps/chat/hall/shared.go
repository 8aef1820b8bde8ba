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
	case KeepChannel:
		h.gotKeptChannel(&c)
		h.claimedRegistration(&c.Channel, stamp{c.Reign, c.Number})
	case DropChannel:
		h.gotDroppedChannel(c.Name)
	}
}

// gotKeptChannel takes over a channel as it was when it had an owner last. One that has an
// owner is as that says.
func (h *Hall) gotKeptChannel(k *KeepChannel) {
	c := h.findChannel(k.Channel.Name)
	switch {
	case c == nil:
		h.restoreChannel(&k.Channel)
	case c.net.isUnclaimed():
		c.register(&k.Channel)
	case !c.net.mine && c.registered == nil:
		c.net.kept = k // until its owner says so, or the next owner has to
	}
}

func (h *Hall) gotDroppedChannel(name string) {
	c := h.findChannel(name)
	if c == nil || !c.net.isUnclaimed() {
		return
	}
	c.registered = nil
	if len(c.members) == 0 {
		h.remove(c)
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

// gotDatum takes over metadata of an account, and sends it to those here who watch its
// users; or of a channel that nobody owns.
func (h *Hall) gotDatum(d KeptDatum) {
	if c := h.findChannel(d.Owner); c != nil {
		if c.net.isUnclaimed() {
			h.restoreDatum(d)
		}
		return
	}
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
	for _, u := range h.usersOf(d.Owner) {
		h.notifyDatum(nil, h.subjectOfUser(u), d.Key, d.Value)
	}
}

// suspended is what users of an account read that must not be used any more.
func suspended(reason string) string { return "Your account is suspended: " + reason }

// isHere says whether a user is of this node.
func (u *user) isHere() bool { return u.net == nil || u.net.node == nil }
