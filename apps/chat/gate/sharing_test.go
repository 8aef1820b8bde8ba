package gate_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/epinet/epi/apps/chat/archive"
	"github.com/epinet/epi/apps/chat/fabric"
	"github.com/epinet/epi/apps/chat/fabric/fabrictest"
	"github.com/epinet/epi/apps/chat/gate"
	"github.com/epinet/epi/apps/chat/hall"
	"github.com/epinet/epi/apps/chat/keep"
	"github.com/epinet/epi/apps/chat/store"
	"github.com/epinet/epi/internal/epitest"
)

// A replica is the fabric of one node, and the history that it shares with others.
type replica struct {
	*fabrictest.Local

	mu      sync.Mutex
	refuses bool             // guarded by mu; it takes nothing
	took    map[int64]string // guarded by mu; texts of records, by number
	changes int              // guarded by mu; of records, that it took
	markers int              // guarded by mu
	stream  int64            // guarded by mu; of a history that has nothing but a place
}

func newReplica(refuses bool) *replica {
	return &replica{Local: fabrictest.NewLocal("a", "1"), refuses: refuses, took: map[int64]string{}, stream: 1}
}

func (f *replica) Append(_ uint32, _ string, data []byte, done func(error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refuses {
		go done(fabric.ErrUnavailable)
		return
	}
	var entries []struct {
		R    *hall.Record `json:"r"`
		W, M *struct{}
	}
	if err := json.Unmarshal(data, &entries); err != nil {
		panic(err)
	}
	for _, e := range entries {
		switch {
		case e.W != nil:
			f.changes++
		case e.M != nil:
			f.markers++
		case e.R != nil:
			f.took[e.R.ID] = e.R.Text
		}
	}
	go done(nil)
}

func (f *replica) Replay(_ uint32, after fabric.Position, each func(fabric.Position, []byte) bool, done func(error)) {
	f.mu.Lock()
	place := fabric.Position{Stream: f.stream, Number: 7, At: 7}
	f.mu.Unlock()
	if after != place {
		each(place, nil)
	}
	done(nil)
}

func (f *replica) counts() (changes, markers int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changes, f.markers
}

// texts are those of the records that it took, in order; events have none.
func (f *replica) texts() (list []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var ids []int64
	for id, text := range f.took {
		if text != "" {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	for _, id := range ids {
		list = append(list, f.took[id])
	}
	return list
}

func (f *replica) takes() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refuses = false
}

// A disk is what a node keeps, whatever becomes of its process.
type disk struct {
	t      *testing.T
	store  store.Store
	writer *store.Writer
}

func newDisk(t *testing.T) *disk {
	s := store.NewMemory()
	w := store.NewWriter(s)
	t.Cleanup(func() {
		if err := w.Close(t.Context()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	return &disk{t, s, w}
}

// said is a message to a channel, at a moment.
func said(at time.Time, n int) store.Message {
	return store.Message{ID: store.IDAt(at) + store.ID(n), Target: "#room", Command: "PRIVMSG", Source: "ann!a@h", Text: fmt.Sprint("m", n)}
}

func (d *disk) apply(writes ...store.Write) {
	d.t.Helper()
	if _, err := d.store.Apply(d.t.Context(), writes); err != nil {
		d.t.Fatal(err)
	}
}

// begin starts a process of the node.
func (d *disk) begin(f fabric.Fabric, change func(*gate.Config)) *chat {
	d.t.Helper()
	last, err := d.store.Last(d.t.Context())
	if err != nil {
		d.t.Fatal(err)
	}
	config := remembering(archive.New(d.store, d.writer, epitest.NoLog()))
	config.Fabric, config.Kept.Last = f, int64(last)
	if change != nil {
		change(&config)
	}
	return start(d.t, engine(1), config)
}

// mark is that which is kept; 0: none.
func (d *disk) mark() store.ID {
	mark, _ := d.store.Shared(d.t.Context())
	return mark
}

// own is what this node has said, above a number.
func (d *disk) own(after store.ID) []store.Message {
	d.t.Helper()
	list, err := d.store.Own(d.t.Context(), after, 99)
	if err != nil {
		d.t.Fatal(err)
	}
	return list
}

// What this node has kept and not shared the next process shares, however long ago it was said and
// however much it is, and nothing else; then the mark is behind it.
func TestWhatWasKeptIsSharedLater(t *testing.T) {
	t.Parallel()
	const before, kept = 10, 12_000
	d, long := newDisk(t), time.Now().Add(-1000*time.Hour)
	var writes []store.Write
	var want []string
	for n := 1; n <= before+kept; n++ {
		writes = append(writes, store.AddMessage{Message: said(long, 2*n)}, store.CopyMessage{Message: said(long, 2*n+1)})
		if n > before {
			want = append(want, fmt.Sprint("m", 2*n))
		}
	}
	d.apply(append(writes, store.PutShared{UpTo: said(long, 2*before).ID})...)
	f := newReplica(false)
	d.begin(f, nil)
	last := said(long, 2*(before+kept)+1).ID
	epitest.WaitUntil(t, "the mark", func() bool { return d.mark() == last })
	if got := f.texts(); !slices.Equal(got, want) {
		t.Errorf("%d of %d messages are shared", len(got), len(want))
	}
}

// A database that has no mark is of a program without them: what was said last is shared.
func TestWithoutMarkTheLastMinutesAreShared(t *testing.T) {
	t.Parallel()
	d, now := newDisk(t), time.Now()
	d.apply(store.AddMessage{Message: said(now.Add(-time.Hour), 1)}, store.AddMessage{Message: said(now.Add(-time.Minute), 2)}, store.AddMessage{Message: said(now, 3)})
	f := newReplica(false)
	d.begin(f, nil)
	epitest.WaitUntil(t, "the mark", func() bool { return d.mark() == said(now, 3).ID })
	if got := f.texts(); !slices.Equal(got, []string{"m2", "m3"}) {
		t.Errorf("it shares %q", got)
	}
}

// A node that is killed again and again before it reaches anybody loses nothing of what it has said.
func TestKilledBeforeItIsShared(t *testing.T) {
	t.Parallel()
	for _, replicated := range []bool{false, true} {
		d := newDisk(t)
		var want []string
		for life := range 3 { // each is killed: its history takes nothing any more
			c := d.begin(newReplica(true), func(c *gate.Config) { c.Replicated = replicated })
			ann := c.registerOnceLeased("ann")
			ann.say("CAP REQ echo-message")
			ann.say("JOIN #room")
			ann.await(" 366 ", " FAIL ", " JOIN ")
			text := fmt.Sprint("life ", life)
			ann.say("PRIVMSG #room :%s", text)
			ann.await(text, "NO_ANSWER")
			want = append(want, text)
		}
		if all, left := d.own(0), d.own(d.mark()); len(left) != len(all) {
			t.Errorf("replicated %t: the mark is behind %d of %d messages though nothing was shared", replicated, len(all)-len(left), len(all))
		}
		f := newReplica(false)
		d.begin(f, nil)
		epitest.WaitUntil(t, "what was said", func() bool { return len(f.texts()) >= len(want) })
		if got := f.texts(); !slices.Equal(got, want) {
			t.Errorf("replicated %t: it shares %q", replicated, got)
		}
	}
}

// A history that takes nothing for long gets all that was said meanwhile once it does, though there is
// no room in memory for it.
func TestFullJournalLosesNothing(t *testing.T) {
	t.Parallel()
	const messages = 7_500
	d, f := newDisk(t), newReplica(true)
	c := d.begin(f, nil)
	ann := c.registerOnceLeased("ann")
	ann.say("JOIN #room")
	ann.await(" 366 ")
	var want []string
	for n := range messages {
		want = append(want, fmt.Sprintf("%d %s", n, strings.Repeat("x", 350)))
		ann.say("PRIVMSG #room :%s", want[n])
		if n%100 == 99 {
			ann.say("PING %d", n)
			ann.await("PONG")
		}
	}
	f.takes()
	epitest.WaitUntil(t, "all messages", func() bool { return len(f.texts()) >= messages })
	if got := f.texts(); !slices.Equal(got, want) {
		t.Errorf("%d of %d messages are shared", len(got), len(want))
	}
	ann.say("PRIVMSG #room :last")
	epitest.WaitUntil(t, "the last one", func() bool { return slices.Contains(f.texts(), "last") })
}

// A history that was made anew gets again what the one before would have had yet.
func TestHistoryMadeAnewIsSharedAgain(t *testing.T) {
	t.Parallel()
	d, now := newDisk(t), time.Now()
	d.apply(store.AddMessage{Message: said(now.Add(-48*time.Hour), 1)}, store.AddMessage{Message: said(now.Add(-12*time.Hour), 2)},
		store.AddMessage{Message: said(now, 3)}, store.PutShared{UpTo: said(now, 3).ID})
	reached := func(stream int64) {
		t.Helper()
		epitest.WaitUntil(t, fmt.Sprint("the positions in stream ", stream), func() bool {
			positions, err := d.store.Positions(t.Context())
			other := func(p store.Position) bool { return p.Stream != stream }
			return err == nil && len(positions) == fabric.Shards && !slices.ContainsFunc(positions, other)
		})
	}
	f := newReplica(false)
	d.begin(f, nil)
	reached(1)
	if got := f.texts(); len(got) > 0 {
		t.Errorf("it shares %q though nothing is behind the mark", got)
	}
	f = newReplica(false)
	f.stream = 2
	d.begin(f, func(c *gate.Config) { c.Retention = 24 * time.Hour })
	reached(2)
	epitest.WaitUntil(t, "what the history had", func() bool { return len(f.texts()) >= 2 })
	if got := f.texts(); !slices.Equal(got, []string{"m2", "m3"}) {
		t.Errorf("it shares %q", got)
	}
}

// A change that a node has made, and that was not shared when it was killed, the next process shares,
// and then the store forgets it.
func TestChangesAreSharedLater(t *testing.T) {
	t.Parallel()
	d := newDisk(t)
	keeper := keep.New(d.writer, epitest.NoLog())
	withKeeper := func(c *gate.Config) { c.Keep, c.Hall.Mechanisms = keeper.Keep, []string{"PLAIN"} }
	for range 2 {
		ann := d.begin(newReplica(true), withKeeper).registerOnceLeased("ann")
		ann.say("CAP REQ :echo-message message-tags draft/message-redaction draft/read-marker")
		ann.say("NS IDENTIFY ann right")
		ann.say("JOIN #room")
		ann.say("PRIVMSG #room :mistake")
		echo := ann.await("mistake")
		_, id, _ := strings.Cut(echo, "msgid=")
		id, _, _ = strings.Cut(id, ";")
		id, _, _ = strings.Cut(id, " ")
		ann.say("REDACT #room %s", id)
		ann.await("REDACT #room")
		ann.say("MARKREAD #room timestamp=2020-01-02T00:00:00.000Z")
		ann.await("MARKREAD #room")
	}
	f := newReplica(false)
	d.begin(f, withKeeper)
	epitest.WaitUntil(t, "what the others are to know", func() bool {
		changes, markers := f.counts()
		return changes >= 2 && markers >= 1 // the second marker is none: it was there
	})
	epitest.WaitUntil(t, "that they are forgotten", func() bool {
		left, err := d.store.Announced(t.Context(), 9)
		return err == nil && len(left) == 0
	})
	if got := f.texts(); len(got) > 0 {
		t.Errorf("it shares %q, which was deleted", got)
	}
}

// Changes for which there was no room come from the disk, too.
func TestManyChangesAreShared(t *testing.T) {
	t.Parallel()
	const changes = 1000
	d := newDisk(t)
	for n := range store.ID(changes) {
		d.apply(store.Announce{
			Write: store.PutMarker{Marker: store.Marker{Account: "ann", Target: "#room", At: time.UnixMilli(int64(n))}},
			Out:   store.Outgoing{Number: n + 1, Target: "ann", Entry: fmt.Sprintf(`{"m":{"Account":"ann","Marker":{"Target":"#room","At":%d}}}`, n)},
		})
	}
	f := newReplica(false)
	d.begin(f, nil)
	epitest.WaitUntil(t, "all of them", func() bool {
		_, markers := f.counts()
		left, err := d.store.Announced(t.Context(), 9)
		return err == nil && markers >= changes && len(left) == 0
	})
}
