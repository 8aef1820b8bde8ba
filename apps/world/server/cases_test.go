package server_test

import (
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/epinet/epi/apps/world/proto"
	"github.com/epinet/epi/internal/epitest"
)

// TestCase13_GoneInTheSameFrame: a player leaves in the frame that brought it, and in
// those that follow at once; who watches is never told half of it.
func TestCase13_GoneInTheSameFrame(t *testing.T) {
	w := start(t, settings())
	watcher := w.join("watcher")
	for i := range 40 {
		c := w.connect()
		c.send(&proto.Hello{Version: proto.Version, Name: fmt.Sprintf("guest%c%c", 'a'+i/26, 'a'+i%26)}, &proto.Say{Text: "hello and bye"}, &proto.Bye{})
		c.ends()
		if c.welcome.Self == 0 {
			t.Fatalf("it was refused: %+v", c.refused)
		}
		watcher.ticks(1)
		if watcher.replica.Entities[c.welcome.Self] != nil {
			watcher.until("its end", func() bool { return watcher.replica.Entities[c.welcome.Self] == nil })
		}
	}
	if n := w.Stats().Players; n != 1 {
		t.Errorf("%d players are left", n)
	}
}

// TestCase16_TenReconnects: each sees the whole again, and goes on walking.
func TestCase16_TenReconnects(t *testing.T) {
	w := start(t, settings())
	a, b := w.join("anna"), w.join("bert")
	for range 10 {
		again := w.connect()
		again.hello("anna", a.welcome.Token)
		if again.welcome.Resumed != 1 || again.welcome.Self != a.welcome.Self {
			t.Fatalf("it is %+v", again.welcome)
		}
		again.ticks(1)
		if again.replica.Entities[a.welcome.Self] == nil {
			t.Error("the first frame lacks the player itself")
		}
		again.walks()
		b.walks()
		_ = again.conn.Close()
	}
}

// TestCase25_SmallInputs: inputs come one by one, several between two ticks; there is
// one frame a tick all the same, and each is carried out.
func TestCase25_SmallInputs(t *testing.T) {
	w := start(t, settings())
	c := w.join("anna")
	c.ticks(1)
	const moves = 100
	for last := c.replica.Tick; c.replica.Own.Sequence < moves; {
		if c.moves < moves && c.moves < c.replica.Own.Sequence+5 {
			c.walk(uint8(1 + c.moves%8))
			continue
		}
		if !c.frame() {
			t.Fatalf("the connection ended: %+v", c.refused)
		}
		if c.replica.Tick == last {
			t.Fatalf("a second frame came for tick %d", last)
		}
		last = c.replica.Tick
	}
	if n := w.Stats().Corrected; n != 0 {
		t.Errorf("%d moves were corrected", n)
	}
}

// TestFloodOfMovesEndsTheSession, and the others' ticks go on.
func TestFloodOfMovesEndsTheSession(t *testing.T) {
	w := start(t, settings())
	watcher, c := w.join("watcher"), w.join("flood")
	var frame []byte
	for n := range uint32(300) {
		frame = (&proto.Move{Epoch: c.epoch, Sequence: n + 1, Direction: 1, Ticks: 1}).Append(frame)
	}
	frame = append([]byte{0, byte(len(frame) >> 8), byte(len(frame))}, frame...)
	for range 2000 {
		if _, err := c.conn.Write(frame); err != nil {
			break // it was ended
		}
	}
	epitest.WaitUntil(t, "the end of the session", func() bool { return w.Stats().Sessions == 1 })
	watcher.ticks(5)
}

// TestCase21_LongTalk: 64 KB of talk in frames of the greatest length.
func TestCase21_LongTalk(t *testing.T) {
	config := settings()
	config.TalkRate, config.TalkBurst = 0, 3
	w := start(t, config)
	watcher, c := w.join("watcher"), w.join("talker")
	say := (&proto.Say{Text: strings.Repeat("x", 200)}).Append(nil)
	var frame []byte
	for len(frame)+len(say) <= 4096 {
		frame = append(frame, say...)
	}
	frame = append(binary.BigEndian.AppendUint16([]byte{0}, uint16(len(frame))), frame...)
	for range 16 {
		if _, err := c.conn.Write(frame); err != nil {
			break // it was ended
		}
	}
	epitest.WaitUntil(t, "the end of the session", func() bool { return w.Stats().Sessions == 1 })
	if s := w.Stats(); s.Said != 3 {
		t.Errorf("%d lines were said", s.Said)
	}
	watcher.ticks(5)
}

// TestCase12_ResetsAndDrain: half of the players are reset at once while the world ends:
// the others get a last word, and nobody is left.
func TestCase12_ResetsAndDrain(t *testing.T) {
	w := start(t, settings())
	var players []*client
	for n := range 100 {
		players = append(players, w.join(fmt.Sprintf("guest%c%c", 'a'+n/10, 'a'+n%10)))
	}
	for n, c := range players {
		if n%2 == 0 {
			if err := c.conn.(*net.TCPConn).SetLinger(0); err != nil {
				t.Fatal(err)
			}
			_ = c.conn.Close()
		}
	}
	w.end()
	for n, c := range players {
		if n%2 == 0 {
			continue
		}
		if c.ends(); c.refused == nil || c.refused.Reason != 9 {
			t.Errorf("player %d: %+v", n, c.refused)
		}
	}
	epitest.WaitUntil(t, "the end of all sessions", func() bool { return w.Stats().Sessions == 0 })
}
