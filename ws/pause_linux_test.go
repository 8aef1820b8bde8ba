package ws

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/epinet/epi/internal/epitest"
)

// TestW10_PauseAndResume pauses in every place while everything that can happen
// does.
//
//	client:  "1" "2" and what is pending
//	server:  Pause ─ (silence, and a loop at rest) ─ Resume ─ all of it arrives
func TestW10_PauseAndResume(t *testing.T) {
	places := []string{"in OnOpen", "in OnMessage", "outside"}
	pendings := []struct {
		name, sends string
		halfClose   bool
		told        string // after Resume, in all
		says        string // the server
	}{
		{"a message", begin("3") + last("4"), false, "1 2 34", ""},
		{"a ping", ping("p"), false, "1 2", "pong:p"},
		{"a close frame", bye, false, "1 2 closed(websocket closed by the peer: code 1000)", "close:1000"},
		{"the end", "", true, "1 2 closed(unexpected EOF)", ""},
		{"half a frame and the end", text("never whole")[:9], true, "1 2 closed(unexpected EOF)", ""},
	}
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		for i, pending := range pendings {
			for _, place := range places {
				name := "pause " + place + ", " + pending.name
				var heard epitest.Words
				conns := make(chan *Conn, 1)
				s := handled(func() Handler {
					return &funcs{
						open: func(c *Conn) error {
							if place == "in OnOpen" {
								c.Pause()
							}
							conns <- c
							return nil
						},
						message: func(c *Conn, _ Opcode, p []byte) error {
							heard.Add("%s", p)
							if place == "in OnMessage" && string(p) == "1" {
								c.Pause()
							}
							return nil
						},
						close: func(_ *Conn, err error) { heard.Add("closed(%v)", err) },
					}
				})
				es := serve(t, m, s)
				client := es.Dial()
				r := open(t, client, "", "")
				c := epitest.Receive(t, conns)
				before := ""
				switch place {
				case "in OnMessage":
					before = "1"
				case "outside":
					c.Pause()
					c.Pause() // again changes nothing
				}
				epitest.Say(t, client, text("1")+text("2")+pending.sends)
				if pending.halfClose {
					epitest.CloseWrite(t, client)
				}
				epitest.AwaitArrival(t, client)
				epitest.WaitUntil(t, name+": Pause", func() bool { return heard.String() == before })
				epitest.Settled(t, "the loops", func() uint64 { return es.Engine.Stats().Turns })
				if got := heard.String(); got != before {
					t.Errorf("%s: while paused the handler got %q", name, got)
				}
				if i%2 == 0 {
					c.Resume()
				} else if err := c.Conn().Loop().Do(c.Resume); err != nil {
					t.Fatal(err)
				}
				epitest.WaitUntil(t, fmt.Sprintf("%s: Resume reports %q", name, pending.told), func() bool { return heard.String() == pending.told })
				if pending.says != "" {
					op, p := next(t, r)
					if got := describe(t, ws.Header{Fin: true, OpCode: op}, p); got != pending.says {
						t.Errorf("%s: the server says %q", name, got)
					}
				}
				if err := es.Stop(); err != nil {
					t.Error(err)
				}
			}
		}
	})
}

// A paused connection is closed: what arrives is dropped, but for the answer.
func TestW10_CloseWhilePaused(t *testing.T) {
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		conns := make(chan *Conn, 1)
		s, ended := ends(funcs{
			open:    func(c *Conn) error { c.Pause(); conns <- c; return nil },
			message: func(*Conn, Opcode, []byte) error { return errors.New("a message came after Close") },
		})
		s.CloseTimeout = epitest.Patience
		client := serve(t, m, s).Dial()
		r := open(t, client, "", text("late"))
		c := epitest.Receive(t, conns)
		if err := c.Close(Normal, ""); err != nil {
			t.Fatal(err)
		}
		c.Pause() // does not keep the answer away
		expectClose(t, r, Normal)
		epitest.Say(t, client, bye)
		if err := epitest.Receive(t, ended); err != nil {
			t.Errorf("OnClose got %v", err)
		}
		expectEnd(t, r)
	})
}

// Who is not listened to is not given up for not answering pings.
func TestW10_PausedPeerIsNotGivenUp(t *testing.T) {
	const pings = 5
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		conns := make(chan *Conn, 1)
		s, ended := ends(funcs{open: func(c *Conn) error { c.Pause(); conns <- c; return nil }})
		s.PingInterval = 5 * time.Millisecond
		r := open(t, serve(t, m, s).Dial(), "", "")
		c := epitest.Receive(t, conns)
		for range pings {
			if op, _ := next(t, r); op != ws.OpPing {
				t.Fatalf("a frame has opcode %d", op)
			}
		}
		if len(ended) > 0 {
			t.Fatalf("OnClose got %v", <-ended)
		}
		c.Resume()
		if err := epitest.Receive(t, ended); err != ErrPingTimeout {
			t.Errorf("OnClose got %v", err)
		}
	})
}
