package times_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// tryWithPatience makes attempts with longer and longer timeouts, until one
// succeeds: a slow machine can spoil those with short ones.
func tryWithPatience(t *testing.T, attempt func(t *testing.T, timeout time.Duration) error) {
	t.Helper()
	const first, last = 250 * time.Millisecond, 8 * time.Second
	var err error
	for timeout := first; timeout <= last; timeout *= 2 {
		if err = attempt(t, timeout); err == nil {
			return
		}
	}
	t.Error(err)
}

// holdLoop runs during while the loop is held up, which lasts for d at least.
func holdLoop(t *testing.T, l *epi.Loop, d time.Duration, during func()) {
	t.Helper()
	done := make(chan struct{})
	epitest.OnLoop(t, l, func() {
		go func() { defer close(done); during() }()
		<-done
		time.Sleep(d)
	})

}

// TestHunt05_IdleTimeoutAfterStall holds up the loop for longer than IdleTimeout,
// while the clients talk.
//
//	clients: echo ──  x x x x x ──────────────► echo
//	loop:          (held up for 2 IdleTimeout) timers, look
func TestHunt05_IdleTimeoutAfterStall(t *testing.T) {
	const clients = 5
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		tryWithPatience(t, func(t *testing.T, timeout time.Duration) error {
			e := m.Engine()
			e.Loops, e.IdleTimeout = 1, timeout
			s := epitest.Start(t, e, epitest.EchoHandler)
			defer s.Stop()
			l, err := e.Loop(0)
			if err != nil {
				t.Fatal(err)
			}
			var conns []net.Conn
			for range clients {
				conns = append(conns, s.Dial())
			}
			holdLoop(t, l, 2*timeout, func() {
				for _, c := range conns {
					_, _ = io.WriteString(c, "x") // it is closed where the machine is slow
				}
			})
			for i, c := range conns {
				if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
					return fmt.Errorf("after a stall of two IdleTimeouts of %v client %d of %d, which has talked meanwhile, reads: %w", timeout, i+1, clients, err)
				}
			}
			return nil
		})
	})
}

// TestHunt05_HandshakeTimeoutAfterStall holds up the loop while a client shakes
// hands.
func TestHunt05_HandshakeTimeoutAfterStall(t *testing.T) {
	server, client, err := epitest.SelfSigned()
	if err != nil {
		t.Fatal(err)
	}
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		tryWithPatience(t, func(t *testing.T, timeout time.Duration) error {
			e := m.Engine()
			e.Loops, e.TLS, e.HandshakeTimeout = 1, server, timeout
			s := epitest.StartOn(t, e, "tls://127.0.0.1:0", epitest.EchoHandler)
			defer s.Stop()
			l, err := e.Loop(0)
			if err != nil {
				t.Fatal(err)
			}
			raw := s.DialSocket()
			epitest.WaitUntil(t, "it is accepted", func() bool { return e.Stats().Accepted == 1 })
			shaken := make(chan error, 1)
			c := tls.Client(raw, client)
			holdLoop(t, l, 2*timeout, func() {
				go func() { shaken <- c.Handshake() }() // the loop sees to it afterwards
			})
			if err := epitest.Receive(t, shaken); err != nil {
				return fmt.Errorf("after a stall of two HandshakeTimeouts of %v: %w", timeout, err)
			}
			return nil
		})
	})
}

// TestHunt05_WorkersHeldUp blocks all workers for longer than HandshakeTimeout.
func TestHunt05_WorkersHeldUp(t *testing.T) {
	server, client, err := epitest.SelfSigned()
	if err != nil {
		t.Fatal(err)
	}
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		if m.Workers == 0 {
			return
		}
		t.Parallel()
		tryWithPatience(t, func(t *testing.T, timeout time.Duration) error {
			e := m.Engine()
			e.TLS, e.HandshakeTimeout = server, timeout
			s := epitest.StartOn(t, e, "tls://127.0.0.1:0", epitest.EchoHandler)
			defer s.Stop()
			blocked, goOn := make(chan struct{}, m.Workers), make(chan struct{})
			blocking := epitest.ListenAlso(t, e, func(*epi.Conn) epi.Handler {
				return &epitest.Funcs{Open: func(*epi.Conn) error { blocked <- struct{}{}; <-goOn; return nil }}
			})

			raw := s.DialSocket()
			epitest.WaitUntil(t, "it is accepted", func() bool { return e.Stats().Accepted == 1 })
			for range m.Workers {
				epitest.DialPlain(t, blocking)
				epitest.Receive(t, blocked)
			}
			shaken := make(chan error, 1)
			go func() { shaken <- tls.Client(raw, client).Handshake() }()
			epitest.WaitUntil(t, "it waits for a worker", func() bool { return e.Stats().Waiting > 0 })
			time.Sleep(2 * timeout)
			close(goOn)
			if err := epitest.Receive(t, shaken); err != nil {
				return fmt.Errorf("all workers were busy for two HandshakeTimeouts of %v: %w", timeout, err)
			}
			return nil
		})
	})
}

// TestHunt05_SessionsAfterStall holds up the loop while the peer of a session
// sends.
func TestHunt05_SessionsAfterStall(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		tryWithPatience(t, func(t *testing.T, timeout time.Duration) error {
			e := m.Engine()
			e.Loops = 1
			epitest.Start(t, e, epitest.EchoHandler)
			l, err := e.Loop(0)
			if err != nil {
				t.Fatal(err)
			}
			h := &countingSessions{sessions: epi.PacketSessions[int]{Loop: l, Idle: timeout}}
			ln, err := e.ListenPacket("udp://127.0.0.1:0", func(*epi.PacketConn) epi.PacketHandler { return h })
			if err != nil {
				t.Fatal(err)
			}
			c, err := net.Dial("udp", ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(epitest.Patience))
			say := func() { _, _ = io.WriteString(c, "x") }
			say()
			hear := func() int {
				p := make([]byte, 10)
				n, err := c.Read(p)
				if err != nil {
					t.Fatal(err)
				}
				count, _ := strconv.Atoi(string(p[:n]))
				return count
			}
			hear()
			holdLoop(t, l, 2*timeout, say)
			if n := hear(); n != 2 {
				return fmt.Errorf("after a stall of two Idles of %v the datagram that came meanwhile is number %d of its session", timeout, n)
			}
			return nil
		})
	})
}

// countingSessions answer each datagram with its number.
type countingSessions struct {
	sessions epi.PacketSessions[int]
	counts   map[epi.PacketAddr]int
}

func (h *countingSessions) OnPacket(c *epi.PacketConn, _ []byte, from epi.PacketAddr) {
	if _, ok := h.sessions.Get(from); !ok {
		h.counts = map[epi.PacketAddr]int{}
		_, _ = h.sessions.Open(from, func(epi.PacketAddr) int { return 0 })
	}
	h.counts[from]++
	_ = c.WriteTo([]byte(strconv.Itoa(h.counts[from])), from)
}

func (h *countingSessions) OnClose(*epi.PacketConn, error) { h.sessions.Close() }

// TestHunt05_AfterWatched compares timers of both clocks on a loop that is held up
// until both are due.
func TestHunt05_AfterWatched(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		l := epitest.StartLoop(t, m.Engine())
		const d = 300 * time.Millisecond
		ran := make(chan string, 2)
		begun := l.Watched()
		epitest.OnLoop(t, l, func() {
			l.AfterWatched(d, func() {
				if took := l.Watched() - begun; took < d {
					t.Errorf("a timer of %v runs after %v", d, took)
				}
				ran <- "watched"
			})
			l.After(d+time.Millisecond, func() { ran <- "real" })
			time.Sleep(2 * d)
		})

		if first, second := epitest.Receive(t, ran), epitest.Receive(t, ran); first != "real" || second != "watched" {
			t.Errorf("first %s, then %s", first, second)
		}
		epitest.OnLoop(t, l, func() {
			stopped := l.AfterWatched(0, func() { t.Error("a stopped timer runs") })
			if !stopped.Stop() {
				t.Error("it cannot be stopped")
			}
		})

		epitest.OnLoop(t, l, func() {})
	})
}

// TestHunt06_IdleTimeoutOfAMovingDownload has a client that reads slowly all the
// time.
func TestHunt06_IdleTimeoutOfAMovingDownload(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		closed := make(chan error, 1)
		s := epitest.Start(t, e, func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{
				Data: func(c *epi.Conn) error {
					c.SetIdleTimeout(trickleTimeout)
					c.Discard(len(c.Unread()))
					return c.Send(epitest.Pattern(trickleBytes))
				},
				Close: func(_ *epi.Conn, err error) { closed <- err },
			}
		})
		c := s.Dial()
		steady := expectTrickle(t, c)
		_ = c.Close()
		if err := epitest.Receive(t, closed); errors.Is(err, epi.ErrIdle) && steady {
			t.Error("a download that moves is closed as idle")
		}
	})
}

// TestHunt06_IdleTimeoutOfAStuckDownload has a client that does not read.
func TestHunt06_IdleTimeoutOfAStuckDownload(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		e.IdleTimeout, e.Linger = 100*time.Millisecond, 100*time.Millisecond
		closed := make(chan error, 1)
		s := epitest.Start(t, e, func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{
				Open:  func(c *epi.Conn) error { return c.Send(make([]byte, epitest.EightMiB)) },
				Close: func(_ *epi.Conn, err error) { closed <- err },
			}
		})
		s.Dial()
		if err := epitest.Receive(t, closed); !errors.Is(err, epi.ErrIdle) {
			t.Errorf("it is closed with %v", err)
		}
	})
}

// TestHunt06_IdleTimeoutOfAPausedConnection pauses a connection until another that
// came later was closed as idle.
func TestHunt06_IdleTimeoutOfAPausedConnection(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		e.IdleTimeout = 100 * time.Millisecond
		conns := make(chan *epi.Conn, 1)
		var causes [2]atomic.Value
		s := epitest.Start(t, e, func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{
				Open:  func(c *epi.Conn) error { c.Pause(); conns <- c; return nil },
				Data:  epitest.Echo,
				Close: func(_ *epi.Conn, err error) { causes[0].Store(fmt.Sprint(err)) },
			}
		})
		idle := make(chan error, 1)
		other := epitest.ListenAlso(t, e, func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{Close: func(_ *epi.Conn, err error) { idle <- err }}
		})

		client := s.Dial()
		paused := epitest.Receive(t, conns)
		epitest.Say(t, client, "waits")
		for range 3 {
			epitest.DialPlain(t, other)
			if err := epitest.Receive(t, idle); !errors.Is(err, epi.ErrIdle) {
				t.Errorf("the idle connection ends with %v", err)
			}
		}
		if cause := causes[0].Load(); cause != nil {
			t.Fatalf("the paused connection ends with %v", cause)
		}
		paused.Resume()
		epitest.Expect(t, client, "waits")
	})
}

// TestHunt05_LooksThatAreNotWhole has many clients say something at once, to a loop
// that is brought one event at a time and takes a while for each: who is not idle, but
// has to wait for its turn, is not closed.
//
//	clients: x x x x x x x x x
//	loop:    x . x . x . x . x . IdleTimeout . x . x . x . x
func TestHunt05_LooksThatAreNotWhole(t *testing.T) {
	const work = 50 * time.Millisecond // less than a stall, for which the clock would stand still
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		if m.Workers > 0 {
			return // they have a queue of their own
		}
		t.Parallel()
		tryWithPatience(t, func(t *testing.T, timeout time.Duration) error {
			clients := int(2*timeout/work) + 1
			e := m.Engine()
			e.Loops, e.MaxEvents, e.IdleTimeout = 1, 1, timeout
			s := epitest.Start(t, e, func(*epi.Conn) epi.Handler {
				return &epitest.Funcs{Data: func(c *epi.Conn) error {
					time.Sleep(work)
					return epitest.Echo(c)
				}}
			})
			defer s.Stop()
			var conns []net.Conn
			for range clients {
				conns = append(conns, s.Dial())
			}
			epitest.WaitUntil(t, "all are accepted", func() bool { return e.Stats().Accepted == uint64(clients) })
			for _, c := range conns {
				_, _ = io.WriteString(c, "x") // it is closed where the machine is slow
			}
			for i, c := range conns {
				if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
					return fmt.Errorf("IdleTimeout is %v; client %d of %d, which has talked at the beginning, reads: %w", timeout, i+1, clients, err)
				}
			}
			return nil
		})
	})
}
