package gate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/epinet/epi"
	"github.com/epinet/epi/apps/chat/fabric"
	"github.com/epinet/epi/apps/chat/fabric/fabrictest"
	"github.com/epinet/epi/apps/chat/hall"
	"github.com/epinet/epi/internal/epitest"
)

// A tape is the network and the disk of a desk: it notes what is called, and its answers are fields.
type tape struct {
	*fabrictest.Local
	History

	over   bool     // the lease, by the clock
	refuse error    // the answer to Unshared and Changes
	marks  []mark   // the calls of Shared
	calls  []string // of methods, in order
}

// A mark is one call of History.Shared.
type mark struct {
	upTo    int64
	changes []int64
	done    func(error)
}

var errFull = errors.New("no space left on device")

// newDeskAt returns a desk on an engine that does not run: the test does what waits for the loop.
func newDeskAt(t *testing.T) (*desk, *tape) {
	t.Helper()
	s := &tape{Local: fabrictest.NewLocal("a", "1")}
	e := &epi.Engine{Loops: 1, Driver: epi.DriverPortable, Logger: epitest.NoLog()}
	server, err := New(e, Config{Fabric: s, History: s, Log: epitest.NoLog()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ended, end := context.WithCancel(context.Background())
		end()
		if err := e.Run(ended); err != nil {
			t.Error(err)
		}
		server.EndNetwork()
		server.reads.group.Wait()
	})
	return server.desk, s
}

// begin gives the hall its lease, and the slot that it claims then.
func (d *desk) begin(t *testing.T) {
	t.Helper()
	d.read()
	d.read()
	if !d.server.InNetwork() {
		t.Fatal("a desk with a lease is not in the network")
	}
}

// pageRead takes what was read for the journals, and waits until what is read next is, too.
func (d *desk) pageRead() {
	d.server.reads.group.Wait()
	d.collect()
	d.server.reads.group.Wait()
}

// called takes the calls of one method off those that were noted, and counts them.
func (s *tape) called(method string) (n int) {
	all := len(s.calls)
	s.calls = slices.DeleteFunc(s.calls, func(call string) bool { return call == method })
	return all - len(s.calls)
}

func (s *tape) Valid() bool { return !s.over }

func (s *tape) Replay(_ uint32, _ fabric.Position, _ func(fabric.Position, []byte) bool, done func(error)) {
	s.calls = append(s.calls, "Replay")
	done(nil)
}

func (*tape) Positions() (none [fabric.Shards]fabric.Position, err error) { return none, nil }

func (*tape) Mark() (int64, bool, error) { return 0, true, nil }

func (*tape) Reached(uint32, fabric.Position, func(error)) {}

func (s *tape) Shared(upTo int64, changes []int64, done func(error)) {
	s.calls = append(s.calls, "Shared")
	s.marks = append(s.marks, mark{upTo, changes, done})
}

func (s *tape) Unshared(_ context.Context, after int64) (hall.Unshared, error) {
	s.calls = append(s.calls, fmt.Sprint("Unshared ", after))
	return hall.Unshared{}, s.refuse
}

func (s *tape) Changes(context.Context) ([]hall.Outgoing, bool, error) {
	s.calls = append(s.calls, "Changes")
	return nil, false, s.refuse
}

// TestLeaseThatIsOver: after a time in which the process was stopped, the next event finds the hall fenced and nobody
// is let in, though the fabric has not said so.
//
//	lease ── stopped ──────────► an event ──► Fenced of the fabric
//	            │ over by the clock
func TestLeaseThatIsOver(t *testing.T) {
	for what, happens := range map[string]func(*desk){
		"an event":              func(d *desk) { d.apply(&hall.Event{Kind: hall.Tick}) },
		"another configuration": func(d *desk) { d.configure(hall.Config{}) },
	} {
		d, s := newDeskAt(t)
		d.begin(t)
		s.over = true
		happens(d)
		if d.hall.InNetwork() {
			t.Errorf("%s: the hall goes on after its lease", what)
		}
		if d.server.InNetwork() {
			t.Errorf("%s: clients are let in after the lease", what)
		}
	}
}

// TestSharingBegins: with the first lease a node shares what it has said before, a page at a time.
func TestSharingBegins(t *testing.T) {
	d, s := newDeskAt(t)
	d.share()
	if d.net.sharing.reading {
		t.Error("a node without a lease reads what it is to share")
	}
	d.begin(t)
	if !d.net.sharing.reading {
		t.Error("a node with a lease does not read what it is to share")
	}
	d.pageRead()
	if got := fmt.Sprint(s.calls[len(s.calls)-2:]); got != "[Unshared 0 Changes]" {
		t.Errorf("it reads %s", got)
	}
	d.net.sharing.behind = true
	d.put(3, 5, 0, []byte("{}"))
	d.share()
	if d.net.sharing.reading {
		t.Error("a page is read before the one before was appended")
	}
}

// TestPageThatCannotBeRead: what the disk refuses is read again at the next tick, and not before.
func TestPageThatCannotBeRead(t *testing.T) {
	d, s := newDeskAt(t)
	s.refuse = errFull
	d.begin(t)
	d.pageRead()
	if n := s.called("Unshared 0"); n != 1 {
		t.Errorf("what cannot be read is tried %d times at once", n)
	}
	s.refuse = nil
	d.appendAll()
	d.pageRead()
	if n := s.called("Unshared 0"); n != 1 {
		t.Errorf("what could not be read is read %d times at the next tick", n)
	}
	if d.net.sharing.behind || d.net.sharing.due != d.net.sharing.seen {
		t.Error("there is still something to be shared")
	}
}

// TestChangeWhileChangesAreRead: one that comes then, and that no journal has, is read afterwards.
func TestChangeWhileChangesAreRead(t *testing.T) {
	d, s := newDeskAt(t)
	d.begin(t)
	d.server.reads.group.Wait()
	d.net.journals[3].size = maxJournal
	d.give(3, 0, 7, []byte("{}"))
	d.pageRead()
	if n := s.called("Changes"); n != 2 {
		t.Errorf("changes are read %d times", n)
	}
	d.pageRead()
	if s.called("Changes") != 0 || d.net.sharing.due != d.net.sharing.seen {
		t.Error("changes are read though there are none")
	}
}

// TestMarkThatIsNotKept: a mark that the disk refuses is given to it again, with the changes that were appended.
func TestMarkThatIsNotKept(t *testing.T) {
	d, s := newDeskAt(t)
	d.net.sharing.given, d.net.sharing.changed = 10, []int64{5, 6}
	given := func(n int, changes string) {
		t.Helper()
		d.keepMark()
		if len(s.marks) != n {
			t.Fatalf("the mark is given to the disk %d times, want %d", len(s.marks), n)
		}
		if last := s.marks[n-1]; last.upTo != 10 || fmt.Sprint(last.changes) != changes {
			t.Errorf("the disk is to keep %d without the changes %v, want 10 without %s", last.upTo, last.changes, changes)
		}
	}
	given(1, "[5 6]")
	d.net.sharing.changed = []int64{7}
	given(1, "[5 6]") // one at a time
	s.marks[0].done(errFull)
	d.collect()
	given(2, "[5 6 7]")
	s.marks[1].done(errFull)
	d.collect()
	d.net.sharing.changed = nil
	given(3, "[]")
	s.marks[2].done(nil)
	d.collect()
	given(3, "[]")
}

// TestHistoryMadeAnew: a history that has nothing yet gets all again, and a process that ends on the way begins there:
// the disk has the mark before it has a position in that history.
func TestHistoryMadeAnew(t *testing.T) {
	d, s := newDeskAt(t)
	d.begin(t)
	d.pageRead()
	d.net.sharing.given, s.calls = 90, nil
	d.renew(&d.net.readings[3])
	if got := fmt.Sprint(s.calls); got != "[Shared Replay]" || s.marks[0].upTo != 0 {
		t.Errorf("the calls are %s, and the mark is %v", got, s.marks)
	}
	d.share()
	d.pageRead()
	if s.called("Unshared 0") != 1 {
		t.Error("nothing is shared again")
	}
}

// TestCopyFromNodeToNode: what the disk refuses of it is read again from the history, also if it comes right after a batch.
func TestCopyFromNodeToNode(t *testing.T) {
	d, _ := newDeskAt(t)
	d.begin(t)
	r := &d.net.readings[3]
	r.begins()
	b := r.take(at(1))
	(*reporter)(d).reportBatch(b, []byte(`[{}]`))
	b.end(nil)
	d.read()
	if r.kept != at(1) {
		t.Fatalf("all before %v is applied and durable, want %v", r.kept, at(1))
	}
	r.due = 0
	done := d.copying(d.net.readings[3:4])
	if done(nil); r.due != 0 {
		t.Error("the history is read again though the disk has taken all")
	}
	done = d.copying(d.net.readings[3:4])
	if done(errFull); r.due != catchUpTicks {
		t.Errorf("what the disk has refused is read again in %d ticks", r.due)
	}
}
