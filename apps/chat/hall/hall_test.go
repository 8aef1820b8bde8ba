package hall

import (
	"bytes"
	"testing"

	"github.com/epinet/epi/apps/chat/ircmsg"
)

func TestOneUser(t *testing.T) {
	w := newWorld(t, Config{})
	alice := w.open("alice", Origin{Host: "a.example", Address: "192.0.2.1"})
	for _, line := range []string{"NICK alice", "USER alice 0 * :Alice", "JOIN #a", "PRIVMSG #a hi", "WHO #a"} {
		w.line(alice, line)
		w.healthy()
	}
	if w.hall.Users() != 1 || w.hall.Channels() != 1 {
		t.Errorf("%d users in %d channels, want 1 in 1", w.hall.Users(), w.hall.Channels())
	}
	w.line(alice, "QUIT")
	w.healthy()
	if w.hall.Users()+w.hall.Channels()+w.hall.Sessions() != 0 {
		t.Error("something is left when everybody has gone")
	}
}

// keeper is a gate that keeps what one session gets.
type keeper struct {
	quiet
	got []byte
}

func (k *keeper) Send(_ SessionID, lines []byte) { k.got = append(k.got, lines...) }

// TestLongAnswersEnd holds answers that grow with the server below what a client's
// queue takes.
func TestLongAnswersEnd(t *testing.T) {
	k := &keeper{}
	h := crowd(9000)
	c := h.create("#a")
	for _, u := range h.everyone {
		h.add(c, u, 0)
	}
	h.gate = k
	for _, command := range []string{"WHO *", "WHO #a"} {
		k.got = nil
		say(h, 1, command)
		if len(k.got) > maxAnswer+1000 || len(k.got) < maxAnswer {
			t.Errorf("%s is answered by %d bytes, want %d", command, len(k.got), maxAnswer)
		}
		if n := bytes.Count(k.got, []byte(" 416 ")); n != 1 {
			t.Errorf("%s is answered by %d times 416, want once", command, n)
		}
		if !bytes.Contains(k.got, []byte(" 315 ")) {
			t.Errorf("the answer to %s has no end", command)
		}
	}
}

// What a command costs does not depend on how it is written.
func TestCost(t *testing.T) {
	for _, test := range []struct {
		command string
		cost    int
	}{{"PING", 1}, {"JOIN", 2}, {"join", 2}, {"List", 10}, {"nothing", 1}, {"", 1}} {
		if cost := Cost(&ircmsg.Message{Command: test.command}); cost != test.cost {
			t.Errorf("%q costs %d, want %d", test.command, cost, test.cost)
		}
	}
}
