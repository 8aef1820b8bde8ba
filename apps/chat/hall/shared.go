package hall

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
	}
}

// suspended is what users of an account read that must not be used any more.
func suspended(reason string) string { return "Your account is suspended: " + reason }

// isHere says whether a user is of this node.
func (u *user) isHere() bool { return u.net == nil || u.net.node == nil }
