package hall

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// readHistory does the works about history, as a store does.
func (w *world) readHistory(work *Work, r *Result) {
	r.OK = !w.unreadable
	if w.unreadable {
		return
	}
	switch work.Kind {
	case ReadHistory:
		r.Records = w.page(work.Page)
	case ListHistories:
		r.Targets = w.histories(work)
	case SearchHistory:
		for _, one := range slices.Backward(w.records) {
			if w.finds(work, &one) && len(r.Records) < work.Find.Limit {
				r.Records = append(r.Records, one)
			}
		}
	case ReadMarkers:
		r.Markers = append(r.Markers, w.markers[fold(work.Account)]...)
	case FindRecord:
		l := work.Lookup
		for _, one := range w.records {
			if one.ID == l.ID && one.Rank <= l.Rank && slices.Contains(l.Targets, one.Target) {
				r.Records = []Record{one}
			}
		}
	case RemoveRecord:
		w.removed[work.Lookup.ID] = true
		w.records = slices.DeleteFunc(w.records, func(one Record) bool {
			return one.ID == work.Lookup.ID || one.Reaction && one.Reply == work.Lookup.ID
		})
	case EditRecord:
		e := work.Record
		i := slices.IndexFunc(w.records, func(r Record) bool { return r.ID == e.ID })
		switch {
		case i < 0 && (w.edited[e.ID] == nil || w.edited[e.ID].Edited <= e.Edited):
			w.edited[e.ID] = e
		case i >= 0 && w.records[i].Edited <= e.Edited:
			one := &w.records[i]
			one.Text, one.Joined, one.Edited = e.Text, e.Joined, e.Edited
		}
	}
}

func (w *world) page(p *Page) []Record {
	for _, target := range p.Targets {
		page := Page{Targets: []string{target}, After: p.After, Before: p.Before, Limit: p.Limit, Latest: p.Latest, Rank: p.Rank, Events: p.Events}
		var list []Record
		if p.Around == 0 {
			list = w.whole(page, p.Whole)
		} else {
			before, after := page, page
			before.Before, before.Limit, before.Latest = p.Around, p.Limit/2, true
			after.After, after.Limit, after.Latest = max(p.After, p.Around-1), p.Limit-p.Limit/2, false
			list = append(w.chosen(before), w.chosen(after)...)
		}
		if len(list) > 0 {
			return w.withReactions(list, p)
		}
	}
	return nil
}

// whole returns a page with the rest of the millisecond in which it ends.
func (w *world) whole(p Page, most int) []Record {
	list := w.chosen(p)
	if len(list) < p.Limit || most <= len(list) {
		return list
	}
	rest := p
	rest.Limit = most - len(list)
	if p.Latest {
		rest.Before, rest.After = list[0].ID, max(p.After, list[0].ID>>IDBits<<IDBits-1)
		return append(w.chosen(rest), list...)
	}
	rest.After = list[len(list)-1].ID
	rest.Before = (rest.After>>IDBits + 1) << IDBits
	return append(list, w.chosen(rest)...)
}

func (w *world) chosen(p Page) []Record {
	var list []Record
	for _, r := range w.records {
		if r.Target == p.Targets[0] && r.ID > p.After && (p.Before == 0 || r.ID < p.Before) && r.Rank <= p.Rank && !r.Reaction && (p.Events || !r.IsEvent()) {
			list = append(list, r)
		}
	}
	over := max(0, len(list)-p.Limit)
	if p.Latest {
		return list[over:]
	}
	return list[:len(list)-over]
}

func (w *world) withReactions(list []Record, p *Page) (all []Record) {
	for _, r := range list {
		all = append(all, r)
		for _, reaction := range w.records {
			if p.Reactions && reaction.Reaction && reaction.Reply == r.ID && reaction.Target == r.Target && reaction.Rank <= p.Rank {
				all = append(all, reaction)
			}
		}
	}
	return all
}

func (w *world) finds(work *Work, r *Record) bool {
	f := work.Find
	a, b, _ := strings.Cut(r.Target, " ")
	mine := work.Account != "" && b != "" && (a == fold(work.Account) || b == fold(work.Account))
	nick, _, _ := strings.Cut(r.Source, "!")
	in := slices.ContainsFunc(work.Scopes, func(s Scope) bool { return s.Target == r.Target && r.Rank <= s.Rank && r.ID > s.After })
	all := !slices.ContainsFunc(f.Text, func(part string) bool { return !strings.Contains(strings.ToLower(r.Text), strings.ToLower(part)) })
	return (in || mine) && all && !r.IsEvent() && !r.Reaction && (f.From == "" || fold(nick) == f.From) && r.ID > f.After && (f.Before == 0 || r.ID < f.Before)
}

func (w *world) histories(work *Work) []Latest {
	scopes := work.Scopes
	for _, r := range w.records {
		a, b, ok := strings.Cut(r.Target, " ")
		known := slices.ContainsFunc(scopes, func(s Scope) bool { return s.Target == r.Target })
		if ok && !known && work.Account != "" && (a == fold(work.Account) || b == fold(work.Account)) {
			scopes = append(scopes, Scope{Target: r.Target})
		}
	}
	var list []Latest
	for _, s := range scopes {
		found := w.chosen(Page{Targets: []string{s.Target}, After: max(s.After, work.After), Limit: 1, Latest: true, Rank: s.Rank})
		if len(found) > 0 && (work.Before == 0 || found[0].ID < work.Before) {
			list = append(list, Latest{s.Target, found[0].ID})
		}
	}
	slices.SortFunc(list, func(a, b Latest) int { return int(a.ID - b.ID) })
	return list
}

// pages asks for page after page, each from where the one before ended, and returns the
// texts in order.
func (w *world) pages(id SessionID, backward, timed bool, limit int) (texts []string) {
	w.t.Helper()
	subcommand, from := "AFTER", "msgid=0000000000001"
	if timed {
		from = "timestamp=1970-01-01T00:00:00.000Z"
	}
	if backward {
		subcommand, from = "LATEST", "*"
	}
	for range 10_000 {
		w.line(id, fmt.Sprintf("CHATHISTORY %s #c %s %d", subcommand, from, limit))
		var page, refs []string
		for _, got := range w.look() {
			tags, rest, _ := strings.Cut(got.line, " ")
			if _, text, ok := strings.Cut(rest, " PRIVMSG #c :"); ok {
				page = append(page, text)
				refs = append(refs, reference(tags, timed))
			}
		}
		if len(page) == 0 {
			return texts
		}
		if len(page) > limit && !timed {
			w.t.Errorf("%d messages where %d were asked for", len(page), limit)
		}
		if backward {
			texts, from, subcommand = append(page, texts...), refs[0], "BEFORE"
			continue
		}
		texts, from = append(texts, page...), refs[len(refs)-1]
	}
	w.t.Fatal("the pages have no end")
	return nil
}

// reader joins a channel to read its history.
func (w *world) reader(nick, caps string) SessionID {
	id := w.open(nick, Origin{Host: nick + ".host", Address: "10.0.0.1"})
	for _, line := range []string{"CAP REQ :" + caps, "NICK " + nick, "USER u 0 * :u", "CAP END", "JOIN #c"} {
		w.line(id, line)
	}
	return id
}

// reference returns what a client goes on from after a message with these tags.
func reference(tags string, timed bool) string {
	for tag := range strings.SplitSeq(strings.TrimPrefix(tags, "@"), ";") {
		key, value, _ := strings.Cut(tag, "=")
		if timed && key == "time" {
			return "timestamp=" + value
		}
		if !timed && key == "msgid" {
			return "msgid=" + value
		}
	}
	return ""
}

// Paging has no gap and no duplicate, also where 1,000 messages share a millisecond.
func TestHistoryPages(t *testing.T) {
	w := newWorld(t, Config{History: History{Enabled: true}})
	id := w.reader("ann", "batch message-tags draft/chathistory")
	old := w.reader("bob", "batch server-time draft/chathistory") // pages by time
	var want []string
	for i := range 1900 {
		if i < 300 && i%10 == 0 || i == 1290 || i > 1290 && i%7 == 0 { // 290 to 1289 share one
			w.now++
		}
		text := fmt.Sprint("message ", i)
		w.line(id, "PRIVMSG #c :"+text)
		want = append(want, text)
	}
	w.look()
	for _, test := range []struct {
		limit           int
		backward, timed bool
	}{{1, false, false}, {7, true, false}, {100, true, false}, {100, false, false}, {1000, true, false}, {1, false, true}, {100, true, true}, {1000, true, true}} {
		reader := id
		if test.timed {
			reader = old
		}
		got := w.pages(reader, test.backward, test.timed, test.limit)
		if !slices.Equal(got, want) {
			t.Errorf("%+v: %d messages came, not the %d that were said, in their order", test, len(got), len(want))
		}
	}
	w.healthy()
}
