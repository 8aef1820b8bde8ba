package gate_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/epinet/epi"
	"github.com/epinet/epi/apps/chat/fabric"
	"github.com/epinet/epi/apps/chat/gate"
	"github.com/epinet/epi/apps/chat/hall"
	"github.com/epinet/epi/internal/epitest"
)

// A slowDisk keeps messages when the test says so.
type slowDisk struct {
	queued chan func(error) // in the order of the messages

	mu       sync.Mutex
	records  []*hall.Record                 // guarded by mu
	own      []hall.Record                  // guarded by mu; those of this node that are durable
	repeated int                            // guarded by mu; changes of other nodes
	reached  [fabric.Shards]fabric.Position // guarded by mu
	marks    []int64                        // guarded by mu; of Shared
}

func newSlowDisk() *slowDisk { return &slowDisk{queued: make(chan func(error), 20_000)} }

func (d *slowDisk) Record(r *hall.Record, done func(error)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.records = append(d.records, r)
	d.queued <- func(err error) {
		if err == nil && !r.Copy {
			d.mu.Lock()
			d.own = append(d.own, *r)
			d.mu.Unlock()
		}
		done(err)
	}
}

func (d *slowDisk) Repeat(_ *hall.Work, done func(error)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.repeated++
	d.queued <- done
}

// Reached keeps a position at once.
func (d *slowDisk) Reached(shard uint32, p fabric.Position, done func(error)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reached[shard] = p
	go done(nil)
}

func (d *slowDisk) Positions() ([fabric.Shards]fabric.Position, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.reached, nil
}

// Shared keeps a mark at once.
func (d *slowDisk) Shared(upTo int64, _ []int64, done func(error)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.marks = append(d.marks, upTo)
	go done(nil)
}

func (d *slowDisk) Mark() (upTo int64, ok bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.marks) == 0 {
		return 0, false, nil
	}
	return d.marks[len(d.marks)-1], true, nil
}

func (d *slowDisk) Changes(context.Context) ([]hall.Outgoing, bool, error) { return nil, false, nil }

// Unshared has pages of two records.
func (d *slowDisk) Unshared(_ context.Context, after int64) (u hall.Unshared, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	u.UpTo = after
	for _, r := range d.own {
		if u.More = r.ID > after && len(u.Records) == 2; u.More {
			break
		}
		if r.ID > after {
			u.Records, u.UpTo = append(u.Records, r), r.ID
		}
	}
	return u, nil
}

func (d *slowDisk) Do(context.Context, *hall.Work) hall.Result { return hall.Result{OK: true} }

// commit waits for the next n messages and settles them.
func (d *slowDisk) commit(t *testing.T, n int, err error) {
	t.Helper()
	for range n {
		epitest.Receive(t, d.queued)(err)
	}
}

// barrier waits until every loop has done, twice, what it was to do.
func (c *chat) barrier(loops int) {
	c.t.Helper()
	for i := range 2 * loops {
		loop, err := c.engine.Loop(i % loops)
		if err != nil {
			c.t.Fatal(err)
		}
		passed := make(chan struct{})
		if err := loop.Do(func() { close(passed) }); err != nil {
			c.t.Fatal(err)
		}
		epitest.Receive(c.t, passed)
	}
}

// line reads the next line.
func (c *client) line() string {
	c.t.Helper()
	if !c.in.Scan() {
		c.t.Fatalf("the connection ended: %v", c.in.Err())
	}
	return c.in.Text()
}

func remembering(disk gate.History) gate.Config {
	config := settings()
	config.History = disk
	config.Hall.History.Enabled = true
	return config
}

// meets lets two clients with echoes join a channel, and commits the events of that.
func meets(t *testing.T, c *chat, disk *slowDisk) (ann, bob *client) {
	t.Helper()
	ann, bob = c.register("ann"), c.register("bob")
	for i, cl := range []*client{ann, bob} {
		cl.say("CAP REQ :echo-message message-tags labeled-response batch")
		cl.await("ACK")
		cl.say("JOIN #c")
		disk.commit(t, 1, nil)
		cl.await(" 366 ")
		if i == 1 {
			ann.await("JOIN")
		}
	}
	return ann, bob
}

func TestWithhold_NothingIsShownBeforeItIsDurable(t *testing.T) {
	for _, loops := range []int{1, 2} {
		t.Run(fmt.Sprintf("%d loops", loops), func(t *testing.T) {
			disk := newSlowDisk()
			c := start(t, &epi.Engine{Loops: loops}, remembering(disk))
			ann, bob := meets(t, c, disk)
			before := c.Stats().Deliveries
			ann.say("PRIVMSG #c :one")
			ann.say("PRIVMSG #c :two")
			ann.say("PING after")
			one, two := epitest.Receive(t, disk.queued), epitest.Receive(t, disk.queued)
			shows := func(receivers []*client, want string) {
				t.Helper()
				for _, r := range receivers {
					if line := r.line(); !strings.HasSuffix(line, want) {
						t.Errorf("somebody got %q, not %q", line, want)
					}
				}
				c.barrier(loops)
				before += uint64(len(receivers))
				if n := c.Stats().Deliveries; n != before {
					t.Errorf("%d lines were shown before their messages were durable", n-before)
				}
			}
			shows(nil, "")
			one(nil)
			shows([]*client{ann, bob}, "PRIVMSG #c :one")
			two(nil)
			shows([]*client{ann, bob}, "PRIVMSG #c :two")
			if line := ann.line(); !strings.HasSuffix(line, "PONG irc.test :after") {
				t.Errorf("ann got %q", line)
			}
		})
	}
}

// A message that cannot be kept is seen by nobody; its sender reads FAIL, and what came
// before and after it is shown.
func TestWithhold_LostMessage(t *testing.T) {
	for _, loops := range []int{1, 2} {
		t.Run(fmt.Sprintf("%d loops", loops), func(t *testing.T) {
			disk := newSlowDisk()
			c := start(t, &epi.Engine{Loops: loops}, remembering(disk))
			ann, bob := meets(t, c, disk)
			ann.say("PRIVMSG #c :one")
			ann.say("@label=l PRIVMSG #c :two")
			ann.say("TOPIC #c :still told")
			ann.say("PRIVMSG #c :three")
			disk.commit(t, 1, nil)
			disk.commit(t, 2, errors.New("no space left on device"))
			disk.commit(t, 1, nil)
			for _, want := range []string{"PRIVMSG #c :one", "TOPIC #c :still told", "PRIVMSG #c :three"} {
				if line := bob.line(); !strings.HasSuffix(line, want) {
					t.Errorf("bob got %q, not %q", line, want)
				}
			}
			var got []string
			for range 4 {
				got = append(got, ann.line())
			}
			all := strings.Join(got, "\n")
			if !strings.Contains(all, "@label=l :irc.test FAIL PRIVMSG MESSAGE_NOT_KEPT #c ") || strings.Contains(all, "two") {
				t.Errorf("ann got\n%s", all)
			}
			if n := c.Stats().Unkept; n != 2 {
				t.Errorf("%d messages are counted as lost", n)
			}
		})
	}
}

// With relaxed durability nothing waits for the disk.
func TestWithhold_Relaxed(t *testing.T) {
	disk := newSlowDisk()
	config := remembering(disk)
	config.Relaxed = true
	c := start(t, &epi.Engine{Loops: 1}, config)
	ann := c.register("ann")
	ann.say("CAP REQ echo-message")
	ann.say("JOIN #c")
	ann.say("PRIVMSG #c :one")
	ann.await("PRIVMSG #c :one")
}

// What is withheld is bounded: a client that goes on is not read from.
func TestWithhold_Bound(t *testing.T) {
	disk := newSlowDisk()
	c := start(t, &epi.Engine{Loops: 1}, remembering(disk))
	ann, _ := meets(t, c, disk)
	const lines = 20_000
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for i := range lines {
			if _, err := fmt.Fprintf(ann.conn, "PRIVMSG #c :%d\r\n", i); err != nil {
				return
			}
		}
	}()
	for range lines {
		disk.commit(t, 1, nil)
	}
	ann.await(fmt.Sprint("PRIVMSG #c :", lines-1))
	epitest.Receive(t, sent)
}

// A program's message is answered when it is durable, or with the reason why it is not.
func TestWithhold_PostWaits(t *testing.T) {
	disk := newSlowDisk()
	c := start(t, &epi.Engine{Loops: 1}, remembering(disk))
	_, bob := meets(t, c, disk)
	for _, lost := range []error{nil, errors.New("no space left on device")} {
		answered := make(chan error, 1)
		go func() {
			_, err := c.Post(t.Context(), "#c", "robot", "hello")
			answered <- err
		}()
		done := epitest.Receive(t, disk.queued)
		c.barrier(1)
		select {
		case err := <-answered:
			t.Errorf("answered before the message was durable: %v", err)
		default:
		}
		done(lost)
		if err := epitest.Receive(t, answered); !errors.Is(err, lost) {
			t.Errorf("the answer is %v, want %v", err, lost)
		}
	}
	if line := bob.line(); !strings.HasSuffix(line, "PRIVMSG #c :hello") {
		t.Errorf("bob got %q", line)
	}
	if _, err := c.Post(t.Context(), "#none", "robot", "hello"); !errors.Is(err, hall.ErrPost) {
		t.Errorf("a channel that is not there: %v", err)
	}
}
