package member

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/epinet/epi/apps/chat/fabric"
)

// A bench is a member whose clock, store and wire are the test's: nothing happens but what the test does.
type bench struct {
	*Member
	t     *testing.T
	now   time.Duration
	asked []question // of the store, in order, without those that were answered
	sent  []frame
	log   []string // calls of the handler
}

// A question is a call of the store's.
type question struct {
	text  string // the method, the key and, of a write, the revision
	done  func(value []byte, revision uint64, err error)
	nodes func([]Entry, error)
}

const (
	lease     = 30 * time.Second
	margin    = 3 * time.Second
	heartbeat = 2 * time.Second
	instance  = 77
)

func newBench(t *testing.T) *bench {
	b := &bench{t: t}
	config := Config{Node: "a", Version: "1", Instance: instance, Lease: lease, Margin: margin, Heartbeat: heartbeat}
	b.Member = New(config, (*benchStore)(b), (*benchWire)(b), func() time.Duration { return b.now })
	b.Start()
	return b
}

// leased returns a member with a lease of this epoch, which began at 0.
func leased(t *testing.T, epoch uint64) *bench {
	b := newBench(t)
	b.lists()
	b.answer("create node", nil, epoch, nil)
	b.expect("up a")
	return b
}

// A benchStore notes what is asked.
type benchStore bench

func (s *benchStore) ask(text string, done func([]byte, uint64, error)) {
	s.asked = append(s.asked, question{text: text, done: done})
}

// keyKind is what a key is of.
func keyKind(key string) string {
	if len(key) > 5 && key[:5] == "node." {
		return "node"
	}
	return "claim"
}

func (s *benchStore) Create(key string, _ []byte, done func(uint64, error)) {
	s.ask("create "+keyKind(key), func(_ []byte, revision uint64, err error) { done(revision, err) })
}

func (s *benchStore) Update(key string, _ []byte, revision uint64, done func(uint64, error)) {
	s.ask(fmt.Sprint("update ", keyKind(key), " at ", revision), func(_ []byte, revision uint64, err error) { done(revision, err) })
}

func (s *benchStore) Delete(key string, revision uint64, done func(error)) {
	s.ask(fmt.Sprint("delete ", keyKind(key), " at ", revision), func(_ []byte, _ uint64, err error) { done(err) })
}

func (s *benchStore) Get(key string, done func([]byte, uint64, error)) {
	s.ask("get "+keyKind(key), done)
}

func (s *benchStore) Nodes(done func([]Entry, error)) {
	s.asked = append(s.asked, question{text: "nodes", nodes: done})
}

// A benchWire notes what is sent.
type benchWire bench

func (w *benchWire) Send(_ fabric.Node, data []byte) {
	f, ok := parse(data)
	if !ok {
		w.t.Errorf("a frame cannot be parsed: %q", data)
	}
	w.sent = append(w.sent, f)
}

func (w *benchWire) Publish(data []byte) { w.Send("", data) }

func (b *bench) take(text string) question {
	b.t.Helper()
	i := slices.IndexFunc(b.asked, func(q question) bool { return q.text == text })
	if i < 0 {
		b.t.Fatalf("the store is not asked %q; it is asked %s", text, b.questions())
	}
	q := b.asked[i]
	b.asked = slices.Delete(b.asked, i, i+1)
	return q
}

func (b *bench) questions() (texts []string) {
	for _, q := range b.asked {
		texts = append(texts, q.text)
	}
	return texts
}

// answer answers the first question of that text.
func (b *bench) answer(text string, value []byte, revision uint64, err error) {
	b.t.Helper()
	b.take(text).done(value, revision, err)
}

// lists answers which nodes have records.
func (b *bench) lists(records ...Entry) {
	b.t.Helper()
	b.take("nodes").nodes(records, nil)
}

// at sets the clock, and does what is due then.
func (b *bench) at(now time.Duration) {
	b.now = now
	b.Tick()
}

// expect says which calls the handler has got since the last one.
func (b *bench) expect(calls ...string) {
	b.t.Helper()
	for _, call := range b.Calls() {
		call((*benchHandler)(b))
	}
	if !slices.Equal(b.log, calls) {
		b.t.Errorf("at %v the handler's calls are %q, want %q", b.now, b.log, calls)
	}
	b.log = nil
}

type benchHandler bench

func (h *benchHandler) note(format string, args ...any) {
	h.log = append(h.log, fmt.Sprintf(format, args...))
}
func (h *benchHandler) Up(m fabric.Member)   { h.note("up %s", m.Node) }
func (h *benchHandler) Down(m fabric.Member) { h.note("down %s", m.Node) }
func (h *benchHandler) Received(m fabric.Member, payload []byte) {
	h.note("%s says %s", m.Node, payload)
}
func (h *benchHandler) Gap(m fabric.Member) { h.note("gap of %s", m.Node) }
func (h *benchHandler) Fenced()             { h.note("fenced") }

// hello lets node b say hello, whose record has this revision, and whose last message to this one this number.
func (b *bench) hello(epoch fabric.Epoch, revision, number uint64) {
	b.Receive(helloFrame(fabric.Member{Node: "b", Epoch: epoch, Version: "1"}, b.Self().Epoch, number, revision))
}

// says lets node b send a message.
func (b *bench) says(epoch fabric.Epoch, number uint64, text string) {
	b.Receive(dataFrame(fabric.Member{Node: "b", Epoch: epoch}, b.Self().Epoch, number, []byte(text)))
}

// saysOver lets node c say that an epoch is over.
func (b *bench) saysOver(node fabric.Node, epoch fabric.Epoch) {
	b.Receive(overFrame(fabric.Member{Node: "c", Epoch: 1}, node, epoch))
}

// TestLeaseIsCountedFromTheQuestion: for the others it may have begun as soon as that was asked.
//
//	asked ────────── answered
//	  └─ lease - margin ─────────────┘ over
func TestLeaseIsCountedFromTheQuestion(t *testing.T) {
	b := leased(t, 5)
	asked := lease / renewals
	b.at(asked)
	b.now += 7 * time.Second
	b.answer("update node at 5", nil, 6, nil)
	if b.now = asked + lease - margin - 1; !b.Valid() {
		t.Error("a renewed lease is over too early")
	}
	if b.now++; b.Valid() {
		t.Error("the lease is counted from the answer")
	}
}

// TestLeaseThatBeginsTooLate: where the first answer takes longer than the lease, there is none.
func TestLeaseThatBeginsTooLate(t *testing.T) {
	b := newBench(t)
	b.lists()
	b.now = lease - margin
	b.answer("create node", nil, 5, nil)
	b.expect()
	if b.Valid() || b.Self().Epoch != 0 {
		t.Errorf("it has a lease: %v", b.Self())
	}
	b.Tick()
	b.lists(Entry{"a", b.record(0, false), 5})
	b.answer("update node at 5", nil, 6, nil)
	b.expect("up a")
}

// TestNameOfAnotherProcess: while the lease of the process that had the name before may last, its record stays. A
// replica that is behind does not change which one that is.
func TestNameOfAnotherProcess(t *testing.T) {
	before := encode(record{Epoch: 4, Instance: instance + 1})
	b := newBench(t)
	b.lists(Entry{"a", before, 7})
	for _, now := range []time.Duration{time.Second, lease - 1} {
		b.at(now)
		b.lists(Entry{"a", before, 7})
		if len(b.asked) != 0 {
			t.Fatalf("after %v it asks %s", now, b.questions())
		}
	}
	b.at(lease)
	b.lists(Entry{"a", before, 6})
	b.answer("update node at 7", nil, 8, nil)
	b.expect("up a")
}

// TestAnswerOfTheLeaseBefore: a renewal that is answered when the lease is over and there is another is none of that.
func TestAnswerOfTheLeaseBefore(t *testing.T) {
	b := leased(t, 5)
	b.at(lease / renewals)
	late := b.take("update node at 5")
	b.at(lease)
	b.expect("fenced")
	b.lists(Entry{"a", b.record(5, false), 5})
	b.answer("update node at 5", nil, 9, nil)
	b.expect("up a")
	late.done(nil, 6, nil)
	b.Tick()
	b.expect()
	if !b.Valid() {
		t.Error("the new lease ends with the renewal of the one before")
	}
	b.at(lease + lease/renewals)
	b.take("update node at 9")
}

// TestOwnRecordIsAnothers: a renewal that fails since the record has another revision is looked at. It ends the lease,
// unless an earlier renewal has written that, or a replica answers that is behind.
func TestOwnRecordIsAnothers(t *testing.T) {
	for _, c := range []struct {
		what     string
		record   record
		revision uint64
		lasts    bool
	}{
		{"an own renewal", record{Epoch: 5, Instance: instance}, 6, true},
		{"what was there before", record{Epoch: 2, Over: true, Instance: 1}, 4, true},
		{"over", record{Epoch: 5, Over: true, Instance: instance}, 6, false},
		{"another epoch", record{Epoch: 6, Instance: instance}, 6, false},
		{"another process", record{Epoch: 5, Instance: 1}, 6, false},
	} {
		b := leased(t, 5)
		b.at(lease / renewals)
		b.answer("update node at 5", nil, 0, ErrConflict)
		b.answer("get node", encode(c.record), c.revision, nil)
		if b.Valid() != c.lasts {
			t.Errorf("%s: the lease lasts: %t", c.what, b.Valid())
		}
		if c.lasts {
			b.expect()
			b.Tick()
			b.answer(fmt.Sprint("update node at ", max(5, c.revision)), nil, 8, nil)
		} else {
			b.expect("fenced")
		}
	}
}

// TestFence: claims end before the handler is fenced, nothing is sent any more, and the next lease counts messages from
// the first on.
func TestFence(t *testing.T) {
	b := leased(t, 5)
	b.hello(3, 3, 0)
	b.says(3, 1, "one")
	b.says(3, 2, "two")
	b.expect("up b", "b says one", "b says two")
	for range 2 {
		if err := b.Send("b", []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	b.Claim(fabric.Key{Kind: fabric.Channel, Name: "#x"}, func(_ fabric.Claim, err error) {
		b.log = append(b.log, fmt.Sprint("claim: ", errors.Is(err, fabric.ErrFenced)))
	})
	b.saysOver("a", 5)
	if b.Valid() {
		t.Error("the lease lasts though another node has ended it")
	}
	b.expect("claim: true", "fenced")
	if err := b.Send("b", nil); !errors.Is(err, fabric.ErrFenced) {
		t.Errorf("without a lease it sends: %v", err)
	}
	b.Tick()
	b.lists(Entry{"a", encode(record{Epoch: 5, Over: true}), 6})
	b.answer("update node at 6", nil, 9, nil)
	b.hello(3, 3, 0)
	b.says(3, 1, "one more")
	b.expect("up a", "up b", "b says one more")
	b.sent = nil
	if err := b.Send("b", []byte("x")); err != nil || b.sent[0].number != 1 {
		t.Errorf("the first message of a lease: %v, %v", b.sent, err)
	}
}

// TestEpochThatIsOver: it is over for good, whoever says so, and whatever comes late.
func TestEpochThatIsOver(t *testing.T) {
	b := newBench(t)
	b.saysOver("b", 5)
	b.lists(Entry{"b", encode(record{Instance: 1}), 5}) // a replica that is behind
	b.answer("create node", nil, 7, nil)
	b.expect("up a")
	b.hello(5, 5, 0)
	b.expect()
	b.hello(8, 8, 0)
	b.expect("up b")

	b.at(lease / renewals) // its own lease goes on
	b.answer("update node at 7", nil, 9, nil)
	for b.now < lease {
		b.at(b.now + lease/renewals)
		b.answer(fmt.Sprint("update node at ", b.revision), nil, b.revision+1, nil)
	}
	b.answer("update node at 8", nil, 0, ErrConflict)
	b.answer("get node", encode(record{Epoch: 8, Over: true}), 40, nil)
	b.expect("down b")
}

// TestDeafPair: of two nodes that are alive and do not reach each other the younger one gives up its lease.
func TestDeafPair(t *testing.T) {
	for _, c := range []struct {
		other fabric.Epoch
		calls []string
	}{{3, []string{"fenced"}}, {9, nil}} {
		b := leased(t, 5)
		b.hello(c.other, uint64(c.other), 0)
		b.expect("up b")
		for b.now < lease {
			b.at(b.now + lease/renewals)
			b.answer(fmt.Sprint("update node at ", b.revision), nil, b.revision+20, nil)
		}
		b.answer(fmt.Sprint("update node at ", c.other), nil, 0, ErrConflict)
		b.answer("get node", encode(record{Epoch: c.other, Instance: 1}), uint64(c.other)+1, nil)
		b.expect(c.calls...)
	}
}

// TestLastMessageIsLost: the next hello shows that.
func TestLastMessageIsLost(t *testing.T) {
	b := leased(t, 5)
	b.hello(3, 3, 0)
	b.says(3, 1, "one")
	b.hello(3, 3, 1)
	b.expect("up b", "b says one")
	b.hello(3, 3, 2)
	b.expect("gap of b")
	b.hello(3, 3, 2)
	b.says(3, 3, "three")
	b.expect("b says three")
}
