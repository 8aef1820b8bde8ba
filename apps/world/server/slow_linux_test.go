package server_test

import (
	"context"
	"net"
	"syscall"
	"testing"

	"github.com/epinet/epi"
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

// TestSlowReaderIsConflated: one that does not read costs a bounded queue, and has a
// right view again when it reads.
func TestSlowReaderIsConflated(t *testing.T) {
	config := settings()
	config.World.Monsters, config.World.Width, config.World.Height = 3000, 4, 4
	config.Conflate = 2 << 10
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
	slow := w.join("slow")
	epitest.WaitUntil(t, "conflation", func() bool { return w.Stats().Conflated > 20 })
	tick := uint32(w.Stats().Ticks)
	slow.until("a frame of now", func() bool { return int32(slow.replica.Tick-tick) > 0 })
	slow.ticks(8)
	if w.Stats().Slow != 0 || slow.refused != nil {
		t.Errorf("it was ended: %+v", slow.refused)
	}
}
