package hall

import (
	"strconv"
	"strings"

	"github.com/epinet/epi/apps/chat/ircmsg"
)

// A selector is where a page of history begins or ends: a message or a moment.
type selector struct {
	any    bool  // "*"
	moment bool  // it is a time
	id     int64 // of the message, or the first that the moment can have
}

// before returns the bound of what is before the selector, after of what is after it.
func (s selector) before() int64 { return s.id }

func (s selector) after() int64 {
	if s.moment {
		return s.id + 1<<IDBits - 1
	}
	return s.id
}

// stampOf writes when a message was said.
func stampOf(id int64) string { return ircmsg.FormatTime(id >> IDBits) }

// parseSelector reads "*", "msgid=..." or "timestamp=...".
func parseSelector(text string) (s selector, ok bool) {
	kind, value, _ := strings.Cut(text, "=")
	switch {
	case text == "*":
		return selector{any: true}, true
	case strings.EqualFold(kind, "msgid"):
		s.id, ok = ircmsg.ParseID(value)
		return s, ok
	case strings.EqualFold(kind, "timestamp"):
		at, ok := ircmsg.ParseTime(value)
		return selector{moment: true, id: at << IDBits}, ok
	}
	return selector{}, false
}

// A request is one CHATHISTORY.
type request struct {
	command   string
	target    string
	selectors []selector
	limit     int
}

// chatHistory answers CHATHISTORY (draft/chathistory).
func (h *Hall) chatHistory(s *session, params []string, _ *ircmsg.Message) {
	if !h.config.History.Enabled {
		h.reply(s, nUnknownCommand, "CHATHISTORY", "Unknown command")
		return
	}
	r, ok := h.parseRequest(s, params)
	if !ok {
		return
	}
	if r.command == "TARGETS" {
		h.listTargets(s, r)
		return
	}
	scope, others, shown := h.readable(s, r.target)
	if scope == nil {
		h.fail(s, "CHATHISTORY", "INVALID_TARGET", r.command, printable(r.target), "Messages could not be retrieved")
		return
	}
	page := r.page()
	page.Targets = append([]string{scope.Target}, others...)
	page.Rank, page.After = scope.Rank, max(page.After, scope.After)
	page.Events, page.Reactions = s.has(CapEventPlayback), s.has(CapEventPlayback|CapMessageTags)
	if r.goesOnByTime(s) {
		page.Whole = 2 * h.config.History.Page
	}
	h.begin(s, Work{Kind: ReadHistory, Page: page}, func(result *Result) {
		if !result.OK {
			h.fail(s, "CHATHISTORY", "MESSAGE_ERROR", r.command, printable(r.target), "Messages could not be retrieved")
			return
		}
		h.play(s, shown, fitting(result.Records, page.Latest))
	})
}

// parseRequest reads the parameters, and replies if they make no sense.
func (h *Hall) parseRequest(s *session, params []string) (r *request, ok bool) {
	r = &request{command: strings.ToUpper(params[0])}
	count := map[string]int{"LATEST": 1, "BEFORE": 1, "AFTER": 1, "AROUND": 1, "BETWEEN": 2, "TARGETS": 2}[r.command]
	refuse := func(about ...string) (*request, bool) {
		h.fail(s, "CHATHISTORY", "INVALID_PARAMS", append([]string{printable(params[0])}, about...)...)
		return nil, false
	}
	if count == 0 {
		return refuse("Unknown command")
	}
	rest := params[1:]
	if r.command != "TARGETS" {
		if len(rest) == 0 {
			return refuse("Insufficient parameters")
		}
		r.target, rest = strings.Clone(rest[0]), rest[1:]
	}
	switch {
	case len(rest) < count+1:
		return refuse("Insufficient parameters")
	case len(rest) > count+1:
		return refuse("Too many parameters")
	}
	for _, text := range rest[:count] {
		selector, ok := parseSelector(text)
		if !ok || selector.any && r.command != "LATEST" || !selector.moment && r.command == "TARGETS" {
			return refuse(printable(text), "That is no time and no message")
		}
		r.selectors = append(r.selectors, selector)
	}
	limit, err := strconv.Atoi(rest[count])
	if err != nil || limit < 1 {
		return refuse(printable(rest[count]), "Invalid limit")
	}
	r.limit = min(limit, h.config.History.Page)
	return r, true
}

// page returns what is asked for.
func (r *request) page() *Page {
	p := &Page{Limit: r.limit}
	first := r.selectors[0]
	switch r.command {
	case "LATEST":
		p.Latest = true
		if !first.any {
			p.After = first.after()
		}
	case "BEFORE":
		p.Latest, p.Before = true, max(1, first.before())
	case "AFTER":
		p.After = first.after()
	case "AROUND":
		p.Around = max(1, first.id)
	case "BETWEEN":
		second := r.selectors[1]
		if first.id <= second.id {
			p.After, p.Before = first.after(), max(1, second.before())
			break
		}
		p.Latest, p.After, p.Before = true, second.after(), max(1, first.before())
	}
	return p
}

// goesOnByTime says whether a client that pages on goes on from a moment.
func (r *request) goesOnByTime(s *session) bool {
	first := r.selectors[0]
	return first.moment || first.any && !s.has(CapMessageTags)
}

// fitting returns as many records as an answer has room for, from the end where the
// client's page begins.
func fitting(records []Record, latest bool) []Record {
	size, n := 0, 0
	for n < len(records) {
		r := &records[n]
		if latest {
			r = &records[len(records)-1-n]
		}
		lines := 1 + strings.Count(r.Text, "\n")
		size += len(r.Text) + len(r.Tags) + lines*(len(r.Source)+len(r.Account)+lineOverhead)
		if size > maxAnswer && n > 0 {
			break
		}
		n++
	}
	if latest {
		return records[len(records)-n:]
	}
	return records[:n]
}

// lineOverhead is about what a line of history has besides text and names: the tags
// time, msgid, batch and account, command and target.
const lineOverhead = 200

// readable returns the history of a target if a session may read it: that of a channel
// for its members, and that with another user for those who are logged in. It is the one
// place that says so. others are names under which the history may be, too; shown is
// what clients call it.
func (h *Hall) readable(s *session, target string) (scope *Scope, others []string, shown string) {
	if isChannelName(target) {
		m := s.user.in(h.findChannel(target))
		if m == nil {
			return nil, nil, ""
		}
		return h.scopeOf(m), nil, m.channel.name
	}
	if s.user.account == "" || target == "" || strings.ContainsAny(target, " *!@") {
		return nil, nil, ""
	}
	me, name := s.user.side(), fold(target)
	if u := h.mentioned(target); u != nil {
		return &Scope{Target: Conversation(me, u.side())}, nil, target
	}
	return &Scope{Target: Conversation(me, name)}, []string{Conversation(me, stranger+name)}, target
}

// scopeOf returns what a member may read of a channel.
func (h *Hall) scopeOf(m *member) *Scope {
	scope := &Scope{Target: fold(m.channel.name), Rank: m.rank}
	if !h.config.History.Unregistered || m.channel.registered != nil {
		scope.After = m.channel.began
	}
	if h.config.History.SinceJoin || m.channel.is(modeSinceJoin) {
		scope.After = max(scope.After, m.since-1)
	}
	return scope
}

// listTargets says in which histories of a user something was said last between two
// moments.
func (h *Hall) listTargets(s *session, r *request) {
	low, high, latest := r.selectors[0], r.selectors[1], false
	if low.id > high.id {
		low, high, latest = high, low, true
	}
	w := Work{Kind: ListHistories, Account: s.user.account, After: low.after(), Before: max(1, high.before())}
	for _, m := range s.user.channels {
		w.Scopes = append(w.Scopes, *h.scopeOf(m))
	}
	h.begin(s, w, func(result *Result) {
		if !result.OK {
			h.fail(s, "CHATHISTORY", "MESSAGE_ERROR", "TARGETS", "Messages could not be retrieved")
			return
		}
		targets := result.Targets
		if over := len(targets) - r.limit; over > 0 && latest {
			targets = targets[over:]
		} else if over > 0 {
			targets = targets[:r.limit]
		}
		h.inBatchOf(s, []string{"draft/chathistory-targets"}, func(tag string) {
			for _, t := range targets {
				h.write(s, tag, &ircmsg.Message{
					Source: h.config.Name, Command: "CHATHISTORY", Params: []string{"TARGETS", h.targetFor(s, t.Target), stampOf(t.ID)},
				})
			}
		})
	})
}

// targetFor returns what a session calls a history.
func (h *Hall) targetFor(s *session, target string) string {
	if c := h.channels[target]; c != nil {
		return c.name
	}
	one, other, _ := strings.Cut(target, " ")
	if other == "" || s.user == nil {
		return target
	}
	if one == s.user.side() {
		one = other
	}
	name := strings.TrimPrefix(one, stranger)
	if u := h.find(name); u != nil && u.side() == one {
		return u.nick()
	}
	return name
}
