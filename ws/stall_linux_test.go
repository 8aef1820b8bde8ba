package ws

import (
	"bufio"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// A loop is held up until a timeout has passed, and what was waited for has come.
//
//	client:                   the request, anything after a ping, the answer to Close
//	loop:    held ............................. the timer ─ a look at the sockets ─ (last look)
func TestHunt05_TimeoutsAreForWhatWasLookedAt(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		if m.Workers > 0 || !m.Native() {
			return // what has come may wait for a worker, or a reader of package net, as long as it likes
		}
		s, ended := ends(funcs{message: echo{}.OnMessage})
		s.PingInterval, s.CloseTimeout = time.Hour, time.Hour
		conns := make(chan *Conn, 1)
		es := epitest.Start(t, m.Serial(), func(ec *epi.Conn) epi.Handler {
			h := s.Serve(ec)
			conns <- (*Conn)(h.(*session))
			return h
		})
		client := es.Dial()
		c := epitest.Receive(t, conns)
		// late has the client say something while the loop is held, which then finds
		// the time over before it looks.
		late := func(says string, timeIsOver func()) {
			t.Helper()
			l, err := es.Engine.Loop(0)
			if err != nil {
				t.Fatal(err)
			}
			held, free := make(chan struct{}), make(chan struct{})
			release := sync.OnceFunc(func() { close(free) })
			defer release()
			if err := l.Do(func() { close(held); <-free; timeIsOver() }); err != nil {
				t.Fatal(err)
			}
			epitest.Receive(t, held)
			epitest.Say(t, client, says)
			epitest.AwaitArrival(t, client)
		}
		expire := func(came stateBits) func() {
			return func() {
				c.mu.Lock()
				defer c.mu.Unlock()
				c.setTimeout(0, func() {
					if c.state.Load()&came == 0 {
						t.Error("the peer sees it late")
					}
				})
			}
		}

		late(requestLines+"\r\n", expire(isSettled))
		r := bufio.NewReader(client)
		if resp, err := http.ReadResponse(r, nil); err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("the answer is %v, %v", resp, err)
		}
		late(text("x"), func() { c.unset(arrived); c.pulse() })
		if op, p := next(t, r); op != Text || string(p) != "x" {
			t.Fatalf("the echo is %d, %q", op, p)
		}
		if c.state.Load()&isOver != 0 {
			t.Fatal("the peer is given up")
		}
		if err := c.Close(Normal, ""); err != nil {
			t.Fatal(err)
		}
		op, p := next(t, r)
		if op == ws.OpPing { // of the last look
			op, p = next(t, r)
		}
		if code, _ := ws.ParseCloseFrameData(p); op != ws.OpClose || code != Normal {
			t.Fatalf("a frame with opcode %d came, want a close frame", op)
		}
		late(bye, expire(closeRead))
		if err := epitest.Receive(t, ended); err != nil {
			t.Errorf("OnClose got %v", err)
		}
	})
}
