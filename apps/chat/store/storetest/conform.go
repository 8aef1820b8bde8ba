// Package storetest has what every store.Store must do, as tests.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/epinet/epi/apps/chat/store"
)

// Conform tests stores that open makes, each empty.
func Conform(t *testing.T, open func(t *testing.T) store.Store) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, s store.Store)
	}{
		{"PagesFollowWithoutGapOrDuplicate", pages},
		{"PageLeavesOutWhatIsNotForTheReader", visibility},
		{"MessagesOfAGroupComeBackWhole", groups},
		{"CopiesComeInAnyOrder", copies},
		{"CopiesTogether", copiesTogether},
		{"EditsAndRemovals", edits},
		{"ChangesBeforeTheirMessages", changesFirst},
		{"Announcements", announcements},
		{"Renaming", renaming},
		{"LatestAndConversations", latest},
		{"SearchFindsPartsOfWords", search},
		{"Accounts", accounts},
		{"Credentials", credentials},
		{"Replacements", replacements},
		{"Invitations", invitations},
		{"RefusedWritesHinderNoOthers", refusals},
		{"SmallThings", smallThings},
		{"ClosedStore", closed},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t)
			t.Cleanup(func() { _ = s.Close() }) // a test may have done it
			c.test(t, s)
		})
	}
}

var ctx = context.Background()

// Apply does writes that must all succeed.
func Apply(t *testing.T, s store.Store, writes ...store.Write) {
	t.Helper()
	results, err := s.Apply(ctx, writes)
	if err = errors.Join(append(results, err)...); err != nil {
		t.Fatal(err)
	}
}

// Said is a message to a channel.
func Said(id store.ID, target, text string) store.AddMessage {
	return store.AddMessage{Message: store.Message{ID: id, Target: target, Command: "PRIVMSG", Source: "Nick!user@host", Text: text}}
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func ids(page []store.Message) (list []store.ID) {
	for _, m := range page {
		list = append(list, m.ID)
	}
	return list
}

func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\ngot  %+v\nwant %+v", what, got, want)
	}
}

// pages walks through 3,000 messages, 1,000 of them in one millisecond, in pages of
// every kind.
func pages(t *testing.T, s store.Store) {
	const n = 3000
	at := store.IDAt(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	var writes []store.Write
	var want []store.ID
	for i := range store.ID(n) {
		id := at + i
		if i >= 1000 && i < 2000 {
			id = at + 1000 + i // the same millisecond
		} else if i >= 2000 {
			id = at + (i << store.IDBits)
		}
		writes = append(writes, Said(id, "#c", fmt.Sprint(i)), Said(id+n, "#other", ""))
		want = append(want, id)
	}
	writes = unique(writes)
	Apply(t, s, writes...)
	var forward []store.ID
	for after := store.ID(0); ; {
		page := must[[]store.Message](t)(s.Messages(ctx, store.Query{Target: "#c", After: after, Limit: 97}))
		if len(page) == 0 {
			break
		}
		forward = append(forward, ids(page)...)
		after = page[len(page)-1].ID
	}
	same(t, "pages forward", forward, want)
	var backward []store.ID
	for before := store.ID(0); ; {
		page := must[[]store.Message](t)(s.Messages(ctx, store.Query{Target: "#c", Before: before, Limit: 101, Latest: true}))
		if len(page) == 0 {
			break
		}
		backward = append(ids(page), backward...)
		before = page[0].ID
	}
	same(t, "pages backward", backward, want)
	between := must[[]store.Message](t)(s.Messages(ctx, store.Query{Target: "#c", After: want[10], Before: want[15], Limit: 100}))
	same(t, "between", ids(between), want[11:15])
	var all []store.ID
	for _, w := range writes {
		all = append(all, w.(store.AddMessage).Message.ID)
	}
	slices.Sort(all)
	last := all[len(all)-20:]
	same(t, "own of all targets", ids(must[[]store.Message](t)(s.Own(ctx, last[9], 100))), last[10:])
	same(t, "the first of its own", ids(must[[]store.Message](t)(s.Own(ctx, 0, 20))), all[:20])
	same(t, "its own after the last", len(must[[]store.Message](t)(s.Own(ctx, last[19], 5))), 0)
	same(t, "a target without messages", len(must[[]store.Message](t)(s.Messages(ctx, store.Query{Target: "#none", Limit: 5}))), 0)
}

// copies puts in messages of another machine, out of order and twice.
func copies(t *testing.T, s store.Store) {
	said := func(id store.ID, text string) store.CopyMessage {
		return store.CopyMessage{Message: Said(id, "#c", text).Message}
	}
	Apply(t, s, Said(10, "#c", "quick ten"), Said(30, "#c", "quick thirty"))
	waitIndexed(t, s)
	Apply(t, s, said(20, "quick twenty"), said(10, "another ten"), said(40, "quick forty"), said(20, "another twenty"))
	Apply(t, s, said(20, "another twenty"), Said(50, "#c", "quick fifty"))
	page := must[[]store.Message](t)(s.Messages(ctx, store.Query{Target: "#c", Limit: 9}))
	same(t, "the order of copies", ids(page), []store.ID{10, 20, 30, 40, 50})
	same(t, "what was there", []string{page[0].Text, page[1].Text}, []string{"quick ten", "quick twenty"})
	same(t, "its own", ids(must[[]store.Message](t)(s.Own(ctx, 0, 9))), []store.ID{10, 30, 50})
	waitIndexed(t, s)
	same(t, "what is found", find(t, s, "quick"), []store.ID{50, 40, 30, 20, 10})
	same(t, "what is not", len(find(t, s, "another")), 0)
	Apply(t, s, store.RemoveMessage{ID: 20})
	same(t, "what was removed", find(t, s, "quick"), []store.ID{50, 40, 30, 10})
}

// waitIndexed lets a store that indexes what was said later do so.
func waitIndexed(t *testing.T, s store.Store) {
	t.Helper()
	indexer, ok := s.(interface{ WaitIndexed(context.Context) error })
	if !ok {
		return
	}
	if err := indexer.WaitIndexed(ctx); err != nil {
		t.Fatal(err)
	}
}

// unique leaves out writes whose ID was there before.
func unique(writes []store.Write) (list []store.Write) {
	seen := map[store.ID]bool{}
	for _, w := range writes {
		if id := w.(store.AddMessage).Message.ID; !seen[id] {
			seen[id] = true
			list = append(list, w)
		}
	}
	return list
}

// groups puts in messages together, few and many, where none, one or all have more than a
// text: each comes back whole.
func groups(t *testing.T, s store.Store) {
	id := store.ID(0)
	for _, size := range []int{1, 3, 20, 63, 64, 65, 85, 150} {
		for _, every := range []int{2*size + 2, size, 1} { // that have more: none, one in the middle, all
			var writes []store.Write
			var want []store.Message
			for i := range size {
				id++
				m := Said(id, "#c", fmt.Sprintf("text %d", id)).Message
				if i%every == every/2 {
					m.Rank, m.Tags, m.Bot, m.Joined, m.Reply = 1, "+a=b", true, []int{1, 2}, max(1, id/2)
					m.Params, m.Edited, m.Shown = []string{"one", "two"}, id+1, id+2
				}
				want = append(want, m)
				writes = append(writes, store.AddMessage{Message: m})
			}
			Apply(t, s, writes...)
			got := must[[]store.Message](t)(s.Messages(ctx, store.Query{Target: "#c", After: want[0].ID - 1, Limit: size + 1, Rank: 1}))
			same(t, fmt.Sprintf("%d together, every %d with more", size, every), got, want)
		}
	}
}

// copiesTogether puts in copies in groups of several sizes, with messages of this machine among
// them: what is there already stays, wherever it is in the group.
func copiesTogether(t *testing.T, s store.Store) {
	id := store.ID(0)
	for _, size := range []int{1, 2, 5, 63, 65, 150} {
		for _, full := range []bool{false, true} {
			first := id + 1
			var writes []store.Write
			var want []store.Message
			for i := range size {
				id++
				m := Said(id, "#c", fmt.Sprintf("text %d", id)).Message
				if full && i == size/2 {
					m.Tags, m.Reply = "+a=b", max(1, id/2)
				}
				want = append(want, m)
				again := m
				again.Text = "another text"
				if i%3 == 0 {
					writes = append(writes, store.AddMessage{Message: m})
				} else {
					writes = append(writes, store.CopyMessage{Message: m})
				}
				writes = append(writes, store.CopyMessage{Message: again})
			}
			Apply(t, s, writes...)
			got := must[[]store.Message](t)(s.Messages(ctx, store.Query{Target: "#c", After: first - 1, Limit: size + 1, Rank: 1}))
			same(t, fmt.Sprintf("%d together, one with more: %v", size, full), got, want)
			waitIndexed(t, s)
		}
	}
	same(t, "what is not", len(find(t, s, "another")), 0)
	same(t, "what is found", len(find(t, s, "text 150")), 1)
}

func visibility(t *testing.T, s store.Store) {
	Apply(t, s,
		Said(1, "#c", "for all"),
		store.AddMessage{Message: store.Message{ID: 2, Target: "#c", Command: "PRIVMSG", Source: "a!b@c", Rank: 4, Text: "for operators"}},
		store.AddMessage{Message: store.Message{ID: 3, Target: "#c", Command: "JOIN", Source: "a!b@c", Params: []string{"#c", "acc", "Real name"}, Shown: 2}},
		store.AddMessage{Message: store.Message{ID: 4, Target: "#c", Command: "TAGMSG", Source: "a!b@c", Tags: "+draft/react=x", Reply: 1, Reaction: true}},
		store.AddMessage{Message: store.Message{ID: 5, Target: "#c", Command: "NOTICE", Source: "a!b@c", Account: "a", Bot: true, Text: "one\ntwo", Joined: []int{1}}},
	)
	for _, c := range []struct {
		rank   uint8
		events bool
		want   []store.ID
	}{{0, false, []store.ID{1, 5}}, {4, false, []store.ID{1, 2, 5}}, {0, true, []store.ID{1, 3, 5}}, {31, true, []store.ID{1, 2, 3, 5}}} {
		page := must[[]store.Message](t)(s.Messages(ctx, store.Query{Target: "#c", Limit: 10, Rank: c.rank, Events: c.events}))
		same(t, fmt.Sprintf("rank %d, events %v", c.rank, c.events), ids(page), c.want)
	}
	same(t, "reactions", ids(must[[]store.Message](t)(s.Reactions(ctx, []store.ID{1, 5}))), []store.ID{4})
	same(t, "an event comes back whole", must[store.Message](t)(s.Message(ctx, 3)),
		store.Message{ID: 3, Target: "#c", Command: "JOIN", Source: "a!b@c", Params: []string{"#c", "acc", "Real name"}, Shown: 2})
	same(t, "a multiline message comes back whole", must[store.Message](t)(s.Message(ctx, 5)),
		store.Message{ID: 5, Target: "#c", Command: "NOTICE", Source: "a!b@c", Account: "a", Bot: true, Text: "one\ntwo", Joined: []int{1}})
	if _, err := s.Message(ctx, 99); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("an unknown message: %v", err)
	}
}

func find(t *testing.T, s store.Store, texts ...string) []store.ID {
	t.Helper()
	return ids(must[[]store.Message](t)(s.Search(ctx, store.Search{Targets: []store.Scope{{Target: "#c"}}, Text: texts, Limit: 50})))
}

func edits(t *testing.T, s store.Store) {
	Apply(t, s, Said(1, "#c", "the first version"), Said(2, "#c", "another"),
		store.AddMessage{Message: store.Message{ID: 3, Target: "#c", Command: "TAGMSG", Source: "a!b@c", Reply: 1, Reaction: true}})
	same(t, "before the edit", find(t, s, "version"), []store.ID{1})
	Apply(t, s, store.EditMessage{ID: 1, Edited: 7, Text: "now different"})
	same(t, "the old text is not found", len(find(t, s, "version")), 0)
	same(t, "the new text is found", find(t, s, "different"), []store.ID{1})
	m := must[store.Message](t)(s.Message(ctx, 1))
	same(t, "the edited message", []any{m.Text, m.Edited}, []any{"now different", store.ID(7)})
	Apply(t, s, store.EditMessage{ID: 1, Edited: 6, Text: "an earlier edit that comes late"})
	m = must[store.Message](t)(s.Message(ctx, 1))
	same(t, "after an earlier edit", []any{m.Text, m.Edited}, []any{"now different", store.ID(7)})
	same(t, "its text is found", find(t, s, "different"), []store.ID{1})
	Apply(t, s, store.EditMessage{ID: 1, Edited: 7, Text: "different again"})

	Apply(t, s, store.RemoveMessage{ID: 1})
	same(t, "a removed message is found", len(find(t, s, "different")), 0)
	same(t, "its page", ids(must[[]store.Message](t)(s.Messages(ctx, store.Query{Target: "#c", Limit: 9, Events: true}))), []store.ID{2})
	same(t, "its reactions", len(must[[]store.Message](t)(s.Reactions(ctx, []store.ID{1}))), 0)
	for _, w := range []store.Write{store.EditMessage{ID: 1, Text: "x"}, store.RemoveMessage{ID: 1}} {
		refused(t, s, store.ErrNotFound, w)
	}

	Apply(t, s, Said(10, "#c", "old one"), Said(11, "#d", "old two"), Said(12, "#c", "young"))
	Apply(t, s, store.RemoveBefore{Target: "#c", Before: 12})
	same(t, "retention of one target", ids(must[[]store.Message](t)(s.Messages(ctx, store.Query{Target: "#c", Limit: 9}))), []store.ID{12})
	Apply(t, s, store.RemoveBefore{Before: 12})
	same(t, "retention of all", len(must[[]store.Message](t)(s.Messages(ctx, store.Query{Target: "#d", Limit: 9}))), 0)
	same(t, "what was removed is found", len(find(t, s, "old")), 0)
}

// changesFirst edits and removes messages that come later: a copy has the latest edit, and is left
// out if it was removed, for as long as messages of its age are kept.
func changesFirst(t *testing.T, s store.Store) {
	said := func(id store.ID) store.CopyMessage {
		return store.CopyMessage{Message: Said(id, "#c", "as it was said").Message}
	}
	for _, w := range []store.Write{
		store.EditMessage{ID: 10, Edited: 50, Text: "first"}, store.EditMessage{ID: 10, Edited: 52, Text: "last\none", Joined: []int{1}},
		store.EditMessage{ID: 10, Edited: 51, Text: "second"}, store.EditMessage{ID: 11, Edited: 50, Text: "edited"},
		store.RemoveMessage{ID: 12}, store.EditMessage{ID: 12, Edited: 60, Text: "edited"},
		store.EditMessage{ID: 13, Edited: 60, Text: "edited"}, store.RemoveMessage{ID: 13}, store.RemoveMessage{ID: 9},
	} {
		refused(t, s, store.ErrNotFound, w)
	}
	later := said(11)
	later.Message.Text, later.Message.Edited = "later", 55
	reaction := store.CopyMessage{Message: store.Message{ID: 70, Target: "#c", Command: "TAGMSG", Source: "a!b@c", Reply: 12, Reaction: true}}
	Apply(t, s, said(80)) // what comes then, the index may be past
	waitIndexed(t, s)
	Apply(t, s, said(10), later, said(12), reaction, said(13), said(14), said(90))
	page := must[[]store.Message](t)(s.Messages(ctx, store.Query{Target: "#c", Limit: 9, Events: true}))
	same(t, "those that have come", ids(page), []store.ID{10, 11, 14, 80, 90})
	same(t, "their texts", []any{page[0].Text, page[0].Joined, page[0].Edited, page[1].Text, page[2].Text},
		[]any{"last\none", []int{1}, store.ID(52), "later", "as it was said"})
	same(t, "no reaction", len(must[[]store.Message](t)(s.Reactions(ctx, []store.ID{12}))), 0)
	waitIndexed(t, s)
	same(t, "what is found", find(t, s, "last"), []store.ID{10})

	Apply(t, s, store.RemoveMessage{ID: 14}, said(14), said(20)) // of one that was here, in one transaction
	same(t, "the one that was removed", ids(must[[]store.Message](t)(s.Messages(ctx, store.Query{Target: "#c", After: 11, Limit: 9}))), []store.ID{20, 80, 90})
	Apply(t, s, store.RemoveBefore{Target: "#c", Before: 12}, said(9))
	same(t, "after the target's retention", ids(must[[]store.Message](t)(s.Messages(ctx, store.Query{Target: "#c", Limit: 1}))), []store.ID{20})
	Apply(t, s, store.RemoveBefore{Before: 13}, said(9), said(13))
	same(t, "after the retention of all", ids(must[[]store.Message](t)(s.Messages(ctx, store.Query{Target: "#c", Limit: 2}))), []store.ID{9, 20})
}

// announcements are kept with their writes until they are shared, and not without them.
func announcements(t *testing.T, s store.Store) {
	expect := func(what string, limit int, want ...store.Outgoing) {
		t.Helper()
		same(t, what, must[[]store.Outgoing](t)(s.Announced(ctx, limit)), want)
	}
	if _, err := s.Shared(ctx); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("nothing is shared: %v", err)
	}
	first, second := store.Outgoing{Number: 20, Target: "#c", Entry: "{1}"}, store.Outgoing{Number: 21, Target: "ann", Entry: "{2}"}
	Apply(t, s, Said(1, "#c", "one"), store.Announce{Write: store.EditMessage{ID: 1, Edited: 20, Text: "two"}, Out: first})
	refused(t, s, store.ErrNotFound, store.Announce{Write: store.RemoveMessage{ID: 9}, Out: store.Outgoing{Number: 22}})
	Apply(t, s, store.Announce{Write: store.PutMarker{Marker: store.Marker{Account: "ann", Target: "#c", At: time.UnixMilli(5)}}, Out: second})
	same(t, "the write is done", must[store.Message](t)(s.Message(ctx, 1)).Text, "two")
	same(t, "the other one, too", len(must[[]store.Marker](t)(s.Markers(ctx, "ann"))), 1)
	expect("both", 9, first, second)
	expect("the first", 1, first)
	Apply(t, s, store.PutShared{UpTo: 7, Announced: []store.ID{20, 99}})
	expect("one is shared", 9, second)
	Apply(t, s, store.PutShared{UpTo: 8})
	expect("none more is", 9, second)
	same(t, "how far messages are", must[store.ID](t)(s.Shared(ctx)), store.ID(8))
}

func refused(t *testing.T, s store.Store, want error, w store.Write) {
	t.Helper()
	results, err := s.Apply(ctx, []store.Write{w})
	if err != nil || len(results) != 1 || !errors.Is(results[0], want) {
		t.Errorf("%T: %v, %v, want %v", w, results, err, want)
	}
}

func renaming(t *testing.T, s store.Store) {
	Apply(t, s, Said(1, "#old", "one"), Said(3, "#new", "three"))
	Apply(t, s, store.RenameTarget{From: "#old", To: "#new"}, Said(4, "#old", "four"))
	same(t, "the new name", ids(must[[]store.Message](t)(s.Messages(ctx, store.Query{Target: "#new", Limit: 9}))), []store.ID{1, 3})
	same(t, "the old name", ids(must[[]store.Message](t)(s.Messages(ctx, store.Query{Target: "#old", Limit: 9}))), []store.ID{4})
}

func latest(t *testing.T, s store.Store) {
	ab, bc := store.Conversation("bob", "alice"), store.Conversation("bob", "carol")
	Apply(t, s, Said(1, "#a", ""), Said(5, "#b", ""), Said(9, "#c", ""), Said(7, ab, "hi"), Said(8, bc, "ho"),
		store.AddMessage{Message: store.Message{ID: 20, Target: "#a", Command: "JOIN", Source: "a!b@c"}})
	got := must[[]store.Target](t)(s.Latest(ctx, []string{"#c", "#a", "#none", ab, "#b"}, 1, 9, 10))
	same(t, "latest", got, []store.Target{{Name: "#b", Latest: 5}, {Name: ab, Latest: 7}})
	same(t, "at most", len(must[[]store.Target](t)(s.Latest(ctx, []string{"#c", "#a", "#b"}, 0, 0, 2))), 2)
	same(t, "conversations", must[[]string](t)(s.Conversations(ctx, "Bob")), []string{ab, bc})
	same(t, "of one without", len(must[[]string](t)(s.Conversations(ctx, "dave"))), 0)
}

func search(t *testing.T, s store.Store) {
	texts := []string{"The quick brown fox", "안녕하세요 여러분", "今日は良い天気ですね", "100% of \"it\" a_b", "quick again", "ÄPFEL und Birnen"}
	for i, text := range texts {
		m := Said(store.ID(i+1), "#c", text)
		m.Message.Source = fmt.Sprintf("Nick%d!u@h", i%2)
		Apply(t, s, m)
	}
	Apply(t, s, Said(20, "#secret", "quick secret"), store.AddMessage{Message: store.Message{ID: 21, Target: "#c", Command: "PRIVMSG", Source: "a!b@c", Rank: 4, Text: "quick for operators"}})
	for _, c := range []struct {
		texts []string
		want  []store.ID
	}{
		{[]string{"QUICK"}, []store.ID{5, 1}}, {[]string{"uick", "rown"}, []store.ID{1}}, {[]string{"녕하"}, []store.ID{2}},
		{[]string{"하세요"}, []store.ID{2}}, {[]string{"天気"}, []store.ID{3}}, {[]string{"良い天気"}, []store.ID{3}}, {[]string{"0% o"}, []store.ID{4}},
		{[]string{`"it"`}, []store.ID{4}}, {[]string{"a_b"}, []store.ID{4}}, {[]string{"a%b"}, nil}, {[]string{"nothing"}, nil}, {[]string{"qu", "again"}, []store.ID{5}},
		{[]string{"äpfel"}, []store.ID{6}}, {[]string{"Äp", "BIRNEN"}, []store.ID{6}}, {[]string{"äp%"}, nil},
	} {
		same(t, fmt.Sprintf("%q", c.texts), find(t, s, c.texts...), c.want)
	}
	all := []store.Scope{{Target: "#c", Rank: 4}, {Target: "#secret"}, {Target: "#none"}}
	some := func(q store.Search) []store.ID { return ids(must[[]store.Message](t)(s.Search(ctx, q))) }
	same(t, "all scopes", some(store.Search{Targets: all, Text: []string{"quick"}, Limit: 9}), []store.ID{21, 20, 5, 1})
	same(t, "limit", some(store.Search{Targets: all, Text: []string{"quick"}, Limit: 2}), []store.ID{21, 20})
	same(t, "range", some(store.Search{Targets: all, Text: []string{"quick"}, After: 1, Before: 21, Limit: 9}), []store.ID{20, 5})
	same(t, "from", some(store.Search{Targets: all, Text: []string{"quick"}, From: "nick0", Limit: 9}), []store.ID{5, 1})
	same(t, "since", some(store.Search{Targets: []store.Scope{{Target: "#c", Since: 2}}, Text: []string{"quick"}, Limit: 9}), []store.ID{5})
	same(t, "without a text", some(store.Search{Targets: []store.Scope{{Target: "#secret"}}, Limit: 9}), []store.ID{20})
	same(t, "no scope", len(some(store.Search{Text: []string{"quick"}, Limit: 9})), 0)
}

func account(name string) store.Account {
	return store.Account{Name: name, Created: time.UnixMilli(1000).UTC(), Email: name + "@example.org", Settings: map[string]string{"theme": "dark"}}
}

func accounts(t *testing.T, s store.Store) {
	Apply(t, s, store.AddAccount{Account: account("Alice")}, store.AddAccount{Account: account("bob")})
	same(t, "an account", must[store.Account](t)(s.Account(ctx, "ALICE")), account("Alice"))
	refused(t, s, store.ErrExists, store.AddAccount{Account: account("aLICE")})
	changed := account("Alice")
	for _, step := range []struct {
		write, nobody store.Write
		change        func()
	}{
		{store.SetSuspended{Account: "ALICE", Reason: "spam"}, store.SetSuspended{Account: "carol"}, func() { changed.Suspended = "spam" }},
		{store.SetVerified{Account: "alice"}, store.SetVerified{Account: "carol"}, func() { changed.Verified = true }},
		{store.SetRole{Account: "Alice", Role: "admin"}, store.SetRole{Account: "carol"}, func() { changed.Role = "admin" }},
	} {
		refused(t, s, store.ErrNotFound, step.nobody)
		Apply(t, s, step.write)
		step.change()
		same(t, "a changed account", must[store.Account](t)(s.Account(ctx, "alice")), changed)
	}
	var names []string
	if err := s.Accounts(ctx, func(a store.Account) error { names = append(names, a.Name); return nil }); err != nil {
		t.Fatal(err)
	}
	same(t, "all", names, []string{"Alice", "bob"})
	stop := errors.New("stop")
	if err := s.Accounts(ctx, func(store.Account) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("the error of the function is %v", err)
	}
	Apply(t, s, store.PutMarker{Marker: store.Marker{Account: "alice", Target: "#c", At: time.UnixMilli(5)}}, store.RemoveAccount{Name: "ALICE"})
	if _, err := s.Account(ctx, "alice"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a removed account: %v", err)
	}
	same(t, "its markers", len(must[[]store.Marker](t)(s.Markers(ctx, "alice"))), 0)
	refused(t, s, store.ErrNotFound, store.RemoveAccount{Name: "alice"})
}

func credentials(t *testing.T, s store.Store) {
	at := time.UnixMilli(2000).UTC()
	password := store.Credential{Kind: store.Password, Secret: "hash", Created: at}
	print1 := store.Credential{Kind: store.Certificate, Label: "phone", Secret: "abcd", Created: at}
	Apply(t, s, store.AddAccount{Account: account("Alice"), Credentials: []store.Credential{password, print1}}, store.AddAccount{Account: account("bob")})
	password.Account, print1.Account = "Alice", "Alice"
	same(t, "credentials", must[[]store.Credential](t)(s.Credentials(ctx, "alice")), []store.Credential{print1, password})
	same(t, "by fingerprint", must[store.Account](t)(s.FindCredential(ctx, store.Certificate, "abcd")).Name, "Alice")
	if _, err := s.FindCredential(ctx, store.Certificate, "other"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("an unknown fingerprint: %v", err)
	}
	refused(t, s, store.ErrExists, store.PutCredential{Credential: store.Credential{Account: "bob", Kind: store.Certificate, Label: "x", Secret: "abcd"}})
	refused(t, s, store.ErrNotFound, store.PutCredential{Credential: store.Credential{Account: "carol", Kind: store.Password, Secret: "x"}})
	refused(t, s, store.ErrExists, store.AddAccount{Account: account("dave"), Credentials: []store.Credential{{Kind: store.Certificate, Secret: "abcd"}}})
	if _, err := s.Account(ctx, "dave"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("an account whose credentials were refused is there: %v", err)
	}
	password.Secret = "new hash"
	Apply(t, s, store.PutCredential{Credential: password}, store.TouchCredential{Account: "ALICE", Kind: store.Password, Used: at})
	password.Used = at
	same(t, "a replaced password", must[[]store.Credential](t)(s.Credentials(ctx, "alice")), []store.Credential{print1, password})
	Apply(t, s, store.RemoveCredential{Account: "alice", Kind: store.Certificate, Label: "phone"})
	refused(t, s, store.ErrNotFound, store.RemoveCredential{Account: "alice", Kind: store.Certificate, Label: "phone"})
	refused(t, s, store.ErrNotFound, store.TouchCredential{Account: "alice", Kind: store.Certificate, Label: "phone"})
	Apply(t, s, store.RemoveAccount{Name: "alice"}, store.AddAccount{Account: account("alice")})
	same(t, "credentials of a new account of that name", len(must[[]store.Credential](t)(s.Credentials(ctx, "alice"))), 0)
}

// replacements makes accounts what another machine knows of them.
func replacements(t *testing.T, s store.Store) {
	at := time.UnixMilli(2000).UTC()
	password := store.Credential{Account: "Alice", Kind: store.Password, Secret: "hash", Created: at}
	print1 := store.Credential{Account: "Alice", Kind: store.Certificate, Label: "phone", Secret: "abcd", Created: at}
	Apply(t, s,
		store.ReplaceAccount{Account: account("Alice"), Credentials: []store.Credential{password, print1}},
		store.PutMarker{Marker: store.Marker{Account: "alice", Target: "#c", At: at}})
	same(t, "an account that was not there", must[store.Account](t)(s.Account(ctx, "alice")), account("Alice"))
	same(t, "its credentials", must[[]store.Credential](t)(s.Credentials(ctx, "alice")), []store.Credential{print1, password})
	changed := account("ALICE")
	changed.Role, changed.Suspended, changed.Verified = "admin", "spam", true
	Apply(t, s, store.ReplaceAccount{Account: changed, Credentials: []store.Credential{password}})
	same(t, "an account that was there", must[store.Account](t)(s.Account(ctx, "alice")), changed)
	password.Account = "ALICE"
	same(t, "the credentials that are left", must[[]store.Credential](t)(s.Credentials(ctx, "alice")), []store.Credential{password})
	same(t, "what else belongs to it", len(must[[]store.Marker](t)(s.Markers(ctx, "alice"))), 1)
	print1.Account = "bob"
	Apply(t, s,
		store.PutCredential{Credential: store.Credential{Account: "alice", Kind: store.Certificate, Label: "phone", Secret: "abcd", Created: at}},
		store.ReplaceAccount{Account: account("bob"), Credentials: []store.Credential{print1}})
	same(t, "whose certificate it is", must[store.Account](t)(s.FindCredential(ctx, store.Certificate, "abcd")).Name, "bob")
	same(t, "the credentials of who had it", must[[]store.Credential](t)(s.Credentials(ctx, "alice")), []store.Credential{password})
}

// invited makes an account at a time by an invitation.
func invited(name string, at int64, hash string) store.AddAccount {
	a := account(name)
	a.Created = time.UnixMilli(at).UTC()
	return store.AddAccount{Account: a, Invitation: hash}
}

func invitations(t *testing.T, s store.Store) {
	i := store.Invitation{Hash: "h", By: "ann", Role: "admin", Channel: "#c", Created: time.UnixMilli(1).UTC(), Expires: time.UnixMilli(100).UTC(), Left: 2}
	Apply(t, s, store.PutInvitation{Invitation: i})
	same(t, "an invitation", must[store.Invitation](t)(s.Invitation(ctx, "h")), i)
	if _, err := s.Invitation(ctx, "other"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("an unknown invitation: %v", err)
	}
	refused(t, s, store.ErrNotFound, invited("a", 50, "other"))
	refused(t, s, store.ErrNotFound, invited("a", 100, "h")) // it has expired
	Apply(t, s, invited("a", 50, "h"))
	refused(t, s, store.ErrExists, invited("A", 60, "h"))
	i.Left = 1 // a refused account uses none
	same(t, "an invitation that was used", must[store.Invitation](t)(s.Invitation(ctx, "h")), i)
	Apply(t, s, invited("b", 99, "h"))
	refused(t, s, store.ErrNotFound, invited("c", 50, "h")) // it is used up
	if _, err := s.Account(ctx, "c"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("an account without an invitation: %v", err)
	}
	Apply(t, s, store.PutInvitation{Invitation: i}, store.RemoveInvitation{Hash: "h"})
	refused(t, s, store.ErrNotFound, store.RemoveInvitation{Hash: "h"})
}

func refusals(t *testing.T, s store.Store) {
	results, err := s.Apply(ctx, []store.Write{
		Said(1, "#c", "one"), store.RemoveMessage{ID: 99}, Said(2, "#c", "two"),
		store.AddAccount{Account: account("a")}, store.AddAccount{Account: account("A")}, Said(3, "#c", "three"),
	})
	if err != nil || len(results) != 6 {
		t.Fatal(results, err)
	}
	for i, want := range []error{nil, store.ErrNotFound, nil, nil, store.ErrExists, nil} {
		if !errors.Is(results[i], want) {
			t.Errorf("write %d: %v, want %v", i, results[i], want)
		}
	}
	same(t, "the others", ids(must[[]store.Message](t)(s.Messages(ctx, store.Query{Target: "#c", Limit: 9}))), []store.ID{1, 2, 3})
}

func smallThings(t *testing.T, s store.Store) {
	at := time.UnixMilli(3000).UTC()
	channel := store.Channel{Name: "#Go", Founder: "alice", Created: at, Modes: "nt", Topic: "t", TopicBy: "a", TopicAt: at,
		Lists: map[string][]store.Entry{"b": {{Mask: "*!*@x", By: "a", At: at}}}, Ranks: map[string]string{"bob": "o"}, KeepDays: 7}
	Apply(t, s, store.PutChannel{Channel: store.Channel{Name: "#go"}}, store.PutChannel{Channel: channel})
	var channels []store.Channel
	if err := s.Channels(ctx, func(c store.Channel) error { channels = append(channels, c); return nil }); err != nil {
		t.Fatal(err)
	}
	same(t, "channels", channels, []store.Channel{channel})
	same(t, "a channel", must[store.Channel](t)(s.Channel(ctx, "#gO")), channel)
	refused(t, s, store.ErrExists, store.AddChannel{Channel: store.Channel{Name: "#gO"}})
	Apply(t, s, store.AddChannel{Channel: store.Channel{Name: "#new"}}, store.RemoveChannel{Name: "#NEW"})
	Apply(t, s, store.RemoveChannel{Name: "#GO"})
	if _, err := s.Channel(ctx, "#go"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a channel that was removed: %v", err)
	}
	refused(t, s, store.ErrNotFound, store.RemoveChannel{Name: "#GO"})

	ban := store.Ban{Mask: "*!*@x", Reason: "r", By: "a", At: at, Until: at.Add(time.Hour)}
	Apply(t, s, store.PutBan{Ban: store.Ban{Mask: "*!*@x"}}, store.PutBan{Ban: ban})
	same(t, "bans", must[[]store.Ban](t)(s.Bans(ctx)), []store.Ban{ban})
	Apply(t, s, store.RemoveBan{Mask: "*!*@x"})
	refused(t, s, store.ErrNotFound, store.RemoveBan{Mask: "*!*@x"})

	positions := []store.Position{{Shard: 0, Stream: 1, Number: 1 << 40, At: 3}, {Shard: 7, Stream: -1, Number: 5, At: 6}}
	Apply(t, s, store.PutPosition{Position: store.Position{Shard: 7, Number: 1}}, store.PutPosition{Position: positions[1]}, store.PutPosition{Position: positions[0]})
	same(t, "positions", must[[]store.Position](t)(s.Positions(ctx)), positions)

	presence := store.Presence{Account: "Alice", Nick: "al", Channels: map[string]string{"#go": "o"}}
	Apply(t, s, store.PutPresence{Presence: presence})
	same(t, "presences", must[[]store.Presence](t)(s.Presences(ctx)), []store.Presence{presence})
	Apply(t, s, store.RemovePresence{Account: "ALICE"})
	same(t, "no presences", len(must[[]store.Presence](t)(s.Presences(ctx))), 0)

	for _, ms := range []int64{5, 9, 7} {
		Apply(t, s, store.PutMarker{Marker: store.Marker{Account: "Alice", Target: "#c", At: time.UnixMilli(ms)}})
	}
	same(t, "markers go forward", must[[]store.Marker](t)(s.Markers(ctx, "alice")), []store.Marker{{Account: "alice", Target: "#c", At: time.UnixMilli(9).UTC()}})

	Apply(t, s, store.PutDatum{Datum: store.Datum{Owner: "alice", Key: "b", Value: "2"}}, store.PutDatum{Datum: store.Datum{Owner: "alice", Key: "a", Value: "1"}},
		store.PutDatum{Datum: store.Datum{Owner: "alice", Key: "c", Value: "3"}}, store.PutDatum{Datum: store.Datum{Owner: "alice", Key: "c"}})
	same(t, "metadata", must[[]store.Datum](t)(s.Metadata(ctx, "alice")), []store.Datum{{Owner: "alice", Key: "a", Value: "1"}, {Owner: "alice", Key: "b", Value: "2"}})

	upload := store.Upload{ID: "u1", Account: "alice", Name: "a.png", Type: "image/png", Size: 5, Created: at}
	Apply(t, s, store.PutUpload{Upload: upload})
	same(t, "an upload", must[store.Upload](t)(s.Upload(ctx, "u1")), upload)
	same(t, "uploads of others", len(must[[]store.Upload](t)(s.Uploads(ctx, "bob"))), 0)
	same(t, "all uploads", must[[]store.Upload](t)(s.Uploads(ctx, "")), []store.Upload{upload})
	Apply(t, s, store.RemoveUpload{ID: "u1"})
	if _, err := s.Upload(ctx, "u1"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a removed upload: %v", err)
	}

	push := store.Subscription{Account: "alice", Endpoint: "https://push.example/1", Keys: "k", Created: at}
	Apply(t, s, store.PutSubscription{Subscription: push}, store.RemoveSubscription{Account: "bob", Endpoint: push.Endpoint})
	same(t, "subscriptions", must[[]store.Subscription](t)(s.Subscriptions(ctx, "Alice")), []store.Subscription{push})
	Apply(t, s, store.RemoveSubscription{Account: "Alice", Endpoint: push.Endpoint})
	same(t, "no subscriptions", len(must[[]store.Subscription](t)(s.Subscriptions(ctx, "Alice"))), 0)

	Apply(t, s, store.AddDeed{Deed: store.Deed{At: at, By: "root", What: "KILL", Target: "spammer"}}, store.AddDeed{Deed: store.Deed{At: at, By: "root", What: "REHASH"}})
	same(t, "deeds", must[[]store.Deed](t)(s.Audit(ctx, 1)), []store.Deed{{At: at, By: "root", What: "REHASH"}})
}

func closed(t *testing.T, s store.Store) {
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Apply(ctx, []store.Write{Said(1, "#c", "x")}); err == nil {
		t.Error("a closed store takes writes")
	}
	if _, err := s.Message(ctx, 1); err == nil || errors.Is(err, store.ErrNotFound) {
		t.Errorf("a closed store answers %v", err)
	}
}

// Agree does random writes on both stores, and compares all that they answer.
func Agree(t *testing.T, seed uint64, a, b store.Store, rounds int) {
	r := rand.New(rand.NewPCG(seed, 0))
	next := store.ID(1)
	words := []string{"alpha", "beta", "Gamma", "한국어", "x", "日本語", "50%"}
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	target := func() string { return pick("#a", "#b", "#c", store.Conversation("ann", "bob")) }
	for range rounds {
		var writes []store.Write
		for range 1 + r.IntN(80) {
			old := store.ID(1 + r.Int64N(int64(next)))
			var w store.Write
			switch r.IntN(20) {
			case 0:
				w = store.EditMessage{ID: old, Edited: next - store.ID(r.Int64N(3)), Text: pick(words...) + " edited"}
			case 1:
				w = store.RemoveMessage{ID: old}
			case 2:
				w = store.RenameTarget{From: target(), To: target()}
			case 3:
				w = store.AddAccount{Account: account(pick("ann", "Bob", "CAROL"))}
			case 4:
				w = store.RemoveAccount{Name: pick("Ann", "bob", "carol")}
			case 5:
				w = store.PutCredential{Credential: store.Credential{Account: pick("ann", "bob"), Kind: store.Certificate, Label: pick("p", "q"), Secret: pick("f1", "f2"), Created: time.UnixMilli(1)}}
			case 6:
				w = store.RemoveBefore{Target: target(), Before: old / 2}
			case 7:
				w = store.AddMessage{Message: store.Message{ID: next, Target: target(), Command: "TAGMSG", Source: "ann!a@b", Reply: old, Reaction: true}}
				next++
			case 9:
				name := pick("ann", "Bob")
				w = store.ReplaceAccount{Account: account(name), Credentials: []store.Credential{{Kind: store.Certificate, Label: pick("p", "q"), Secret: pick("f1", "f2"), Created: time.UnixMilli(1)}}}
			case 8:
				w = store.AddMessage{Message: store.Message{ID: next, Target: target(), Command: "PART", Source: "ann!a@b", Params: []string{"#a", pick(words...)}}}
				next++
			default:
				m := Said(next, target(), pick(words...)+" "+pick(words...))
				m.Message.Source, m.Message.Rank = pick("ann", "BOB")+"!u@h", uint8(r.IntN(3))
				w = m
				next++
			}
			writes = append(writes, w)
		}
		ra, ea := a.Apply(ctx, writes)
		rb, eb := b.Apply(ctx, writes)
		if ea != nil || eb != nil {
			t.Fatal(ea, eb)
		}
		for i := range writes {
			if (ra != nil && ra[i] != nil) != (rb != nil && rb[i] != nil) {
				t.Fatalf("seed %d: %+v: refused with %v and %v", seed, writes[i], ra, rb)
			}
		}
		compare(t, seed, a, b, next, words)
	}
}

func compare(t *testing.T, seed uint64, a, b store.Store, next store.ID, words []string) {
	t.Helper()
	for _, target := range []string{"#a", "#b", "#c", store.Conversation("ann", "bob")} {
		for _, q := range []store.Query{
			{Target: target, Limit: 50, Latest: true}, {Target: target, Limit: 50, Events: true, Rank: 2},
			{Target: target, After: next / 3, Before: next / 2, Limit: 20, Rank: 1},
		} {
			same(t, fmt.Sprintf("seed %d: %+v", seed, q), must[[]store.Message](t)(a.Messages(ctx, q)), must[[]store.Message](t)(b.Messages(ctx, q)))
		}
		for _, word := range words {
			q := store.Search{Targets: []store.Scope{{Target: target, Rank: 1}}, Text: []string{word}, Limit: 20}
			same(t, fmt.Sprintf("seed %d: %+v", seed, q), must[[]store.Message](t)(a.Search(ctx, q)), must[[]store.Message](t)(b.Search(ctx, q)))
		}
	}
	for _, name := range []string{"ann", "bob", "carol"} {
		same(t, "credentials of "+name, must[[]store.Credential](t)(a.Credentials(ctx, name)), must[[]store.Credential](t)(b.Credentials(ctx, name)))
	}
	if t.Failed() {
		t.FailNow()
	}
}
