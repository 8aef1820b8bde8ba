package gate_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/epinet/epi"
	"github.com/epinet/epi/apps/chat/fabric"
	"github.com/epinet/epi/internal/epitest"
)

// A troubled is the fabric of one node whose history takes nothing at first.
type troubled struct {
	*fabric.Local

	mu       sync.Mutex
	refusals int            // guarded by mu; of appends, that are still to come
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

func (f *troubled) Append(_ uint32, _ string, _ []byte, done func(error)) {
	f.mu.Lock()
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

func (f *troubled) Replay(_ uint32, _ uint64, _ func(uint64, []byte), done func(error)) {
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
	f := &troubled{Local: fabric.NewLocal("a", "1"), refusals: 2}
	disk := newSlowDisk()
	config := remembering(disk)
	config.Fabric = f
	c := start(t, &epi.Engine{}, config)
	ann := c.registerOnceLeased("ann")
	ann.say("JOIN #room")
	ann.say("PRIVMSG #room :late")
	disk.commit(t, 2, nil)
	epitest.WaitUntil(t, "the announcement", func() bool {
		appended, _, said := f.seen()
		return appended > 0 && fmt.Sprint(said) == "[j]"
	})
	_, before, _ := f.seen()
	f.handler.Received(fabric.Member{Node: "b", Epoch: 7}, []byte("j"))
	if _, after, _ := f.seen(); after != before+fabric.Shards {
		t.Errorf("%d shards are read again, of %d", after-before, fabric.Shards)
	}
}
