package hall

import (
	"slices"
	"strings"
	"unicode"

	"github.com/epinet/epi/apps/chat/ircmsg"
)

// webpush lets the client's device have messages while it is not connected
// (draft/webpush).
func (h *Hall) webpush(s *session, params []string, _ *ircmsg.Message) {
	sub := strings.ToUpper(params[0])
	work := Work{Kind: Subscribe, Account: s.account(), Endpoint: params[1], Keys: param(params, 2)}
	switch {
	case h.config.VAPID == "":
		h.fail(s, "WEBPUSH", "FORBIDDEN", printable(sub), "This server sends no push messages")
		return
	case sub == "UNREGISTER":
		work.Kind = Unsubscribe
	case sub != "REGISTER" || work.Keys == "":
		h.fail(s, "WEBPUSH", "INVALID_PARAMS", printable(sub), "Say REGISTER <endpoint> <keys> or UNREGISTER <endpoint>")
		return
	}
	if work.Account == "" {
		h.fail(s, "WEBPUSH", "FORBIDDEN", sub, "You must be logged in")
		return
	}
	h.begin(s, work, func(r *Result) {
		if !r.OK {
			h.fail(s, "WEBPUSH", orWord(r.Code, "INTERNAL_ERROR"), sub, orWord(r.Text, "That did not work; try again later"))
			return
		}
		h.say(s, "WEBPUSH", sub, work.Endpoint)
	})
}

// maxNotified is how many people one message can call.
const maxNotified = 20

// notified returns the accounts of those to whom a user says something, or, in a
// channel, of those members whose nicks are in the text and who may read it.
func (h *Hall) notified(from *user, target, shown string, rank Rank, text string) (accounts []string) {
	if h.config.VAPID == "" {
		return nil
	}
	c := h.channels[target]
	if c == nil {
		if u := h.find(shown); u != nil && u != from && u.account != "" {
			accounts = append(accounts, fold(u.account))
		}
		return accounts
	}
	for word := range strings.FieldsFuncSeq(text, isNoNick) {
		u := h.find(word)
		if u == nil || u == from || u.account == "" || slices.Contains(accounts, fold(u.account)) {
			continue
		}
		if m := u.in(c); m == nil || m.rank < rank {
			continue
		}
		if accounts = append(accounts, fold(u.account)); len(accounts) == maxNotified {
			break
		}
	}
	return accounts
}

// isNoNick reports whether a letter can be in no nick.
func isNoNick(r rune) bool {
	return !unicode.IsLetter(r) && !unicode.IsMark(r) && !unicode.IsDigit(r) && !strings.ContainsRune("[]{}\\|^_-`", r)
}
