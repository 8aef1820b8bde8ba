package hall

import (
	"slices"
	"strings"

	"github.com/epinet/epi/apps/chat/ircmsg"
)

// A mention is a nick in a command, and the user who had it at the client's node when the command came.
// A command may wait, there or on its way to another node, and meanwhile somebody else may get the nick:
//
//	two: bob kicks ann ──────────── slow ───────────► owner: puts annie out
//	one: ann is now annie; eve is now ann ──────────► owner
type mention struct {
	Nick string `json:"k"`
	ref
}

// mentionsIn resolves the nicks in a command that are not among those resolved before. A nick that
// nobody has here is left out: the node that carries the command out may know its user.
func (h *Hall) mentionsIn(m *ircmsg.Message, before []mention) (mentions []mention) {
	if h.net == nil {
		return nil
	}
	for _, nick := range nicksIn(m) {
		if i := findMention(before, nick); i >= 0 {
			mentions = append(mentions, before[i])
		} else if u := h.find(nick); u != nil {
			mentions = append(mentions, mention{nick, h.net.refOf(u)})
		}
	}
	return mentions
}

// mentioned returns the user that a nick means in the command whose turn it is, or nil: also if the
// user is gone and somebody else has the nick.
func (h *Hall) mentioned(nick string) *user {
	if i := findMention(h.turn.mentions, nick); i >= 0 {
		return h.userOf(h.turn.mentions[i].ref)
	}
	return h.find(nick)
}

func findMention(mentions []mention, nick string) int {
	return slices.IndexFunc(mentions, func(m mention) bool { return m.Nick == nick })
}

// nicksIn returns the nicks in a command that another node may carry out. Other words may be among
// them, such as masks.
func nicksIn(m *ircmsg.Message) []string {
	switch strings.ToUpper(m.Command) {
	case "CHGHOST", "INVITE", "KILL", "METADATA", "SAJOIN":
		return m.Params[:min(1, len(m.Params))]
	case "KICK":
		return strings.Split(param(m.Params, 1), ",")
	case "MODE", "SAMODE":
		return m.Params[min(2, len(m.Params)):]
	case "CHANSERV", "CS":
		return strings.Fields(strings.Join(m.Params, " "))
	case "PRIVMSG", "NOTICE", "TAGMSG":
		return nicksSpokenTo(m.Params)
	}
	return nil
}

func nicksSpokenTo(params []string) []string {
	target := param(params, 0)
	switch {
	case sameName(target, "ChanServ"):
		return strings.Fields(param(params, 1))
	case isChannelName(target) && !strings.Contains(target, ","):
		return nil
	}
	return strings.Split(target, ",")
}
