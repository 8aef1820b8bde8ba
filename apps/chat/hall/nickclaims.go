package hall

import (
	"errors"

	"github.com/epinet/epi/apps/chat/fabric"
)

// In a network a nick is had by whoever has claimed it: what is known here of the users of
// other nodes may be late.

func nickKeyOf(key string) fabric.Key { return fabric.Key{Kind: fabric.Nick, Name: key} }

// claimNick claims a nick for a session, which waits; then is called in its turn.
func (h *Hall) claimNick(s *session, nick string, then func(error)) {
	n, key := h.net, h.nickKey(nick)
	switch {
	case !n.live:
		then(fabric.ErrFenced)
		return
	case n.nicks[key]:
		then(fabric.ErrTaken)
		return
	}
	n.nicks[key] = true
	var result error
	h.suspend(s, func(*Result) { then(result) })
	n.claim(nickKeyOf(key), func(err error) {
		if err != nil {
			delete(n.nicks, key)
		}
		if s.gone {
			n.releaseNick(key)
			return
		}
		result = err
		h.resume(s, nil)
	})
}

// nickTaken replies that a nick is in use, and at which node, if that is another: who has it there
// themself can be there with this client, too.
func (h *Hall) nickTaken(s *session, nick string, holder fabric.Node) {
	text := "Nickname is already in use"
	if holder != "" && holder != h.net.self.Node {
		text += " at node " + string(holder) + ": choose another nick; or if it is you, connect to that node"
	}
	h.reply(s, nNicknameInUse, nick, text)
}

// holderOf returns which node has what another could not claim, "" for this one.
func holderOf(err error) fabric.Node {
	var taken *fabric.TakenError
	if errors.As(err, &taken) {
		return taken.Holder.Node
	}
	return ""
}

// at is the node of a user, "" for this one or nobody.
func (u *user) at() fabric.Node {
	if u == nil || u.isHere() {
		return ""
	}
	return u.net.node.member.Node
}

// elsewhere returns a user of an account at another node, one that stays before others; nil for none.
func (h *Hall) elsewhere(account string) (found *user) {
	for _, u := range h.usersOf(account) {
		if !u.isHere() && (found == nil || u.net.stays) {
			found = u
		}
	}
	return found
}

// sayElsewhere says to a new user of an account that another node has one, too. On one node both
// clients would be one user, if they wanted the same nick or that stays.
func (h *Hall) sayElsewhere(s *session) {
	other := h.elsewhere(s.account())
	if other == nil {
		return
	}
	h.noteTo(s, "ACCOUNT_ELSEWHERE", "Your account is also here as "+other.nick()+atNode(other)+
		": connect to that node to be one user with all your clients")
}

// atNode names the node of a user of another one, for people.
func atNode(u *user) string {
	if u.at() == "" {
		return ""
	}
	return " at node " + string(u.at())
}

// releaseNick gives a nick back, if it was claimed.
func (n *network) releaseNick(key string) {
	if n.nicks[key] {
		delete(n.nicks, key)
		n.wire.Release(nickKeyOf(key))
	}
}

// admitByClaim makes a user of a session when its nick is claimed.
func (h *Hall) admitByClaim(s *session, r *registration) {
	h.claimNick(s, r.nick, func(err error) {
		switch {
		case err == nil:
			h.admit(s, r)
		case errors.Is(err, fabric.ErrTaken):
			h.nickTaken(s, r.nick, holderOf(err))
			r.nick = ""
		default:
			h.fail(s, "NICK", "NETWORK_UNAVAILABLE", r.nick, "This server is cut off from its network; try another one, or later")
			h.end(s, "Cut off from the network", "")
		}
	})
}

// changeByClaim gives a user another nick when that is claimed.
func (h *Hall) changeByClaim(s *session, u *user, nick string) {
	h.claimNick(s, nick, func(err error) {
		switch {
		case err == nil:
			old := h.nickKey(u.nick())
			h.putNick(u, nick)
			h.net.releaseNick(old)
		case errors.Is(err, fabric.ErrTaken):
			h.nickTaken(s, nick, holderOf(err))
		default:
			h.fail(s, "NICK", "NETWORK_UNAVAILABLE", nick, "This server is cut off from its network; try again later")
		}
	})
}
