package ws

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/epinet/epi/internal/epitest"
)

// A peer that takes and says nothing is given up although something waits for it.
func TestHunt13_DeadPeerWithAFullQueue(t *testing.T) {
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		s, ended := ends(funcs{open: func(c *Conn) error {
			_, err := writeAll(c, eightMiB)
			return err
		}})
		s.PingInterval = 20 * time.Millisecond
		open(t, serve(t, m, s).DialNarrow(), "", "")
		if err := epitest.Receive(t, ended); err != ErrPingTimeout {
			t.Errorf("OnClose got %v", err)
		}
	})
}

// pulse lets the time for a ping come.
func pulse(t *testing.T, c *Conn) {
	t.Helper()
	done := make(chan struct{})
	if err := c.Conn().Loop().Do(func() { c.pulse(); close(done) }); err != nil {
		t.Fatal(err)
	}
	epitest.Receive(t, done)
}

// One that says nothing and takes something is alive; above Engine.HighWater it is not
// listened to anyhow.
func TestHunt13_PeerThatTakesIsAlive(t *testing.T) {
	const pings = 4
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		conns := make(chan *Conn, 1)
		s, ended := ends(funcs{open: func(c *Conn) error {
			_, err := writeAll(c, eightMiB)
			conns <- c
			return err
		}})
		s.PingInterval = time.Hour
		r := open(t, serve(t, m, s).DialNarrow(), "", "")
		c := epitest.Receive(t, conns)
		taken := func() uint64 { n, _ := c.conn.Delivered(); return n }
		pulse(t, c)
		for range pings {
			before := taken()
			epitest.WaitUntil(t, "the peer takes something", func() bool {
				if _, err := io.CopyN(io.Discard, r, 16<<10); err != nil {
					t.Fatal(err)
				}
				return taken() > before
			})
			pulse(t, c)
			if c.state.Load()&suspect != 0 || len(ended) > 0 {
				t.Fatal("a peer that takes something is given up")
			}
		}
		epitest.Settled(t, "what the peer has", taken)
		for len(ended) == 0 && c.state.Load()&isOver == 0 {
			pulse(t, c) // one may see what came since, the next nothing, the last again nothing
		}
		if err := epitest.Receive(t, ended); err != ErrPingTimeout {
			t.Errorf("OnClose got %v", err)
		}
	})
}

// RTT is the time from a ping of PingInterval to its own pong.
func TestHunt23_RTT(t *testing.T) {
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		conns := make(chan *Conn, 1)
		s := echoServer()
		s.Handler = handled(func() Handler {
			return &funcs{open: func(c *Conn) error { conns <- c; return nil }, message: echo{}.OnMessage}
		}).Handler
		s.PingInterval = time.Hour
		client := serve(t, m, s).Dial()
		r := open(t, client, "", "")
		c := epitest.Receive(t, conns)
		pulse(t, c)
		op, p := next(t, r)
		if op != ws.OpPing {
			t.Fatalf("a frame has opcode %d", op)
		}
		epitest.Say(t, client, pong("")+pong("another!")+pong(string(p)+"!")+text("a"))
		next(t, r)
		if rtt := c.RTT(); rtt != 0 {
			t.Errorf("RTT is %v after pongs that answer no ping", rtt)
		}
		epitest.Say(t, client, pong(string(p))+text("b"))
		next(t, r)
		rtt := c.RTT()
		if rtt <= 0 || rtt > epitest.Patience {
			t.Errorf("RTT is %v", rtt)
		}
		epitest.Say(t, client, strings.Repeat(pong(string(p)), 2)+text("c"))
		next(t, r)
		if again := c.RTT(); again != rtt {
			t.Errorf("RTT is %v after the same pong again, it was %v", again, rtt)
		}
	})
}
