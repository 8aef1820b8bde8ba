package archive_test

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/epinet/epi/apps/chat/archive"
	"github.com/epinet/epi/apps/chat/hall"
	"github.com/epinet/epi/apps/chat/store"
	"github.com/epinet/epi/internal/epitest"
)

func TestMain(m *testing.M) { epitest.Main(m, nil) }

// each runs a test with an archive in every kind of store.
func each(t *testing.T, test func(t *testing.T, a *archive.Archive, s store.Store)) {
	for name, open := range map[string]func(t *testing.T) store.Store{
		"memory": func(*testing.T) store.Store { return store.NewMemory() },
		"sqlite": func(t *testing.T) store.Store {
			s, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "chat.db"), store.Relaxed)
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			w := store.NewWriter(s)
			test(t, archive.New(s, w, epitest.NoLog()), s)
			if err := errors.Join(w.Close(t.Context()), s.Close()); err != nil {
				t.Error(err)
			}
		})
	}
}

// id is a number in a millisecond.
func id(ms, n int64) int64 { return ms<<hall.IDBits | n }

func said(id int64, target, text string) *hall.Record {
	return &hall.Record{ID: id, Target: target, Command: "PRIVMSG", Source: "ann!a@h", Text: text}
}

// keep records messages, and waits until they are durable.
func keep(t *testing.T, a *archive.Archive, records ...*hall.Record) {
	t.Helper()
	done := make(chan error, len(records))
	for _, r := range records {
		a.Record(r, func(err error) { done <- err })
	}
	for range records {
		if err := epitest.Receive(t, done); err != nil {
			t.Fatal(err)
		}
	}
}

func texts(r hall.Result) string {
	var list []string
	for _, one := range r.Records {
		list = append(list, one.Text+one.Tags)
	}
	return strings.Join(list, " ")
}

// TestEventInManyChannels: a QUIT has one msgid in all channels; pages go on from it
// without gap or duplicate in each.
func TestEventInManyChannels(t *testing.T) {
	each(t, func(t *testing.T, a *archive.Archive, _ store.Store) {
		quit := func(n int64, target string) *hall.Record {
			r := &hall.Record{ID: id(2, n), Target: target, Command: "QUIT", Params: []string{"bye"}, Source: "bob!b@h"}
			if n > 0 {
				r.As = id(2, 0)
			}
			return r
		}
		for i, target := range []string{"#a", "#b", "#c"} {
			keep(t, a, said(id(1, int64(i)), target, "before"), quit(int64(i), target), said(id(3, int64(i)), target, "after"))
		}
		for _, target := range []string{"#a", "#b", "#c"} {
			for _, test := range []struct {
				page hall.Page
				want string
			}{
				{hall.Page{After: id(2, 0), Limit: 1}, "after"},
				{hall.Page{After: id(2, 0), Limit: 9}, "after"},
				{hall.Page{After: id(2, 0), Limit: 9, Latest: true}, "after"},
				{hall.Page{Before: id(2, 0), Limit: 9, Latest: true}, "before"},
				{hall.Page{Around: id(2, 0), Limit: 3}, "before QUIT after"},
			} {
				test.page.Targets, test.page.Events = []string{target}, true
				got := a.Do(t.Context(), &hall.Work{Kind: hall.ReadHistory, Page: &test.page})
				var list []string
				for _, r := range got.Records {
					switch {
					case r.Command != "QUIT":
						list = append(list, r.Text)
					case cmp.Or(r.As, r.ID) == id(2, 0):
						list = append(list, "QUIT")
					}
				}
				if strings.Join(list, " ") != test.want {
					t.Errorf("%s: %+v gives %q, not %q", target, test.page, list, test.want)
				}
			}
		}
	})
}

func TestPages(t *testing.T) {
	each(t, func(t *testing.T, a *archive.Archive, _ store.Store) {
		keep(t, a,
			said(id(1, 0), "#a", "1"), said(id(2, 0), "#a", "2"), said(id(2, 1), "#a", "3"), said(id(2, 2), "#a", "4"),
			&hall.Record{ID: id(3, 0), Target: "#a", Command: "JOIN", Params: []string{"#a", "*", "Ann"}, Source: "ann!a@h"},
			&hall.Record{ID: id(3, 1), Target: "#a", Command: "PRIVMSG", Source: "ann!a@h", Text: "5", Rank: hall.Op, Params: []string{"@#a"}},
			said(id(4, 0), "#a", "6"),
			&hall.Record{ID: id(5, 0), Target: "#a", Command: "TAGMSG", Source: "bob!b@h", Reply: id(1, 0), Reaction: true, Tags: "+draft/react=x"},
			said(id(6, 0), "#b", "other"),
		)
		for _, test := range []struct {
			page hall.Page
			want string
		}{
			{hall.Page{Limit: 9}, "1 2 3 4 6"},
			{hall.Page{Limit: 9, Rank: hall.Founder}, "1 2 3 4 5 6"},
			{hall.Page{Limit: 2}, "1 2"},
			{hall.Page{Limit: 2, Latest: true}, "4 6"},
			{hall.Page{Limit: 2, Whole: 9}, "1 2 3 4"},
			{hall.Page{Limit: 2, Whole: 3}, "1 2 3"},
			{hall.Page{Limit: 2, Latest: true, Whole: 9}, "2 3 4 6"},
			{hall.Page{Limit: 2, Latest: true, Whole: 9, After: id(2, 0)}, "3 4 6"},
			{hall.Page{Limit: 1, Whole: 9, After: id(2, 0), Before: id(2, 2)}, "3"},
			{hall.Page{Limit: 9, After: id(2, 0), Before: id(4, 0)}, "3 4"},
			{hall.Page{Limit: 1, Around: id(2, 1)}, "3"},
			{hall.Page{Limit: 3, Around: id(2, 1)}, "2 3 4"},
			{hall.Page{Limit: 9, Around: id(2, 1), After: id(2, 0)}, "3 4 6"},
			{hall.Page{Limit: 1, Reactions: true}, "1 +draft/react=x"},
			{hall.Page{Limit: 9, Events: true, After: id(2, 2)}, " 6"},
			{hall.Page{Targets: []string{"#none", "#b", "#a"}, Limit: 9}, "other"},
		} {
			if test.page.Targets == nil {
				test.page.Targets = []string{"#a"}
			}
			got := a.Do(t.Context(), &hall.Work{Kind: hall.ReadHistory, Page: &test.page})
			if !got.OK || texts(got) != test.want {
				t.Errorf("%+v gives %q, %v; not %q", test.page, texts(got), got.OK, test.want)
			}
		}
	})
}

// A record comes back as it was kept.
func TestRecordsComeBack(t *testing.T) {
	each(t, func(t *testing.T, a *archive.Archive, _ store.Store) {
		want := hall.Record{
			ID: id(7, 3), Target: hall.Conversation("ann", "bob"), Command: "NOTICE", Params: []string{"Bob"}, Source: "ann!a@h", Account: "Ann",
			Bot: true, Tags: `+a=b\s`, Text: "one\ntwo\nthree", Joined: []int{1}, Reply: id(6, 0),
		}
		kept := want
		kept.Session, kept.Label = 5, "not kept"
		keep(t, a, &kept)
		got := a.Do(t.Context(), &hall.Work{Kind: hall.ReadHistory, Page: &hall.Page{Targets: []string{want.Target}, Limit: 1}})
		if len(got.Records) != 1 || fmt.Sprintf("%+v", got.Records[0]) != fmt.Sprintf("%+v", want) {
			t.Errorf("%+v came back as %+v", want, got.Records)
		}
	})
}

// TestCopyIsReadAtOnce: who reads gets what another machine has said, though its copy may wait
// for a commit.
func TestCopyIsReadAtOnce(t *testing.T) {
	each(t, func(t *testing.T, a *archive.Archive, _ store.Store) {
		for n := range int64(20) {
			r := said(id(n+1, 0), "#c", fmt.Sprint("text ", n))
			r.Copy = true
			a.Record(r, func(error) {})
			got := a.Do(t.Context(), &hall.Work{Kind: hall.ReadHistory, Page: &hall.Page{Targets: []string{"#c"}, Limit: 100}})
			if !got.OK || len(got.Records) != int(n)+1 {
				t.Fatalf("after %d copies, %d are read", n+1, len(got.Records))
			}
		}
	})
}

func TestHistories(t *testing.T) {
	each(t, func(t *testing.T, a *archive.Archive, _ store.Store) {
		keep(t, a,
			said(id(1, 0), "#a", "x"), said(id(2, 0), "#b", "x"), said(id(3, 0), hall.Conversation("ann", "*bob"), "x"), said(id(4, 0), "#c", "x"),
			&hall.Record{ID: id(5, 0), Target: "#a", Command: "PRIVMSG", Text: "for operators", Rank: hall.Op},
		)
		scopes := []hall.Scope{{Target: "#c"}, {Target: "#a"}, {Target: "#none"}, {Target: "#b", After: id(2, 0)}}
		got := a.Do(t.Context(), &hall.Work{Kind: hall.ListHistories, Account: "Ann", Scopes: scopes, Before: id(4, 0)})
		want := []hall.Latest{{Target: "#a", ID: id(1, 0)}, {Target: hall.Conversation("ann", "*bob"), ID: id(3, 0)}}
		if !got.OK || !slices.Equal(got.Targets, want) {
			t.Errorf("histories are %v, not %v", got.Targets, want)
		}
	})
}

// What this node has said is read as it is now, page after page, without what others have said.
func TestUnshared(t *testing.T) {
	each(t, func(t *testing.T, a *archive.Archive, _ store.Store) {
		if _, ok, err := a.Mark(); ok || err != nil {
			t.Errorf("a new archive has a mark: %v, %v", ok, err)
		}
		const all = 600
		var records []*hall.Record
		var want []int64
		for i := range int64(all) {
			records = append(records, said(id(1000+i, 0), "#a", fmt.Sprint(i)), &hall.Record{ID: id(1000+i, 1), Target: "#a", Command: "PRIVMSG", Copy: true})
			want = append(want, id(1000+i, 0))
		}
		keep(t, a, records...)
		edit := hall.Work{Kind: hall.EditRecord, Record: &hall.Record{ID: want[2], Text: "edited", Edited: id(5000, 0)}}
		for _, w := range []*hall.Work{&edit, {Kind: hall.RemoveRecord, Lookup: &hall.Lookup{ID: want[1]}}} {
			if r := a.Do(t.Context(), w); !r.OK {
				t.Fatalf("%+v", r)
			}
		}
		want = slices.Delete(want, 1, 2)
		var got []int64
		for after, more := int64(0), true; more; {
			u, err := a.Unshared(t.Context(), after)
			if err != nil {
				t.Fatal(err)
			}
			if after == 0 && u.Records[1].Text != "edited" {
				t.Errorf("the third is %+v", u.Records[1])
			}
			for _, r := range u.Records {
				got = append(got, r.ID)
			}
			after, more = u.UpTo, u.More
			if !more && after != id(1000+all-1, 1) {
				t.Errorf("they end with %d", after)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d are not shared: %v", len(got), got)
		}
		done := make(chan error, 1)
		a.Shared(want[3], nil, func(err error) { done <- err })
		if err := epitest.Receive(t, done); err != nil {
			t.Fatal(err)
		}
		if upTo, ok, err := a.Mark(); upTo != want[3] || !ok || err != nil {
			t.Errorf("the mark is %d, %v, %v", upTo, ok, err)
		}
	})
}

// A store that fails is said to: an empty page would be taken for the end of history.
func TestFailure(t *testing.T) {
	s := store.NewMemory()
	w := store.NewWriter(s)
	a := archive.New(s, w, epitest.NoLog())
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	a.Record(said(1, "#a", "x"), func(err error) { done <- err })
	if err := epitest.Receive(t, done); !errors.Is(err, store.ErrClosed) {
		t.Errorf("keeping in a closed store: %v", err)
	}
	if err := w.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// What somebody may search in is what they may read.
func TestSearch(t *testing.T) {
	each(t, func(t *testing.T, a *archive.Archive, s store.Store) {
		keep(t, a,
			said(id(1, 0), "#a", "quick one"), said(id(2, 0), "#a", "빠른 여우"), said(id(3, 0), hall.Conversation("ann", "bob"), "quick two"),
			&hall.Record{ID: id(4, 0), Target: "#a", Command: "PRIVMSG", Source: "bob!b@h", Text: "quick secret", Rank: hall.Op}, said(id(5, 0), "#b", "quick elsewhere"),
		)
		if disk, ok := s.(*store.SQLite); ok {
			if err := disk.WaitIndexed(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		for _, test := range []struct {
			scopes  []hall.Scope
			account string
			find    hall.Find
			want    string
		}{
			{[]hall.Scope{{Target: "#a"}}, "", hall.Find{Text: []string{"quick"}}, "quick one"},
			{[]hall.Scope{{Target: "#a", After: id(1, 0)}}, "", hall.Find{Text: []string{"quick"}}, ""},
			{[]hall.Scope{{Target: "#a", Rank: hall.Op}}, "Ann", hall.Find{Text: []string{"QUICK"}}, "quick secret quick two quick one"},
			{[]hall.Scope{{Target: "#a", Rank: hall.Op}}, "", hall.Find{Text: []string{"quick"}, From: "bob"}, "quick secret"},
			{[]hall.Scope{{Target: "#a"}}, "", hall.Find{Text: []string{"여우", "빠른"}}, "빠른 여우"},
			{nil, "", hall.Find{Text: []string{"quick"}}, ""},
		} {
			test.find.Limit = 9
			got := a.Do(t.Context(), &hall.Work{Kind: hall.SearchHistory, Scopes: test.scopes, Account: test.account, Find: &test.find})
			if !got.OK || texts(got) != test.want {
				t.Errorf("%+v in %v of %q gives %q, not %q", test.find, test.scopes, test.account, texts(got), test.want)
			}
		}
		// A message that is deleted is gone for everybody, and a text that was changed is
		// found no more.
		for _, w := range []hall.Work{
			{Kind: hall.RemoveRecord, Lookup: &hall.Lookup{ID: id(1, 0)}},
			{Kind: hall.EditRecord, Record: &hall.Record{ID: id(3, 0), Text: "slow two", Edited: id(9, 0)}},
		} {
			if got := a.Do(t.Context(), &w); !got.OK {
				t.Errorf("%d: %+v", w.Kind, got)
			}
		}
		got := a.Do(t.Context(), &hall.Work{Kind: hall.SearchHistory, Scopes: []hall.Scope{{Target: "#a"}}, Account: "ann", Find: &hall.Find{Text: []string{"quick"}, Limit: 9}})
		if !got.OK || texts(got) != "" {
			t.Errorf("%q is found after it was deleted or changed", texts(got))
		}
		found := a.Do(t.Context(), &hall.Work{Kind: hall.FindRecord, Lookup: &hall.Lookup{Targets: []string{hall.Conversation("ann", "bob")}, ID: id(3, 0)}})
		if texts(found) != "slow two" || found.Records[0].Edited != id(9, 0) {
			t.Errorf("the edited message is %+v", found.Records)
		}
		hidden := a.Do(t.Context(), &hall.Work{Kind: hall.FindRecord, Lookup: &hall.Lookup{Targets: []string{"#a"}, ID: id(4, 0)}})
		if !hidden.OK || len(hidden.Records) != 0 {
			t.Errorf("a message for operators is found as %+v", hidden.Records)
		}
	})
}

// What is older than is kept is removed: everywhere, and in a channel that keeps less.
func TestExpire(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_000)
	ago := func(d time.Duration) int64 { return now.Add(-d).UnixMilli() << hall.IDBits }
	const day = 24 * time.Hour
	each(t, func(t *testing.T, a *archive.Archive, s store.Store) {
		if _, err := s.Apply(t.Context(), []store.Write{store.PutChannel{Channel: store.Channel{Name: "#Short", KeepDays: 2}}}); err != nil {
			t.Fatal(err)
		}
		keep(t, a, said(ago(10*day), "#a", "10"), said(ago(9*day), "#short", "9"), said(ago(3*day), "#a", "3"),
			said(ago(3*day)+1, "#short", "3"), said(ago(day), "#short", "1"))
		read := func(target string) string {
			return texts(a.Do(t.Context(), &hall.Work{Kind: hall.ReadHistory, Page: &hall.Page{Targets: []string{target}, Limit: 9}}))
		}
		for _, test := range []struct {
			keep        time.Duration
			all, shorts string
		}{{0, "10 3", "1"}, {5 * day, "3", "1"}, {time.Hour, "", ""}} {
			if err := a.Expire(t.Context(), now, test.keep); err != nil {
				t.Fatal(err)
			}
			if read("#a") != test.all || read("#short") != test.shorts {
				t.Errorf("kept for %v: %q and %q are left", test.keep, read("#a"), read("#short"))
			}
		}
	})
}
