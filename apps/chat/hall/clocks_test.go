package hall

import (
	"strings"
	"testing"
	"time"

	"github.com/epinet/epi/apps/chat/fabric"
	"github.com/epinet/epi/apps/chat/fabric/fabrictest"
	"github.com/epinet/epi/apps/chat/ircmsg"
)

// TestNetworkOrderAfterFastClock has each node in turn own a channel with a clock that is a
// minute ahead, and cuts it off: what its own clients have seen by then is before what the
// next owner numbers, by its slower clock.
func TestNetworkOrderAfterFastClock(t *testing.T) {
	for _, fast := range []fabric.Node{"a", "b", "c"} {
		t.Run(string(fast), func(t *testing.T) { outlastFastClock(t, fast) })
	}
}

func outlastFastClock(t *testing.T, fast fabric.Node) {
	n := newNation(t, 1, Config{History: History{Enabled: true}}, fabrictest.Options{}, "a", "b", "c")
	n.town(fast).skew = 60_000
	n.peace()
	other := fabric.Node("a")
	if fast == other {
		other = "b"
	}
	n.user(fast, "ann", "echo-message", "message-tags")
	n.user(other, "bob", "echo-message", "message-tags")
	channel := ""
	for i := 0; channel == ""; i++ {
		name := "#" + strings.Repeat("x", i+1)
		if home, _ := fabric.Home(name, n.town(fast).node.Members()); home.Node == fast {
			channel = name
		}
	}
	n.say(fast, "ann", "JOIN "+channel)
	n.say(other, "bob", "JOIN "+channel)
	n.town(fast).look()
	n.net.Isolate(fast)
	n.say(fast, "ann", "PRIVMSG "+channel+" :one")
	n.net.Run(30 * time.Second)
	n.say(other, "bob", "PRIVMSG "+channel+" :two")
	n.net.Heal()
	n.peace()
	last := ""
	seen := map[string]bool{}
	for _, r := range n.town(fast).look() {
		var m ircmsg.Message
		if err := m.Parse(r.line, ircmsg.FromServer); err != nil {
			t.Fatal(err)
		}
		if m.Command != "PRIVMSG" {
			continue
		}
		id, _ := m.Tags.Get("msgid")
		if id <= last {
			t.Errorf("%s after %s: %s", id, last, r.line)
		}
		last, seen[m.Param(1)] = id, true
	}
	if !seen["one"] || !seen["two"] {
		t.Errorf("ann has seen %v", seen)
	}
}
