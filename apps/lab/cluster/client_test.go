package cluster

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestClientCountsDoubts: each PART without an answer may be carried out once, later; another one is
// nobody's.
func TestClientCountsDoubts(t *testing.T) {
	ours, server := net.Pipe()
	defer server.Close()
	script := map[string][]string{ // what the server says to each line
		"PART 1": {":s FAIL PART NO_ANSWER #x :perhaps"},
		"JOIN 1": {":s FAIL JOIN NO_ANSWER #x :perhaps"},
		"PART 2": {":s FAIL PART NO_ANSWER #x :perhaps"},
		"JOIN 2": {":ann!a@h PART #x", ":ann!a@h JOIN #x", ":ann!a@h PART #x", ":ann!a@h JOIN #x", ":s 366 ann #x :End of names"},
		"PART 3": {":s FAIL PART NO_ANSWER #x :perhaps"},
		"JOIN 3": {":s 366 ann #x :End of names"},
		"PART 4": {":ann!a@h PART #x"}, // the answer to one of the two
		"JOIN 4": {":ann!a@h PART #x", ":ann!a@h JOIN #x", ":s 366 ann #x :End of names"},
		"PART 5": {":ann!a@h PART #x"},
		"JOIN 5": {":ann!a@h JOIN #x", ":s 366 ann #x :End of names", ":ann!a@h PART #x"},
	}
	go func() {
		asked := map[string]int{}
		for in := bufio.NewScanner(server); in.Scan(); {
			command, _, _ := strings.Cut(in.Text(), " ")
			asked[command]++
			for _, line := range script[fmt.Sprint(command, " ", asked[command])] {
				fmt.Fprintf(server, "%s\r\n", line)
			}
		}
	}()
	c := &client{name: "ann", nick: "ann", channels: []string{"#x"}, random: rand.New(rand.NewPCG(1, 1)),
		conn: ours, in: bufio.NewReader(ours), seen: map[string][]Message{}, doubted: map[string]int{}, joined: map[string]bool{"#x": true}}
	defer c.leave()
	var before []string
	for range 5 {
		before = slices.Clone(c.evidence.PutOut)
		if err := c.rejoin(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.read(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if len(before) > 0 || len(c.evidence.PutOut) != 1 || !strings.Contains(c.evidence.PutOut[0], "> PART #x") {
		t.Errorf("put out: %q, then %q", before, c.evidence.PutOut)
	}
}

// TestClientWaitsForItsOwnNick: that another client gets the nick is no answer, which would be taken
// for that to the next line.
func TestClientWaitsForItsOwnNick(t *testing.T) {
	ours, server := net.Pipe()
	defer server.Close()
	go func() {
		for in := bufio.NewScanner(server); in.Scan(); {
			fmt.Fprintf(server, ":bob!b@h NICK both\r\n:s 433 ann both :Nickname is already in use\r\n")
		}
	}()
	c := &client{name: "ann", nick: "ann", nicks: []string{"both"}, random: rand.New(rand.NewPCG(1, 1)),
		conn: ours, in: bufio.NewReader(ours)}
	defer c.leave()
	if err := c.rename(); err != nil || c.held != nil || c.in.Buffered() > 0 {
		t.Errorf("%v, holds %v; not read yet: %d bytes", err, c.held, c.in.Buffered())
	}
}

// TestClientHoldBreaks: who was refused may have lost its nick, and others may have had it before it spoke by
// that again: once is no proof.
func TestClientHoldBreaks(t *testing.T) {
	ours, server := net.Pipe()
	defer server.Close()
	go func() {
		said := 0
		for in := bufio.NewScanner(server); in.Scan(); said++ {
			if said == 2 || said == 4 {
				fmt.Fprintf(server, ":s FAIL PRIVMSG CHANNEL_UNAVAILABLE #x :later\r\n")
				continue
			}
			fmt.Fprintf(server, "@msgid=%d :king!a@h %s\r\n", said, in.Text())
		}
	}()
	begun := time.Now()
	c := &client{name: "ann", nick: "king", channels: []string{"#x"}, random: rand.New(rand.NewPCG(1, 1)), echoes: &echoes{},
		conn: ours, in: bufio.NewReader(ours), seen: map[string][]Message{}, held: &Hold{Client: "ann", Nick: "king", From: begun, Until: begun}}
	defer c.leave()
	var refused time.Time
	for i := range 7 {
		if i == 4 {
			refused = time.Now()
		}
		if err := c.say(); err != nil {
			t.Fatal(err)
		}
	}
	c.endHold()
	holds := c.evidence.Holds
	if len(holds) != 2 || holds[1].From.Before(refused) || holds[1].Nick != "king" {
		t.Errorf("refused at %v, and held %v", refused, holds)
	}
}
