package hall

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/epinet/epi/apps/chat/ircmsg"
)

// quiet is a gate that does nothing.
type quiet struct{}

func (quiet) Send(SessionID, []byte)            {}
func (quiet) Deliver(*Item)                     {}
func (quiet) Member(SessionID, ChannelID, Rank) {}
func (quiet) Leave(SessionID, ChannelID)        {}
func (quiet) Caps(SessionID, Caps)              {}
func (quiet) Registered(SessionID)              {}
func (quiet) Close(SessionID, []byte)           {}
func (quiet) Commanded(string, bool)            {}
func (quiet) Fault(error)                       {}
func (quiet) Keep(Change)                       {}
func (quiet) Record(*Record)                    {}
func (quiet) Echo(SessionID, []byte, []int64)   {}
func (quiet) Begin(*Work)                       {}

// crowd returns a hall with users.
func crowd(n int) *Hall {
	h := New(Config{}, quiet{})
	for i := range n {
		id := SessionID(i + 1)
		h.Apply(&Event{Kind: Opened, Session: id, At: start, Origin: &Origin{Host: fmt.Sprintf("10.0.%d.%d", i/256, i%256), Address: fmt.Sprintf("10.0.%d.%d", i/256, i%256)}})
		say(h, id, fmt.Sprintf("NICK user%d", i))
		say(h, id, fmt.Sprintf("USER user%d 0 * :Real name", i))
	}
	return h
}

func say(h *Hall, id SessionID, line string) {
	var m ircmsg.Message
	if err := m.Parse(line, ircmsg.FromClient); err != nil {
		panic(err)
	}
	h.Apply(&Event{Kind: Line, Session: id, At: start, Message: &m})
}

// BenchmarkPrivmsg is a message to a channel, without the deliveries.
func BenchmarkPrivmsg(b *testing.B) {
	h := crowd(50)
	for i := range 50 {
		say(h, SessionID(i+1), "JOIN #a")
	}
	var m ircmsg.Message
	if err := m.Parse("PRIVMSG #a :hello, how are you all today?", ircmsg.FromClient); err != nil {
		b.Fatal(err)
	}
	e := &Event{Kind: Line, Session: 7, At: start, Message: &m}
	b.ReportAllocs()
	for b.Loop() {
		h.Apply(e)
	}
}

// BenchmarkJoinStorm is users joining one channel; the time is that of one of them.
func BenchmarkJoinStorm(b *testing.B) {
	for _, n := range []int{1000, 4000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				h := crowd(n)
				b.StartTimer()
				for i := range n {
					say(h, SessionID(i+1), "JOIN #a")
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/join")
		})
	}
}

// TestIdleUserIsSmall bounds what a registered user in one channel costs the hall.
func TestIdleUserIsSmall(t *testing.T) {
	const users = 20_000
	before := heap()
	h := crowd(users)
	for i := range users {
		say(h, SessionID(i+1), fmt.Sprintf("JOIN #c%d", i%100))
	}
	each := (heap() - before) / users
	t.Logf("%d bytes for each user", each)
	if each > 700 {
		t.Errorf("a user costs %d bytes, want at most 700", each)
	}
	runtime.KeepAlive(h)
}

func heap() uint64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// BenchmarkElsewhere looks for the users of an account among those of another node, as each sign-in
// does in a network.
func BenchmarkElsewhere(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			h := New(Config{}, quiet{})
			h.net = &network{}
			at := &node{}
			for i := range n {
				u := &user{account: fmt.Sprint("account", i), net: &presence{node: at}}
				u.identify(fmt.Sprint("nick", i), "u", "host")
				h.enter(u)
			}
			for b.Loop() {
				if h.elsewhere("Account7") == nil {
					b.Fatal("nobody is found")
				}
			}
		})
	}
}
