package ws

import (
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"github.com/epinet/epi/internal/epitest"
)

// counting is a handler that also wants to know of frames without a message.
type counting struct {
	funcs
	frame func(c *Conn)
}

func (f *counting) OnFrame(c *Conn) { f.frame(c) }

// A FrameHandler gets each frame that is no message and ends none, and can have
// the next one wait.
func TestFramesWithoutMessage(t *testing.T) {
	const few, more = 3, 1000
	sends := frame(true, 0, Text, "whole") +
		frame(false, 0, Text, "") + frame(false, 0, ws.OpContinuation, "") + frame(true, 0, ws.OpContinuation, "end") + // two
		strings.Repeat(frame(true, 0, ws.OpPing, ""), more) + frame(true, 0, ws.OpPong, "x")
	const total = 2 + more + 1
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		paused, all := make(chan *Conn, 1), make(chan struct{})
		n := 0 // of the handler
		es := serve(t, m, handled(func() Handler {
			return &counting{frame: func(c *Conn) {
				switch n++; n {
				case few:
					c.Pause()
					paused <- c
				case total:
					close(all)
				}
			}}
		}))
		c := es.Dial()
		open(t, c, "", sends)
		held := epitest.Receive(t, paused)
		epitest.ExpectQuiet(t, es.Engine)
		held.Resume()
		epitest.Receive(t, all)
	})
}
