package hall

import (
	"slices"
	"strings"
)

// registered is what a channel has that stays without members.
type registered struct {
	founder string // account
	ranks   []Granted
	days    int // for which messages are kept; 0 as the server does
}

// maxGranted bounds the accounts that have a rank in a registered channel.
const maxGranted = 100

// grants returns the rank that an account has whenever it joins. A nil registration
// grants none.
func (r *registered) grants(account string) Rank {
	if r == nil || account == "" {
		return 0
	}
	var rank Rank
	if sameName(r.founder, account) {
		rank = Founder
	}
	if i := r.find(account); i >= 0 {
		rank |= r.ranks[i].Rank
	}
	return rank
}

func (r *registered) find(account string) int {
	return slices.IndexFunc(r.ranks, func(g Granted) bool { return sameName(g.Account, account) })
}

// set gives an account a rank, 0 for none.
func (r *registered) set(account string, rank Rank) {
	i := r.find(account)
	switch {
	case i < 0 && rank != 0:
		r.ranks = append(r.ranks, Granted{Account: strings.Clone(account), Rank: rank})
	case i >= 0 && rank == 0:
		r.ranks = slices.Delete(r.ranks, i, i+1)
	case i >= 0:
		r.ranks[i].Rank = rank
	}
}

// registerChannel makes a channel stay, for an account.
func (h *Hall) registerChannel(c *channel, founder string) {
	c.registered = &registered{founder: founder}
	h.touchChannel(c)
	h.keepMetadata(c, c.name, false)
	h.grantIn(c)
}

// claimRegistration registers a channel of a network, for the account of a session: by an entry
// that only one node can add.
func (h *Hall) claimRegistration(s *session, c *channel, answer func(string)) {
	kept, at := c.kept(), c.net.step()
	kept.Founder = strings.Clone(s.account())
	c.net.claim = at
	h.ask(s, Work{Kind: ClaimChannel, Channel: &KeepChannel{kept, at.Reign, at.Number}}, answer, func(*Result) {
		h.claimedRegistration(&kept, at)
		answer(kept.Name + " is registered now")
	})
}

// claimedRegistration registers a channel whose claim has succeeded, if that is not done yet: the
// entry of all nodes may come before the answer, and comes also where nobody waits for that.
func (h *Hall) claimedRegistration(k *KeptChannel, at stamp) {
	if c := h.findChannel(k.Name); c != nil && c.net.mine && c.net.claim == at && c.registered == nil {
		c.net.claim = stamp{}
		h.registerChannel(c, k.Founder)
	}
}

// unregister ends the registration of a channel, and the channel if nobody is in it.
func (h *Hall) unregister(c *channel) {
	c.registered = nil
	h.noteChannel(c)
	h.dropKept(c, c.name)
	h.keepMetadata(c, c.name, true)
	if len(c.members) == 0 {
		h.remove(c)
	}
}

// renamed notes that a channel has another name than before.
func (h *Hall) renamed(c *channel, old string) {
	if c.registered != nil {
		h.dropKept(c, old)
		h.keepMetadata(c, old, true)
		h.touchChannel(c)
		h.keepMetadata(c, c.name, false)
	}
	for _, m := range c.members {
		h.touchUser(m.user)
	}
}

// grant gives a member what its account has in a registered channel, and shows that to
// the channel.
func (h *Hall) grant(m *member) {
	if missing := m.channel.registered.grants(m.user.account) &^ m.rank; missing != 0 {
		h.setRank(m, m.rank|missing)
		h.announceRank(m, missing)
	}
}

// grantAll is grant for all channels of a user whose account has changed.
func (h *Hall) grantAll(u *user) {
	for _, m := range u.channels {
		h.grant(m)
	}
}

// announceRank shows a channel some ranks of a member.
func (h *Hall) announceRank(m *member, rank Rank) {
	line := h.fromServer("MODE", rankParams(m.channel, m.user, rank)...)
	h.deliver(h.turnIn(Reach{Channel: m.channel.id}, m.channel), toChannel(m.channel, line))
}
