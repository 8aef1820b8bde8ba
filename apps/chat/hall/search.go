package hall

import (
	"slices"
	"strconv"
	"strings"

	"github.com/epinet/epi/apps/chat/ircmsg"
)

// A Find selects records by their text.
type Find struct {
	// Text are parts of the text, without regard to case: all must be in it.
	Text          []string
	From          string // nick of the sender in small letters; "" anybody
	After, Before int64  // neither included; 0 is no bound
	Limit         int
}

const (
	searchLimit = 100 // messages, where the client names no limit
	searchWords = 16  // parts of a text
)

// search answers SEARCH (soju.im/search): permission is that of CHATHISTORY.
func (h *Hall) search(s *session, params []string, _ *ircmsg.Message) {
	if !h.config.History.Enabled {
		h.reply(s, nUnknownCommand, "SEARCH", "Unknown command")
		return
	}
	find, in, wrong := h.parseFind(strings.Join(params, " "))
	if wrong != "" {
		h.fail(s, "SEARCH", "INVALID_PARAMS", printable(wrong), "Invalid parameter")
		return
	}
	w := Work{Kind: SearchHistory, Find: find}
	if in == "" {
		w.Account = s.user.account
		for _, m := range s.user.channels {
			w.Scopes = append(w.Scopes, *h.scopeOf(m))
		}
	} else {
		scope, others, _ := h.readable(s, in)
		if scope == nil {
			h.fail(s, "SEARCH", "INVALID_PARAMS", printable(in), "Messages could not be retrieved")
			return
		}
		w.Scopes = append(w.Scopes, *scope)
		for _, other := range others {
			w.Scopes = append(w.Scopes, Scope{Target: other})
		}
	}
	h.begin(s, w, func(r *Result) {
		if !r.OK {
			h.fail(s, "SEARCH", "INTERNAL_ERROR", "Messages could not be retrieved")
			return
		}
		slices.Reverse(r.Records) // the earliest first
		records := fitting(r.Records, true)
		h.inBatchOf(s, []string{"soju.im/search"}, func(tag string) {
			for i := range records {
				h.replay(s, tag, &records[i])
			}
		})
	})
}

// parseFind reads the attributes of SEARCH, and returns that which makes no sense.
func (h *Hall) parseFind(attributes string) (find *Find, in, wrong string) {
	find = &Find{Limit: min(searchLimit, h.config.History.Page)}
	for key, value := range ircmsg.Tags(attributes).All() {
		ok := true
		var at int64
		switch key {
		case "in":
			in = value
		case "from":
			find.From = fold(value)
		case "text":
			find.Text = strings.Fields(value)
			ok = len(find.Text) <= searchWords
		case "before":
			at, ok = ircmsg.ParseTime(value)
			find.Before = max(1, at<<IDBits)
		case "after":
			at, ok = ircmsg.ParseTime(value)
			find.After = at<<IDBits + 1<<IDBits - 1
		case "limit":
			n, err := strconv.Atoi(value)
			ok = err == nil && n > 0
			find.Limit = min(n, h.config.History.Page)
		}
		if !ok {
			return nil, "", key
		}
	}
	return find, in, ""
}
