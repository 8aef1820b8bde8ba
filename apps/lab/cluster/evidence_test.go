package cluster

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// attended is a client with the nick ann in #x, at a server that answers each line with those of a
// function; none is the end of the connection.
func attended(t *testing.T, answer func(line string) []string) *client {
	ours, server := net.Pipe()
	if err := ours.SetWriteDeadline(time.Now().Add(time.Minute)); err != nil { // who sends without reading waits for good
		t.Fatal(err)
	}
	go func() {
		defer server.Close()
		for in := bufio.NewScanner(server); in.Scan(); {
			lines := answer(in.Text())
			if len(lines) == 0 {
				return
			}
			for _, line := range lines {
				fmt.Fprintf(server, "%s\r\n", line)
			}
		}
	}()
	c := &client{name: "ann", nick: "ann", called: "ann", channels: []string{"#x"}, nicks: []string{"king"},
		random: rand.New(rand.NewPCG(1, 1)), echoes: &echoes{}, conn: ours, in: bufio.NewReader(ours),
		seen: map[string][]Message{}, doubted: map[string]int{}, joined: map[string]bool{"#x": true}}
	t.Cleanup(func() { c.leave() })
	return c
}

// TestClientKeepsWhatItSees: what a client has seen is evidence in one piece for each time in the channel,
// also if the connection breaks; a history is not seen, and a line without an answer was said.
func TestClientKeepsWhatItSees(t *testing.T) {
	c := attended(t, func(line string) []string {
		switch {
		case strings.HasSuffix(line, "says 1"):
			return []string{"@msgid=b1 :bob!b@h PRIVMSG #x :hi", "@msgid=b0;batch=h :bob!b@h PRIVMSG #x :long ago", "@msgid=a1 :ann!a@h PRIVMSG #x :ann says 1"}
		case strings.HasPrefix(line, "PART"):
			return []string{":ann!a@h PART #x"}
		case strings.HasPrefix(line, "JOIN"):
			return []string{":ann!a@h JOIN #x", ":s 366 ann #x :End of names"}
		case strings.HasSuffix(line, "says 2"):
			return []string{"@msgid=a2 :ann!a@h PRIVMSG #x :ann says 2"}
		}
		return nil
	})
	for _, do := range []func() error{c.say, c.rejoin, c.say} {
		if err := do(); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.say(); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
	c.leave()
	sessions := []Session{
		{"ann", "#x", []Message{{"b1", "hi"}, {"a1", "ann says 1"}}},
		{"ann", "#x", []Message{{"a2", "ann says 2"}}},
	}
	said := []Said{
		{Client: "ann", Channel: "#x", Text: "ann says 1", ID: "a1"},
		{Client: "ann", Channel: "#x", Text: "ann says 2", ID: "a2"},
		{Client: "ann", Channel: "#x", Text: "ann says 3"},
	}
	if !reflect.DeepEqual(c.evidence.Sessions, sessions) || !slices.Equal(c.evidence.Said, said) {
		t.Errorf("sessions %v, said %v", c.evidence.Sessions, c.evidence.Said)
	}
	if nick, is := c.isIn("#x"); is {
		t.Errorf("it is in the channel as %q without a connection", nick)
	}
}

// TestClientThatIsKicked: nobody kicks in a run, so whoever is kicked was put out.
func TestClientThatIsKicked(t *testing.T) {
	c := attended(t, func(string) []string {
		return []string{":bob!b@h KICK #x ann :out", ":s 404 ann #x :Cannot send to channel"}
	})
	if err := c.say(); err != nil {
		t.Fatal(err)
	}
	if _, is := c.isIn("#x"); is || len(c.evidence.PutOut) != 1 || !c.evidence.Said[0].Refused {
		t.Errorf("in the channel: %t; put out: %q; said: %v", is, c.evidence.PutOut, c.evidence.Said)
	}
}

// TestClientHolds: a hold begins when the nick was got, not when it was asked for, goes on while its lines
// are shown by that nick, and breaks when an answer takes so long that the lease may have been lost.
//
//	0 s  NICK king ──► 1 s: it has it
//	2 s  says 1 ─────► shown by king
//	3 s  says 2 ─────► shown by ann
//	4 s  says 3 ─────► 8 s: shown by king, but a lease may have been over
//	9 s  says 4 ─────► shown by king
func TestClientHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := attended(t, func(line string) []string {
			from := "king"
			switch {
			case strings.HasPrefix(line, "NICK"):
				time.Sleep(time.Second)
				return []string{":ann!a@h NICK king"}
			case strings.HasSuffix(line, "says 2"):
				from = "ann"
			case strings.HasSuffix(line, "says 3"):
				time.Sleep(unbroken + time.Second)
			}
			return []string{fmt.Sprintf("@msgid=m :%s!a@h %s", from, line)}
		})
		begun := time.Now().Truncate(together).Add(together)
		if err := c.rename(); err != nil {
			t.Fatal(err)
		}
		for range 4 {
			time.Sleep(time.Second)
			if err := c.say(); err != nil {
				t.Fatal(err)
			}
		}
		c.leave()
		var got []time.Duration
		for _, h := range c.evidence.Holds {
			got = append(got, h.From.Sub(begun)/time.Second, h.Until.Sub(begun)/time.Second)
		}
		if want := []time.Duration{1, 2, 8, 9}; !slices.Equal(got, want) {
			t.Errorf("held from and until %d, want %d", got, want)
		}
	})
}

// TestClientReadsHistory: all pages, from the last one back; what is refused is an error, and no end.
func TestClientReadsHistory(t *testing.T) {
	var asked []string
	page := func(messages ...string) []string {
		lines := []string{":s BATCH +h chathistory #x"}
		for _, m := range messages {
			lines = append(lines, fmt.Sprintf("@batch=h;msgid=%s :bob!b@h PRIVMSG #x :text %[1]s", m))
		}
		return append(lines, ":s BATCH -h")
	}
	c := attended(t, func(line string) []string {
		asked = append(asked, line)
		switch len(asked) {
		case 1:
			return page("3", "4")
		case 2:
			return append([]string{"@msgid=9 :bob!b@h PRIVMSG #x :live"}, page("1", "2")...)
		case 3:
			return page()
		}
		return []string{":s FAIL CHATHISTORY MESSAGE_ERROR #x :later"}
	})
	got, err := c.history("#x")
	want := []Message{{"1", "text 1"}, {"2", "text 2"}, {"3", "text 3"}, {"4", "text 4"}}
	lines := []string{"CHATHISTORY LATEST #x * 100", "CHATHISTORY BEFORE #x msgid=3 100", "CHATHISTORY BEFORE #x msgid=1 100"}
	if err != nil || !slices.Equal(got, want) || !slices.Equal(asked, lines) {
		t.Errorf("%v, %v after %q", got, err, asked)
	}
	if _, err := c.history("#x"); err == nil {
		t.Error("what is refused is taken for the end")
	}
}

// TestWhoIsIn: a node shows nicks behind prefixes, and judges among them; clients know where they are.
func TestWhoIsIn(t *testing.T) {
	c := attended(t, func(string) []string {
		return []string{":s 353 ann = #x :@ann +bob judge1a", ":s 353 ann = #x :~&cid %dan", ":s 366 ann #x :End of names"}
	})
	if got, err := c.names("#x"); err != nil || !slices.Equal(got, []string{"ann", "bob", "cid", "dan"}) {
		t.Errorf("%q, %v", got, err)
	}
	in, out, away := map[string]bool{"#x": true}, map[string]bool{"#y": true}, (map[string]bool)(nil)
	r := &run{clients: []*client{{called: "cid", joined: in}, {called: "bob", joined: out}, {called: "ann", joined: in}, {joined: away}}}
	if got := r.who("#x"); !slices.Equal(got, []string{"ann", "cid"}) {
		t.Errorf("in the channel: %q", got)
	}
}

// TestSilenceIsAFault: a network in which nobody got an answer again is not well, whatever else is.
func TestSilenceIsAFault(t *testing.T) {
	for silent, faults := range map[bool]int{true: 1, false: 0} {
		if got := (&run{silent: silent}).result(Evidence{}, nil, 0); len(got.Faults) != faults {
			t.Errorf("silent %t: %q", silent, got.Faults)
		}
	}
}
