package gate_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/epinet/epi"
	"github.com/epinet/epi/apps/chat/fabric"
	"github.com/epinet/epi/apps/chat/fabric/fabrictest"
	"github.com/epinet/epi/apps/chat/hall"
	"github.com/epinet/epi/internal/epitest"
)

// A troubled is the fabric of one node whose history takes nothing at first.
type troubled struct {
	*fabrictest.Local

	mu       sync.Mutex
	refusals int            // guarded by mu; of appends, that are still to come
	tries    [][2]string    // guarded by mu; of batches: name and data
	appended int            // guarded by mu
	said     []string       // guarded by mu; by Broadcast
	replays  int            // guarded by mu
	handler  fabric.Handler // guarded by mu
}

func (f *troubled) Start(h fabric.Handler) error {
	f.mu.Lock()
	f.handler = h
	f.mu.Unlock()
	return f.Local.Start(h)
}

func (f *troubled) Append(_ uint32, name string, data []byte, done func(error)) {
	f.mu.Lock()
	f.tries = append(f.tries, [2]string{name, string(data)})
	refused := f.refusals > 0
	if refused {
		f.refusals--
	} else {
		f.appended++
	}
	f.mu.Unlock()
	if refused {
		done(fabric.ErrUnavailable)
		return
	}
	done(nil)
}

// Claim answers from another goroutine, as all of them but that of the one node in memory do: who reports an
// answer waits while the hall is too far behind, and the hall's own loop must not.
func (f *troubled) Claim(key fabric.Key, done func(fabric.Claim, error)) {
	go f.Local.Claim(key, done)
}

func (f *troubled) Replay(_ uint32, _ fabric.Position, _ func(fabric.Position, []byte) bool, done func(error)) {
	f.mu.Lock()
	f.replays++
	f.mu.Unlock()
	done(nil)
}

func (f *troubled) Broadcast(data []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.said = append(f.said, string(data))
	return nil
}

// seen is what of the fabric tests look at.
func (f *troubled) seen() (appended, replays int, said []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.appended, f.replays, append([]string(nil), f.said...)
}

// awaitReadings waits until all of the history was read so often.
func (f *troubled) awaitReadings(t *testing.T, times int) {
	t.Helper()
	epitest.WaitUntil(t, fmt.Sprint(times, " readings"), func() bool {
		_, replays, _ := f.seen()
		return replays >= times*fabric.Shards
	})
}

// tried is what was to be appended: names and data.
func (f *troubled) tried() [][2]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.tries)
}

// startNode starts a chat that remembers, as a node of a network.
func startNode(t *testing.T, e *epi.Engine, f fabric.Fabric) (*chat, *slowDisk) {
	t.Helper()
	disk := newSlowDisk()
	config := remembering(disk)
	config.Fabric = f
	return start(t, e, config), disk
}

// registerOnceLeased connects somebody. A node that does not know yet that it has its lease
// ends whoever comes, and the loop that accepts need not be the one that knows.
func (c *chat) registerOnceLeased(nick string) (cl *client) {
	c.t.Helper()
	epitest.WaitUntil(c.t, "a node that has its lease", func() bool {
		cl = c.connect()
		cl.say("NICK %s", nick)
		cl.say("USER %s 0 * :%s", nick, nick)
		for cl.in.Scan() {
			if strings.Contains(cl.in.Text(), " 422 ") {
				return true
			}
		}
		return false
	})
	return cl
}

// What could not be appended in time is announced when it was: nodes that have read the
// history before lack it. Who gets such a message reads again.
func TestLateHistoryIsReadAgain(t *testing.T) {
	t.Parallel()
	f := &troubled{Local: fabrictest.NewLocal("a", "1"), refusals: 2}
	c, disk := startNode(t, &epi.Engine{}, f)
	ann := c.registerOnceLeased("ann")
	ann.say("JOIN #room")
	ann.say("PRIVMSG #room :late")
	disk.commit(t, 2, nil)
	epitest.WaitUntil(t, "the announcement", func() bool {
		appended, _, said := f.seen()
		return appended > 0 && fmt.Sprint(said) == "[j]"
	})
	f.awaitReadings(t, 2) // those of the start
	c.barrier(1)          // which have ended
	_, before, _ := f.seen()
	f.handler.Received(fabric.Member{Node: "b", Epoch: 7}, []byte("j"))
	if _, after, _ := f.seen(); after < before+fabric.Shards {
		t.Errorf("%d shards are read again, of %d", after-before, fabric.Shards)
	}
}

// Who comes while something waits to be appended did not get it, and may have read the
// history before it was there: it is to read again after that.
func TestWhoComesReadsWhatIsAppendedThen(t *testing.T) {
	t.Parallel()
	f := &troubled{Local: fabrictest.NewLocal("a", "1")}
	c, disk := startNode(t, engine(1), f)
	ann := c.registerOnceLeased("ann")
	ann.say("JOIN #room")
	ann.say("PRIVMSG #room :before")
	join, message := epitest.Receive(t, disk.queued), epitest.Receive(t, disk.queued)
	f.handler.Up(fabric.Member{Node: "b", Epoch: 7})
	c.barrier(1) // the node knows
	join(nil)
	message(nil)
	epitest.WaitUntil(t, "the announcement", func() bool {
		appended, _, said := f.seen()
		return appended > 0 && len(said) > 0 && said[len(said)-1] == "j"
	})
}

// A failing fabric cannot read the history at first.
type failing struct {
	troubled
	failures atomic.Int32
}

func (f *failing) Replay(shard uint32, after fabric.Position, each func(fabric.Position, []byte) bool, done func(error)) {
	if shard == 3 && f.failures.Add(-1) >= 0 {
		done(fabric.ErrUnavailable)
		return
	}
	f.troubled.Replay(shard, after, each, done)
}

// What could not be read of the history is read again until it can be.
func TestHistoryIsReadUntilItsEnd(t *testing.T) {
	t.Parallel()
	f := &failing{troubled: troubled{Local: fabrictest.NewLocal("a", "1")}}
	f.failures.Store(3)
	startNode(t, &epi.Engine{}, f)
	epitest.WaitUntil(t, "all shards", func() bool {
		_, replays, _ := f.seen()
		return replays >= fabric.Shards && f.failures.Load() < 0
	})
}

// A long fabric has a history of many messages in one shard.
type long struct {
	troubled
	messages int
	once     sync.Once
}

func (f *long) Replay(shard uint32, after fabric.Position, each func(fabric.Position, []byte) bool, done func(error)) {
	read := false
	f.once.Do(func() { read = true })
	if !read {
		f.troubled.Replay(shard, after, each, done)
		return
	}
	go func() {
		for n := range f.messages {
			each(fabric.Position{Stream: 1, Number: uint64(n + 1)}, fmt.Appendf(nil, `[{"r":{"ID":%d,"Target":"#room","Command":"PRIVMSG","Text":"x"}}]`, n+1))
		}
		done(nil)
	}()
}

// The history of others is read on when the disk has most of what came before: a store refuses
// what is too much, and would miss it for good.
func TestHistoryWaitsForTheDisk(t *testing.T) {
	t.Parallel()
	const bound, all = 10_000, 15_000
	f := &long{troubled: troubled{Local: fabrictest.NewLocal("a", "1")}, messages: all}
	c, disk := startNode(t, engine(1), f)
	epitest.WaitUntil(t, "as much as may wait", func() bool { return len(disk.queued) >= bound })
	for range 100 {
		c.barrier(1) // in which more would come
	}
	if n := len(disk.queued); n > bound+2000 {
		t.Errorf("%d messages wait for the disk", n)
	}
	disk.commit(t, all, nil)
}

// A batch that is tried again is the same by name and content, also under another lease and
// when more is to be appended by then: it may be in the history already.
func TestBatchTriedAgainIsTheSame(t *testing.T) {
	t.Parallel()
	f := &troubled{Local: fabrictest.NewLocal("a", "1"), refusals: 3}
	c, disk := startNode(t, engine(1), f)
	ann := c.registerOnceLeased("ann")
	ann.say("JOIN #room")
	disk.commit(t, 1, nil)
	epitest.WaitUntil(t, "the first try", func() bool { return len(f.tried()) > 0 })
	ann.say("PRIVMSG #room :more")
	disk.commit(t, 1, nil)
	f.handler.Fenced()
	f.handler.Up(fabric.Member{Node: "a", Epoch: 9})
	epitest.WaitUntil(t, "four tries", func() bool { return len(f.tried()) >= 4 })
	tries := f.tried()[:4] // of one batch: three of them failed
	for _, try := range tries {
		if try != tries[0] {
			t.Errorf("the batch %q was tried again as %q", tries[0], try)
		}
	}
}

// A message that most nodes have not acknowledged in time is on the disk of this one, and may be in
// the history: its sender reads that, and all nodes get it.
func TestUnacknowledgedMessageComesToAll(t *testing.T) {
	t.Parallel()
	f, disk := &troubled{Local: fabrictest.NewLocal("a", "1")}, newSlowDisk()
	config := remembering(disk)
	config.Fabric, config.Replicated = f, true
	c := start(t, engine(1), config)
	ann := c.registerOnceLeased("ann")
	ann.say("JOIN #room")
	disk.commit(t, 1, nil)
	ann.await(" 366 ")
	epitest.WaitUntil(t, "that it is shared", func() bool { _, ok, _ := disk.Mark(); return ok })
	f.mu.Lock()
	f.refusals = 1
	f.mu.Unlock()
	ann.say("PRIVMSG #room :unacknowledged")
	disk.commit(t, 1, nil)
	ann.await(" FAIL PRIVMSG NO_ANSWER #room ")
	epitest.WaitUntil(t, "the second try, and that others are to read it", func() bool {
		_, _, said := f.seen()
		tries := slices.DeleteFunc(f.tried(), func(try [2]string) bool { return !strings.Contains(try[1], "unacknowledged") })
		return len(tries) == 2 && slices.Contains(said, "j")
	})
}

// Of what a node has said before something of it was lost, the history may have a part only
// later. So it is read at once, and once more.
func TestGapReadsHistoryTwice(t *testing.T) {
	t.Parallel()
	f := &troubled{Local: fabrictest.NewLocal("a", "1")}
	startNode(t, &epi.Engine{}, f)
	f.awaitReadings(t, 2) // of one that has come
	f.handler.Gap(fabric.Member{Node: "b", Epoch: 7})
	f.awaitReadings(t, 4)
}

// A shared fabric has a history in one shard.
type shared struct {
	troubled
	batches []string
	reads   []fabric.Position // guarded by troubled.mu; from where that shard was read
}

const sharedShard = 0

func (f *shared) Replay(shard uint32, after fabric.Position, each func(fabric.Position, []byte) bool, done func(error)) {
	if shard == sharedShard {
		f.mu.Lock()
		f.reads = append(f.reads, after)
		f.mu.Unlock()
		for i, b := range f.batches {
			behind := fabric.Position{Stream: 1, Number: uint64(i + 1)}
			if behind.Number > after.Number && !each(behind, []byte(b)) {
				break
			}
		}
	}
	f.troubled.Replay(shard, after, each, done)
}

// read is from where the shard was read so far.
func (f *shared) read() []fabric.Position {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.reads)
}

func sharedMessage(id int) string {
	return fmt.Sprintf(`{"r":{"ID":%d,"Target":"#room","Command":"PRIVMSG","Text":"x"}}`, id)
}

// A node that starts again on the same disk reads on where that has all of what came before.
func TestStartReadsOn(t *testing.T) {
	t.Parallel()
	batches := []string{"[" + sharedMessage(1) + "," + sharedMessage(2) + "]", "[" + sharedMessage(3) + "]"}
	f := &shared{troubled: troubled{Local: fabrictest.NewLocal("a", "1")}, batches: batches}
	_, disk := startNode(t, engine(1), f)
	disk.commit(t, 2, nil)
	reached := func(number uint64) {
		t.Helper()
		epitest.WaitUntil(t, fmt.Sprint("the position behind ", number), func() bool {
			at, _ := disk.Positions()
			return at[sharedShard].Number == number
		})
	}
	reached(1)
	disk.commit(t, 1, nil)
	reached(2)
	g := &shared{troubled: troubled{Local: fabrictest.NewLocal("a", "1")}, batches: append(batches, "["+sharedMessage(4)+"]")}
	config := remembering(disk)
	config.Fabric = g
	start(t, engine(1), config)
	disk.commit(t, 1, nil)
	reached(3)
	if reads := g.read(); reads[0] != (fabric.Position{Stream: 1, Number: 2}) {
		t.Errorf("it reads from %v", reads)
	}
}

// What the disk refuses of the history is read again, with what comes behind it, and nothing of
// that is left out.
func TestRefusedHistoryIsReadAgain(t *testing.T) {
	t.Parallel()
	f := &shared{troubled: troubled{Local: fabrictest.NewLocal("a", "1")}, batches: []string{
		"[" + sharedMessage(1) + "]", "[" + sharedMessage(2) + "]", "[" + sharedMessage(3) + "]",
	}}
	_, disk := startNode(t, engine(1), f)
	disk.commit(t, 1, nil)
	disk.commit(t, 1, errors.New("no space left on device"))
	disk.commit(t, 1, nil)
	disk.commit(t, 2, nil) // the second and the third once more
	epitest.WaitUntil(t, "the position behind all", func() bool {
		at, _ := disk.Positions()
		return at[sharedShard].Number == 3
	})
	disk.mu.Lock()
	defer disk.mu.Unlock()
	var ids []int64
	for _, r := range disk.records {
		ids = append(ids, r.ID)
	}
	if !slices.Equal(ids, []int64{1, 2, 3, 2, 3}) {
		t.Errorf("the disk was given %v", ids)
	}
}

// What another node has said and the disk refuses is read from the history, where it comes a
// little later.
func TestRefusedMessageOfAnotherNodeIsReadFromTheHistory(t *testing.T) {
	t.Parallel()
	f := &shared{troubled: troubled{Local: fabrictest.NewLocal("a", "1")}}
	_, disk := startNode(t, engine(1), f)
	epitest.WaitUntil(t, "what is read at the start", func() bool { return len(f.read()) >= 2 })
	b := fabric.Member{Node: "b", Epoch: 7}
	f.handler.Up(b)
	epitest.WaitUntil(t, "what is read for the node", func() bool { return len(f.read()) >= 3 })
	f.handler.Received(b, []byte(`p{"l":1,"o":[{"k":"record","b":{"ID":1,"Target":"`+sharedTarget+`","Command":"PRIVMSG","Text":"x"}}]}`))
	before := len(f.read())
	disk.commit(t, 1, errors.New("no space left on device"))
	epitest.WaitUntil(t, "what is read for the message", func() bool { return len(f.read()) > before })
}

// sharedTarget is a channel of the shard.
var sharedTarget = func() string {
	for i := 0; ; i++ {
		if name := fmt.Sprint("#room", i); fabric.Shard(name) == sharedShard {
			return name
		}
	}
}()

// All changes of messages that others have made reach the disk, however many there are at once.
func TestHistoryOfManyChanges(t *testing.T) {
	t.Parallel()
	const changes = 1000
	f := &shared{troubled: troubled{Local: fabrictest.NewLocal("a", "1")}}
	for id := range changes {
		f.batches = append(f.batches, fmt.Sprintf(`[{"w":{"k":%d,"l":{"ID":%d}}}]`, hall.RemoveRecord, id+1))
	}
	_, disk := startNode(t, engine(1), f)
	disk.commit(t, changes, nil)
	epitest.WaitUntil(t, "the position behind all", func() bool {
		at, _ := disk.Positions()
		return at[sharedShard].Number == changes
	})
}
