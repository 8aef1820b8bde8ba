package hall

import (
	"strings"

	"github.com/epinet/epi/apps/chat/ircmsg"
)

// A Lookup names one record: the message with a number in a history that somebody may
// read.
type Lookup struct {
	Targets []string
	ID      int64
	Rank    Rank
}

// redact takes a message out of the history (draft/message-redaction), and notifies
// those who have seen it.
func (h *Hall) redact(s *session, params []string, _ *ircmsg.Message) {
	target, reference := strings.Clone(params[0]), strings.Clone(params[1])
	reason := ircmsg.Truncate(param(params, 2), h.config.Kick)
	forbid := func() {
		h.fail(s, "REDACT", "REDACT_FORBIDDEN", printable(target), printable(reference), "You are not authorised to delete this message")
	}
	h.change(s, "REDACT", target, reference, &speech{command: "REDACT", text: reason}, func(r *Record) {
		if !h.mayRedact(s, r) {
			forbid()
			return
		}
		h.alter(s, r.Target, Work{Kind: RemoveRecord, Lookup: &Lookup{ID: r.ID}}, func(result *Result) {
			if !result.OK {
				h.fail(s, "REDACT", "REDACT_FAILED", printable(target), reference, "The message could not be deleted; try again later")
				return
			}
			m := ircmsg.Message{Command: "REDACT", Params: []string{target, reference}}
			if reason != "" {
				m.Params, m.Text = append(m.Params, reason), true
			}
			item := newItem(h.fromUser(s.user, m))
			item.Need = CapRedaction
			h.notifyReaders(s, r, target, s.has(CapRedaction), item)
		})
	})
}

// change looks up the record that a client wants changed, which others read as what sp
// says, and calls then with it if the client may read it. It replies if not.
func (h *Hall) change(s *session, command, target, reference string, sp *speech, then func(*Record)) {
	scope, others, _ := h.readable(s, target)
	if !h.config.History.Enabled || scope == nil {
		h.fail(s, command, "INVALID_TARGET", printable(target), "You cannot change messages there")
		return
	}
	if u := h.mentioned(target); u != nil && !h.accepts(s, u, sp) {
		return // it has replied
	}
	unknown := func() {
		h.fail(s, command, "UNKNOWN_MSGID", printable(target), printable(reference), "This message does not exist or is too old")
	}
	id, ok := ircmsg.ParseID(reference)
	if !ok || id <= scope.After {
		unknown()
		return
	}
	lookup := &Lookup{Targets: append([]string{scope.Target}, others...), ID: id, Rank: scope.Rank}
	h.begin(s, Work{Kind: FindRecord, Lookup: lookup}, func(result *Result) {
		switch {
		case !result.OK:
			h.fail(s, command, command+"_FAILED", printable(target), reference, "The message could not be found; try again later")
		case len(result.Records) == 0:
			unknown()
		default:
			then(&result.Records[0])
		}
	})
}

// wrote says whether a user has said what a record has: by the account, or where there
// was none, as the same user all the time.
func (u *user) wrote(r *Record) bool {
	if r.Account != "" || u.account != "" {
		return sameName(r.Account, u.account)
	}
	return r.Source == u.source && r.ID>>IDBits/1000 >= int64(u.signon)
}

// mayRedact says whether a user may delete a message: their own where they may speak,
// and that of others who have a rank that lets them kick.
func (h *Hall) mayRedact(s *session, r *Record) bool {
	if r.IsEvent() && r.Command != "TAGMSG" {
		return false
	}
	c := h.channels[r.Target]
	if c == nil {
		return s.user.wrote(r)
	}
	m := s.user.in(c)
	if m == nil {
		return false
	}
	return m.rank >= HalfOp || s.user.wrote(r) && h.silenced(c, s.user, &speech{command: "REDACT"}) == ""
}

// notifyReaders shows all who may read a record what a user has done to it, and the user,
// whose session is among them with self.
func (h *Hall) notifyReaders(s *session, r *Record, target string, self bool, items ...*Item) {
	c := h.channels[r.Target]
	for _, item := range items {
		if c != nil {
			item.to(Reach{Channel: c.id, Rank: r.Rank})
		} else if u := h.mentioned(target); u != nil && u != s.user {
			item.Sessions = sessionsOf(u, nil)
		}
		item.Sessions = append(item.Sessions, sessionsOf(s.user, nil)...)
	}
	h.deliver(self, items...)
}
