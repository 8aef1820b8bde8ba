package gate

import (
	"errors"
	"log/slog"
	"testing"

	"github.com/epinet/epi/apps/chat/fabric"
	"github.com/epinet/epi/apps/chat/hall"
)

// The mark is before the first record that was not appended, wherever that waits.
func TestMarkIsBeforeWhatWaits(t *testing.T) {
	n := &networked{sharing: sharing{given: 90}}
	expect := func(what string, want int64) {
		t.Helper()
		if got := n.mark(); got != want {
			t.Errorf("%s: the mark is %d, want %d", what, got, want)
		}
	}
	expect("nothing waits", 90)
	n.journals[2].queue = []entries{{record: 0}, {record: 80}}
	expect("a change and a record", 79)
	n.journals[5].queue = []entries{{record: 70}, {record: 75}}
	expect("another shard, too", 69)
	n.sharing.singles = []int64{85, 60}
	expect("one that is appended by itself", 59)
	n.journals[5].queue, n.sharing.singles = n.journals[5].queue[1:], nil
	expect("the first of the shard is appended", 74)
	n.sharing.fallBehind(50)
	expect("one that no journal has", 49)
}

// TestSharingKeepsTheOrder: what a node that is behind is given waits for the pages before it, and no mark
// passes over what no journal has.
func TestSharingKeepsTheOrder(t *testing.T) {
	d := &desk{server: &Server{}}
	d.server.config.Store(&Config{Log: slog.New(slog.DiscardHandler)})
	s := &d.net.sharing
	s.store, s.behind, s.given = &ledger{}, true, 10
	is := func(what string, given, passed int64, behind bool) {
		t.Helper()
		if s.given != given || s.passed != passed || s.behind != behind {
			t.Errorf("%s: given up to %d, passed %d, behind %t; want %d, %d, %t", what, s.given, s.passed, s.behind, given, passed, behind)
		}
	}
	shard := fabric.Shard("#x")
	journal := &d.net.journals[shard]
	record := func(id int64) hall.Record { return hall.Record{ID: id, Target: "#x"} }

	d.give(shard, 20, 0, []byte("{}"))
	if len(journal.queue) != 0 {
		t.Error("a record goes before those of the pages")
	}
	is("behind, with a new record", 10, 20, true)
	d.givePage(&hall.Unshared{Records: []hall.Record{record(11), record(12)}, UpTo: 15, More: true}, 20)
	is("a page, and more", 15, 20, true)
	journal.size = maxJournal
	d.givePage(&hall.Unshared{Records: []hall.Record{record(16)}, UpTo: 17}, 20)
	is("a page without room", 15, 20, true)
	if d.giveChanges([]hall.Outgoing{{Number: 1, Name: "#x", Entry: []byte("{}")}}) {
		t.Error("there is room for a change in a full journal")
	}
	journal.size = 0
	s.passed = 25
	d.givePage(&hall.Unshared{UpTo: 18}, 20)
	is("the last page, and a record since", 20, 25, true)
	d.givePage(&hall.Unshared{UpTo: 25}, 25)
	is("the last page", 25, 25, false)
	d.give(shard, 30, 0, []byte("{}"))
	is("a record with room", 30, 25, false)
	journal.size = maxJournal
	d.give(shard, 0, 31, []byte("{}"))
	if s.due != 1 {
		t.Error("a change without room is forgotten")
	}
	d.give(shard, 32, 0, []byte("{}"))
	is("a record without room", 30, 32, true)
}

// TestSingleThatFails: a record that is appended by itself holds the mark back until that ends, and goes with the
// others of its shard if it was in vain, which those who have read the history read again.
func TestSingleThatFails(t *testing.T) {
	d := &desk{}
	for _, err := range []error{nil, errors.New("no answer")} {
		d.net.journals[3], d.net.sharing = journal{}, sharing{given: 10}
		d.net.sharing.giveSingle(40)
		if got := d.net.mark(); got != 39 {
			t.Errorf("under way, the mark is %d", got)
		}
		d.endSingle(3, 40, []byte("{}"), err)
		if j := &d.net.journals[3]; len(d.net.sharing.singles) != 0 || len(j.queue) == 1 != (err != nil) || j.late != 0 != (err != nil) {
			t.Errorf("after %v: %d are under way, %d batches wait, late %d", err, len(d.net.sharing.singles), len(j.queue), j.late)
		}
	}
}
