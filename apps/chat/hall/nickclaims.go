package hall

import (
	"errors"
	"slices"

	"github.com/epinet/epi/apps/chat/fabric"
)

// In a network a nick is had by whoever has claimed it: what is known here of the users of
// other nodes may be late.

func nickKeyOf(key string) fabric.Key { return fabric.Key{Kind: fabric.Nick, Name: key} }

// claimNick claims a nick for a session, which waits; then is called in its turn.
func (h *Hall) claimNick(s *session, nick string, then func(error)) {
	n, key := h.net, h.nickKey(nick)
	if !n.live {
		then(fabric.ErrFenced)
		return
	}
	var vacant *vacancy
	if n.nicks[key] {
		if vacant = n.vacancy(key); vacant == nil || vacant.next != nil {
			then(fabric.ErrTaken)
			return
		}
	}
	var result error
	h.suspend(s, func(*Result) { then(result) })
	got := func(err error) {
		if err != nil {
			delete(n.nicks, key)
		}
		if s.gone {
			n.releaseNick(key)
			return
		}
		result = err
		h.resume(s, nil)
	}
	if vacant != nil {
		vacant.next = got
		return
	}
	n.nicks[key] = true
	n.claim(nickKeyOf(key), got)
}

// A vacancy is a nick of this node that nobody has any more. It is given back, or to who wants it
// here, when all nodes have shown their clients that its user is gone or is called otherwise:
//
//	a: ann is now annie; mark 7 ──► b, c       b, c: shown 7 ──► a       a: "ann" is free
//
// So whoever has a nick next never seems to be who had it before, at no node; for what somebody wants
// of a nick that they were shown, see mention. A node that is silent is waited for until its lease, or
// that of this node, is over.
type vacancy struct {
	key  string
	mark uint64      // the nodes that have answered it have shown that
	next func(error) // who waits for it here; nil: nobody
}

// markOp has a number that its receiver sends back when it has shown all that was said before.
type markOp struct {
	Mark uint64 `json:"m"`
}

// vacancy returns that of a nick, or nil.
func (n *network) vacancy(key string) *vacancy {
	for _, v := range n.vacancies {
		if v.key == key {
			return v
		}
	}
	return nil
}

// leaveNick gives a nick back that the other nodes know a user by.
func (n *network) leaveNick(key string) {
	switch {
	case !n.nicks[key]:
	case n.isShown(n.marks + 1):
		n.releaseNick(key) // nobody is to be waited for
	default:
		n.vacancies = append(n.vacancies, &vacancy{key: key, mark: n.marks + 1})
	}
}

// isShown says whether all nodes have answered a mark.
func (n *network) isShown(mark uint64) bool {
	return !slices.ContainsFunc(n.order, func(at *node) bool { return at.answers && at.marked < mark })
}

// markVacancies posts the mark of the vacancies of this event, after what has made them.
func (n *network) markVacancies() {
	if last := len(n.vacancies); last > 0 && n.vacancies[last-1].mark > n.marks {
		n.marks++
		n.postAll("mark", markOp{n.marks}, nil)
	}
}

// markAgain posts the last mark to a node again, if it, or its answer, may be lost.
func (n *network) markAgain(at *node) {
	if at.marked < n.marks {
		n.post(at, "mark", markOp{n.marks}, nil)
	}
}

// gotMark answers a mark. Where something was lost before it, the one after that is answered.
func (h *Hall) gotMark(from *node, m *markOp) {
	if from.behind == 0 {
		h.net.post(from, "shown", m, nil)
	}
}

func (h *Hall) gotShown(from *node, m *markOp) {
	from.marked = max(from.marked, m.Mark)
	h.fillVacancies()
}

// fillVacancies gives nicks back, or to those who wait for them, once all nodes have shown that they were left.
func (h *Hall) fillVacancies() {
	n := h.net
	for len(n.vacancies) > 0 && n.isShown(n.vacancies[0].mark) {
		v := n.vacancies[0]
		n.vacancies = n.vacancies[1:]
		if v.next != nil {
			v.next(nil)
			continue
		}
		n.releaseNick(v.key)
	}
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
			h.net.leaveNick(old)
		case errors.Is(err, fabric.ErrTaken):
			h.nickTaken(s, nick, holderOf(err))
		default:
			h.fail(s, "NICK", "NETWORK_UNAVAILABLE", nick, "This server is cut off from its network; try again later")
		}
	})
}
