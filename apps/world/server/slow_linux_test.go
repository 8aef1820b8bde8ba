package server_test

import (
	"context"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/epinet/epi"
	"github.com/epinet/epi/apps/world/proto"
	"github.com/epinet/epi/apps/world/server"
	"github.com/epinet/epi/internal/epitest"
)

// narrow has the system keep little for a socket.
func narrow(option int) func(_, _ string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) (err error) {
		if failed := c.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, option, 4<<10) }); failed != nil {
			return failed
		}
		return err
	}
}

// startNarrow serves a world whose clients from now on have little of the system's
// buffers, so that what they do not read is queued in the engine.
func startNarrow(t *testing.T, config server.Config) *world {
	t.Helper()
	w := start(t, config)
	listens := net.ListenConfig{Control: narrow(syscall.SO_SNDBUF)}
	ln, err := listens.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if w.tcp, err = w.engine.ListenOn(ln, epi.ListenOptions{}, w.Accept); err != nil {
		t.Fatal(err)
	}
	w.dial = (&net.Dialer{Control: narrow(syscall.SO_RCVBUF)}).Dial
	return w
}

// mostHeld is what one that does not read may cost.
const mostHeld = 64 << 10

// TestSlowReaderIsConflated: one that does not read costs a bounded queue, and has a
// right view again when it reads.
func TestSlowReaderIsConflated(t *testing.T) {
	config := settings()
	config.World.Monsters, config.World.Width, config.World.Height = 3000, 4, 4
	config.Conflate = 2 << 10
	w := startNarrow(t, config)
	slow := w.join("slow")
	epitest.WaitUntil(t, "conflation", func() bool {
		if held := w.engine.Stats().Held; held > mostHeld {
			t.Fatalf("%d bytes are held", held)
		}
		return w.Stats().Conflated > 100
	})
	tick := uint32(w.Stats().Ticks)
	slow.until("a frame of now", func() bool { return int32(slow.replica.Tick-tick) > 0 })
	slow.ticks(8)
	if w.Stats().Slow != 0 || slow.refused != nil {
		t.Errorf("it was ended: %+v", slow.refused)
	}
}

// TestSlowTalkEndsTheSession: what was said is kept for one that does not read, up to a
// bound; then it is told that it was too slow. Who reads goes on.
func TestSlowTalkEndsTheSession(t *testing.T) {
	config := settings()
	config.World.Monsters = 0
	w := startNarrow(t, config)
	talker, slow := w.join("talker"), w.connect()
	slow.send(&proto.Hello{Version: proto.Version, Name: "slow"})
	text := strings.Repeat("x", 200)
	var lines []proto.Message
	for range 15 {
		lines = append(lines, &proto.Say{Text: text})
	}
	for w.Stats().Slow == 0 {
		talker.send(lines...)
		for heard := 0; heard < len(lines); heard += len(talker.replica.Talk) {
			if !talker.frame() {
				t.Fatalf("the talker is refused: %+v", talker.refused)
			}
		}
		if held := w.engine.Stats().Held; held > 2*mostHeld { // the talker's unread and queued bytes are in it
			t.Fatalf("%d bytes are held", held)
		}
	}
	slow.ends()
	if slow.refused == nil || slow.refused.Reason != 7 {
		t.Errorf("it is refused with %+v", slow.refused)
	}
	talker.ticks(3)
}

// TestSlowAskerIsEnded: the answers to one that asks and does not read are bounded as talk is.
func TestSlowAskerIsEnded(t *testing.T) {
	config := settings()
	config.World.Monsters = 0
	w := startNarrow(t, config)
	slow := w.connect()
	slow.send(&proto.Hello{Version: proto.Version, Name: "slow"})
	epitest.WaitUntil(t, "Welcome", func() bool { return w.Stats().Joins > 0 })
	questions := make([]proto.Message, 200)
	for i := range questions {
		questions[i] = &proto.Ping{}
	}
	for w.Stats().Slow == 0 {
		if w.Stats().Refused > 0 {
			t.Fatal("it was ended for something else")
		}
		earned := w.Stats().Ticks + uint64(len(questions))/16 + 1 // so many messages
		slow.send(questions...)
		epitest.WaitUntil(t, "ticks", func() bool { return w.Stats().Ticks >= earned })
		if held := w.engine.Stats().Held; held > mostHeld+16<<10 { // what the answers to one frame are, too
			t.Fatalf("%d bytes are held", held)
		}
	}
	slow.ends()
	if slow.reason() != 7 {
		t.Errorf("it is refused with %d", slow.reason())
	}
}
